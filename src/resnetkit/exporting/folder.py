"""The export folder: one model in the format of one runtime, and the record that says what it is. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from resnetkit import files
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.models.checkpoint import Header
from resnetkit.models.seen import Seen

Format = Literal["openvino", "onnx", "torchvision"]
Reads = Literal["picture", "images"]
Stored = Literal["fp32", "int8"]
FORMATS: tuple[Format, ...] = get_args(Format)
RECORD = "record.json"
_FILES = {"openvino": "model.xml", "onnx": "model.onnx", "torchvision": "model.pth"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export folder holds: `reads` a decoded `picture` of any size, or normalised `images` of one size.

    `torchvision` is what of torchvision.models builds the network that the weights fit.
    """

    folder: Path
    name: str
    format: Format
    reads: Reads
    header: Header
    precision: Stored = "fp32"
    torchvision: str | None = None

    @property
    def model(self) -> Path:
        """The file that the runtime opens."""
        return self.folder / _FILES[self.format]

    @property
    def record(self) -> Path:
        """The file that says what the model is."""
        return self.folder / RECORD

    def metadata(self) -> dict[str, Any]:
        """Return what the model's own file says of itself: the record without what the weights have seen."""
        return dataclasses.replace(self, header=dataclasses.replace(self.header, trained_on=Seen())).to_json()

    def to_json(self) -> dict[str, Any]:
        """Return the content of `record.json`."""
        plain = {"name": self.name, "format": self.format, "reads": self.reads, "precision": self.precision}
        return plain | {"torchvision": self.torchvision, "header": self.header.to_json()}

    def write_record(self) -> None:
        """Write `record.json`."""
        files.write_text(self.record, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")


def is_export(folder: Path) -> bool:
    """Tell whether a folder is an export, or what is left of one."""
    return any((folder / name).is_file() for name in (RECORD, *_FILES.values()))


def is_described(folder: Path, file: Path) -> bool:
    """Tell whether a file is the model of an export folder, whose record says what it is."""
    return file.name in _FILES.values() and (folder / RECORD).is_file() and read(folder).model.name == file.name


def read(folder: Path) -> Exported:
    """Read what an export folder holds; raises `DataError` where it is damaged or from a newer version."""
    path = folder / RECORD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: values[name] for name in ("name", "format", "reads", "precision", "torchvision")}
        exported = Exported(folder=folder, header=Header.from_json(values["header"]), **kept)
    except ResNetKitError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); export the model again") from error
    except (ValueError, TypeError, LookupError) as error:
        raise DataError(f"{path}: is damaged ({error}); export the model again") from error
    if exported.format not in FORMATS or not exported.model.is_file():
        raise DataError(f"{folder}: its model is missing; export it again")
    return exported
