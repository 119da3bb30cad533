"""Whom a DICOM file is of, and who made it where: the tags that tell. What they say is compared, and goes nowhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO, Literal

from resnetkit.data.opening.dicom_header import check_deflated, is_deflated, told
from resnetkit.data.opening.signatures import is_dicom
from resnetkit.data.opening.silence import libraries_silenced, silence
from resnetkit.errors import DataError, missing_extra

Kind = Literal["person", "number", "place", "date", "uid"]

# What of PS3.15's table E.1-1 stands in paths: what exports, archives and people name files and folders by.
TAGS: dict[Kind, tuple[str, ...]] = {
    "person": (
        "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ResponsiblePerson",
        "ReferringPhysicianName", "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName",
        "NameOfPhysiciansReadingStudy", "OperatorsName", "RequestingPhysician", "ScheduledPerformingPhysicianName",
        "ReviewerName", "ContentCreatorName", "PersonName",
    ),
    "number": (
        "PatientID", "OtherPatientIDs", "IssuerOfPatientID", "MedicalRecordLocator", "AccessionNumber", "StudyID",
        "AdmissionID", "ServiceEpisodeID", "RequestedProcedureID", "ScheduledProcedureStepID",
        "PerformedProcedureStepID", "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest",
        "PatientTelephoneNumbers", "ReferringPhysicianTelephoneNumbers", "PersonTelephoneNumbers", "DeviceSerialNumber",
        "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialSiteID",
    ),
    "place": (
        "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "PerformedStationName",
        "PatientAddress", "ReferringPhysicianAddress", "RegionOfResidence", "CurrentPatientLocation",
        "PatientInstitutionResidence", "RequestingService", "ClinicalTrialSiteName",
    ),
    "date": ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"),
    "uid": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
}  # fmt: skip
# Groups that hold such tags again.
_AROUND = (
    "OtherPatientIDsSequence", "RequestAttributesSequence", "ReferringPhysicianIdentificationSequence",
    "OperatorIdentificationSequence", "PerformingPhysicianIdentificationSequence",
)  # fmt: skip
_KINDS = {name: kind for kind, names in TAGS.items() for name in names}
_FIRST = 4096  # bytes in which a file says how it is packed


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What the identifying tags of a file say, each with its kind, and what those asked for beside them do."""

    said: tuple[tuple[Kind, str], ...] = field(default=(), repr=False)
    asked: str = field(default="", repr=False)


def identity(opened: Callable[[], BinaryIO], *, asked: str = "") -> Identity | None:
    """Read the identifying tags of a file up to its pixels, and the tag `asked`; None for what is no DICOM.

    What is broken or cut off says as much as can be read of it. Raises `OSError`, and `UsageError` without pydicom.
    """
    with opened() as file:
        first = file.read(_FIRST)
        if not is_dicom(first):
            return None
        try:
            import pydicom
        except ImportError:
            raise missing_extra("DICOM files", "dicom") from None
        silence("pydicom")
        file.seek(0)
        kinds, around = _tags()
        wanted: list[Any] = [*kinds, *around, *([asked] if asked else [])]
        try:
            with told("broken or cut-off DICOM"), libraries_silenced():
                source: BinaryIO = file
                if is_deflated(first):
                    content = file.read()
                    check_deflated(content)
                    source = io.BytesIO(content)
                dataset = pydicom.dcmread(source, force=True, stop_before_pixels=True, specific_tags=wanted)
                return Identity(said=tuple(_said(dataset)), asked=_text(dataset, asked).strip("\0 ") if asked else "")
        except DataError:
            return Identity()  # whoever opens the picture says so


@cache
def _tags() -> tuple[dict[int, Kind], frozenset[int]]:
    """Return the tags that tell, with their kinds, and those of groups around such, as numbers."""
    from pydicom.tag import Tag

    return {Tag(name): kind for name, kind in _KINDS.items()}, frozenset(map(Tag, _AROUND))


def _said(dataset: Any) -> Iterator[tuple[Kind, str]]:
    """Yield what identifying tags say, those within groups too; several values one by one."""
    kinds, around = _tags()
    for tag in list(dataset.keys()):
        if (kind := kinds.get(tag)) is not None:
            text = _text(dataset, tag)
            for read in {text, *(_otherwise(text) if kind in ("person", "place") else ())}:
                yield from ((kind, value) for value in read.split("\\") if value)
        elif tag in around:
            try:
                inside = list(dataset[tag].value or ())
            except Exception:  # pydicom raises anything for what follows no standard
                continue
            for one in inside:
                yield from _said(one)


def _otherwise(text: str) -> Iterator[str]:
    """Yield what the bytes of a text say in UTF-8 and in GB18030, which many files hold and do not say so."""
    if text.isascii():
        return
    for how in ("utf-8", "gb18030"):
        with suppress(UnicodeError):
            yield text.encode("latin-1").decode(how)


def _text(dataset: Any, tag: Any) -> str:
    """Return what a tag says, several values between backslashes, "" where it is absent or makes no sense."""
    try:
        value = dataset[tag].value
        if value is None:
            return ""
        return "\\".join(map(str, value)) if type(value).__name__ == "MultiValue" else str(value)
    except Exception:
        return ""
