"""DICOM files against what pydicom makes of them, broken ones, and the windows that make pixels of measured values."""

import contextlib
import io
import os
import resource
import struct
import subprocess
import sys
import time
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless

from resnetkit.data.decoded import contents
from resnetkit.data.decoded.decoding import Form
from resnetkit.data.opening import images, windows
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.opening.measured import Measured
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError

CT = "1.2.840.10008.5.1.4.1.1.2"
# What files of shared/data/dicom are refused for, by the end of their path; all others equal pydicom's arrays.
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": r"is DICOM \(RT Ion Plan\) without pixels",
    "ExplVR_LitEndNoMeta.dcm": r"is DICOM \(RT Ion Plan\) without pixels",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its pixels are 3722445056 x 1024, its header says 256 x 1024",
    "MR_truncated.dcm": "has 8,130 bytes of pixels, and 8,192 are needed: cut off",
    "UN_sequence.dcm": r"is DICOM \(CT Image\) without pixels",
    "badVR.dcm": "its NumberOfFrames is absent or no number",
    "empty_charset_LEI.dcm": "is DICOM without pixels",
    "meta_missing_tsyntax.dcm": "its Columns is absent or no number",
    "nested_priv_SQ.dcm": "its Columns is absent or no number",
    "no_meta.dcm": "is DICOM without pixels",
    "no_meta_group_length.dcm": r"is DICOM \(RT Image\) without pixels",
    "priv_SQ.dcm": r"is DICOM \(MR Image\) without pixels",
    "reportsi.dcm": r"is DICOM \(Basic Text SR\) without pixels",
    "reportsi_with_empty_number_tags.dcm": r"is DICOM \(Basic Text SR\) without pixels",
    "rtplan.dcm": r"is DICOM \(RT Plan\) without pixels",
    "rtplan_truncated.dcm": r"is DICOM \(RT Plan\) without pixels",
    "rtstruct.dcm": r"is DICOM \(RT Structure Set\) without pixels",
    "test-SR.dcm": r"is DICOM \(Comprehensive SR\) without pixels",
    "waveform_ecg.dcm": r"is DICOM \(12-lead ECG Waveform\) without pixels",
}
# Those that pydicom has no reader for.
TURBO = ("JPEG-lossy.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm")
IDENTIFYING = (
    "PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "ReferringPhysicianName", "AccessionNumber",
)  # fmt: skip


def refused(path: Path) -> str | None:
    """Return the line that a file of shared/data/dicom is refused with, None for those that are read."""
    if path.name.upper().startswith("DICOMDIR"):
        return "is a DICOMDIR without pixels"
    if "TINY_ALPHA" in path.parts:
        return r"is DICOM \(CT Image\) without pixels"
    return REFUSED.get(path.name)


def dicom_files(shared_data: Path) -> list[Path]:
    files = [path for path in sorted((shared_data / "dicom").rglob("*")) if path.is_file()]
    others = {".txt", ".icc", ".dump", ".json", ".gz"}
    return [path for path in files if path.suffix not in others and path.name not in ("LICENSE", "README")]


def told_of(data: bytes) -> str | None:
    """Return the line that a file is refused with, its traceback included, None where it can be looked at."""
    try:
        images.to_look_at(images.decode(data, name="x"))
    except DataError as error:
        below = error.__cause__
        return "".join(map(str, (error, below or "", (below and below.__cause__) or "")))
    return None


def of(values: np.ndarray, *, photometric: str = "MONOCHROME2", **tags: Any) -> Dataset:
    """Return a small data set of these stored values, `[H, W]`, `[H, W, 3]` or more frames of them."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.PatientName, made.PatientID = CT, "Vlk^Ota", "4711-ZQ"
    colours = photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    made.Rows, made.Columns = values.shape[-3:-1] if colours else values.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 3 if colours else 1, photometric
    if values.ndim > (3 if colours else 2):
        made.NumberOfFrames = values.shape[0]
    made.BitsAllocated = made.BitsStored = 8 * values.dtype.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(values.dtype.kind == "i")
    if colours:
        made.PlanarConfiguration = 0
    packed = values.tobytes()
    made.add_new("PixelData", "OW" if values.dtype.itemsize > 1 else "OB", packed + bytes(len(packed) % 2))
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def written(made: Dataset) -> bytes:
    file = io.BytesIO()
    made.preamble = bytes(128)
    made.save_as(file, enforce_file_format=False)
    return file.getvalue()


def opened(made: Dataset) -> Any:
    return images.decode(written(made), name="x.dcm")


def shown(found: images.Opened, **how: Any) -> np.ndarray:
    return np.asarray(Preprocess(channels=1, mean=(0.5,), std=(0.25,), **how).convert(found))


def exactly(values: np.ndarray, low: Fraction, high: Fraction) -> np.ndarray:
    """Return what a window shows, in whole numbers and fractions."""
    level = np.vectorize(lambda v: (min(max(Fraction(float(v)), low), high) - low) * 255 / (high - low))
    return np.vectorize(lambda v: int((v + Fraction(1, 2)) // 1))(level(values)).astype(np.uint8)


CT_VALUES = np.array([[0, 1, 500, 1000], [1024, 1064, 1500, 4000]], np.uint16)


def test_each_real_file_equals_pydicom_or_has_its_line(shared_data: Path) -> None:
    read, lines = 0, 0
    for path in dicom_files(shared_data):
        data, line = path.read_bytes(), refused(path)
        if line is not None:
            with pytest.raises(DataError, match=f"^x: (broken DICOM: )?(its pixels are )?{line}") as told:
                images.decode(data, name="x")
            assert "\n" not in str(told.value)
            lines += 1
            continue
        found = images.decode(data, name="x")
        read += 1
        if path.name in TURBO:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = pydicom.dcmread(path, force=True)
            stored = pixel_array(reference, index=0)
        assert images.size(data) == found.size, path
        if isinstance(found, Measured):
            values = apply_modality_lut(stored, reference)
            np.testing.assert_array_equal(found.values, values, err_msg=str(path))
            assert found.values.dtype == values.dtype, path
            assert found.inverted == (reference.PhotometricInterpretation == "MONOCHROME1")
            if "WindowWidth" in reference:
                theirs = apply_voi_lut(values, reference)
                of_all = apply_voi_lut(np.array([[-1e9, 1e9]]), reference)
                levels = (theirs - of_all[0, 0]) / (of_all[0, 1] - of_all[0, 0]) * 255
                np.testing.assert_allclose(found.own(found.values), levels, atol=1e-9, err_msg=str(path))
        else:
            if reference.PhotometricInterpretation == "PALETTE COLOR":
                stored = apply_color_lut(stored, reference)
            most = 2 ** (8 * stored.dtype.itemsize) - 1
            wanted = np.floor(stored.astype(np.float64) * (255 / most) + 0.5)
            np.testing.assert_array_equal(np.asarray(found), wanted, err_msg=str(path))
    assert (read, lines) == (90, 77)


def test_12_bit_and_lossless_jpegs_are_read_without_gdcm(shared_data: Path) -> None:
    folder = shared_data / "dicom"
    for name in TURBO[:2]:
        values = images.decode((folder / name).read_bytes(), name=name).values  # type: ignore[union-attr]
        assert values.shape == (1024, 256)
        # as pydicom's own tests have it of GDCM and pylibjpeg
        assert (values[420, 140], values[230, 120]) == (244, 95)
    lossless = images.decode((folder / TURBO[2]).read_bytes(), name="x")
    same = images.decode((folder / "SC_rgb_rle.dcm").read_bytes(), name="x")
    np.testing.assert_array_equal(np.asarray(lossless), np.asarray(same))


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_lossless_jpegs_give_the_values_that_were_packed(bits: int, kind: type) -> None:
    from imagecodecs import ljpeg_encode
    from pydicom.encaps import encapsulate

    top = 2 ** (bits - (kind is np.int16))
    values = np.random.default_rng(bits).integers(0, top, (24, 16)).astype(kind)
    made = of(values, BitsStored=bits, HighBit=bits - 1)
    made.PixelData = encapsulate([ljpeg_encode(values.astype(np.uint16), bitspersample=bits)])
    made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    np.testing.assert_array_equal(opened(made).values, values)


def test_no_line_holds_what_tells_of_people(shared_data: Path) -> None:
    rng, told = np.random.default_rng(5), 0
    for path in dicom_files(shared_data):
        data = path.read_bytes()
        try:
            tags = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
            values = {str(tags.get(name, "")) for name in IDENTIFYING}
        except Exception:  # pydicom reads no tags of it
            continue
        values = {value for value in values if len(value) > 3}
        for cut in [len(data), *rng.integers(140, len(data), 2)]:
            if (line := told_of(data[:cut])) is not None:
                told += 1
                assert not [value for value in values if value in line], path
    assert told > 150


# ---- the values, and what windows show of them


def test_rescaled_values_are_what_pydicom_gives() -> None:
    made = of(CT_VALUES, RescaleSlope="0.5", RescaleIntercept="-1024")
    found = opened(made)
    np.testing.assert_array_equal(found.values, CT_VALUES * 0.5 - 1024)
    np.testing.assert_array_equal(opened(of(CT_VALUES)).values, CT_VALUES)
    signed = np.array([[-2000, -1], [0, 3000]], np.int16)
    np.testing.assert_array_equal(opened(of(signed)).values, signed)


def test_a_table_of_values_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 10, 16], "HU"
    table.add_new("LUTData", "US", [7, 70, 700, 7000])
    found = opened(of(np.array([[0, 10, 11], [12, 13, 200]], np.uint8), ModalityLUTSequence=[table]))
    np.testing.assert_array_equal(found.values, [[7, 7, 70], [700, 7000, 7000]])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_first_window_of_the_file_is_taken_by_its_function(function: str) -> None:
    made = of(
        CT_VALUES, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 300], WindowWidth=[400, 20],
        VOILUTFunction=function,
    )  # fmt: skip
    theirs = apply_voi_lut(CT_VALUES.astype(float) - 1024, made)
    levels = (theirs + 1024) / 65535 * 255  # pydicom spreads them over all that 16 bits can say
    np.testing.assert_array_equal(shown(opened(made)), np.floor(levels + 0.5 + 1e-9).astype(np.uint8))


def test_a_table_of_the_file_comes_before_its_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [3, 500, 8]
    table.add_new("LUTData", "US", [10, 200, 90])
    made = of(np.array([[0, 500], [501, 4000]], np.uint16), VOILUTSequence=[table], WindowCenter=1, WindowWidth=5)
    np.testing.assert_array_equal(shown(opened(made)), [[10, 10], [200, 90]])


def test_without_a_window_eight_bits_stay_and_more_go_from_least_to_most() -> None:
    eight = np.array([[3, 100], [101, 200]], np.uint8)
    np.testing.assert_array_equal(shown(opened(of(eight))), eight)
    deep = np.array([[1000, 1500], [2000, 3000]], np.uint16)
    np.testing.assert_array_equal(shown(opened(of(deep))), [[0, 64], [128, 255]])
    nonsense = of(deep, WindowCenter=5, WindowWidth=0)
    np.testing.assert_array_equal(shown(opened(nonsense)), [[0, 64], [128, 255]])
    assert not shown(opened(of(np.full((4, 4), 700, np.uint16)))).any()


def test_padding_counts_for_no_window_and_is_black() -> None:
    values = np.array([[-2000, 0], [100, 200]], np.int16)
    np.testing.assert_array_equal(shown(opened(of(values, PixelPaddingValue=-2000))), [[0, 0], [128, 255]])
    inverted = of(values, photometric="MONOCHROME1", PixelPaddingValue=-2000)
    np.testing.assert_array_equal(shown(opened(inverted)), [[0, 255], [128, 0]])


def test_monochrome1_is_inverted_in_every_window() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = opened(of(values, photometric="MONOCHROME1"))
    np.testing.assert_array_equal(shown(found), 255 - values)
    mirrored = exactly(-values.astype(int), Fraction(-125), Fraction(-75))
    np.testing.assert_array_equal(shown(found, windows=("100 50",)), mirrored)


@pytest.mark.parametrize("window", ["lung", "bone", "soft tissue", "brain", "40 400", "-600 1500", "0.5 3"])
def test_a_given_window_is_what_fractions_give(window: str) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (20, 20)).astype(np.uint16)
    centre, width = map(Fraction, windows.normal(window).split())
    wanted = exactly(values.astype(int) - 1024, centre - width / 2, centre + width / 2)
    found = opened(of(values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=9, WindowWidth=9))
    np.testing.assert_array_equal(shown(found, windows=(window,)), wanted)


def test_several_windows_are_the_channels_of_one_picture() -> None:
    values = np.random.default_rng(1).integers(0, 4096, (30, 40)).astype(np.uint16)
    found = opened(of(values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=100, WindowWidth=300))
    how = Preprocess(size=24, resize=28, windows=("lung", "file", "400 1800"))
    one = Preprocess(size=24, resize=28, channels=1, mean=(0.5,), std=(0.25,))
    three = how.pixels(found)
    for channel, window in enumerate(how.windows):
        alone = one.changed(windows=(window,)).pixels(found)
        np.testing.assert_array_equal(three[..., channel], alone[..., 0])
    two = how.changed(windows=("lung", "bone"), channels=2, mean=(0.5,) * 2, std=(0.25,) * 2)
    assert isinstance(two.convert(found), ManyBands)
    np.testing.assert_array_equal(two.pixels(found)[..., 1], three[..., 2])
    grey = Preprocess(size=24, resize=28, windows=("lung",)).pixels(found)
    np.testing.assert_array_equal(grey, np.repeat(three[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_windows_show_the_raw_values_of_16_bit_greys(kind: str) -> None:
    values = np.random.default_rng(2).integers(0, 65536, (12, 9)).astype(np.uint16)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(file, kind, exif=exif)
    found = images.decode(file.getvalue(), name="x")
    wanted = exactly(values, Fraction(10_000), Fraction(30_000))
    seen = shown(found, windows=("20000 20000",))
    assert {seen.tobytes(), np.rot90(seen).tobytes()} & {wanted.tobytes(), np.rot90(wanted, -1).tobytes()}
    assert seen.shape == shown(found).shape
    with pytest.raises(DataError, match="no greys of more than 8 bits"):
        shown(Image.new("L", (9, 9)), windows=("lung",))
    with pytest.raises(DataError, match="no greys of more than 8 bits"):
        shown(opened(of(np.zeros((4, 4, 3), np.uint8), photometric="RGB")), windows=("lung",))


def test_arrays_of_8_bits_do_not_pass_beside_windows() -> None:
    form = Form(preprocess=Preprocess(size=8, resize=8, windows=("lung",)))
    with pytest.raises(DataError, match="no greys of more than 8 bits"):
        form.pixels(np.zeros((8, 8, 3), np.uint8), name="x")


# ---- preprocessing holds the windows


def test_windows_are_kept_as_numbers_and_left_out_where_there_are_none() -> None:
    how = Preprocess(windows=("Lung", "soft_tissue", " 40  400.50 "))
    assert how.windows == ("-600 1500", "40 375", "40 400.5")
    assert Preprocess.from_json(how.to_json()) == how
    assert "windows" not in Preprocess().to_json()
    assert Form(preprocess=how).folder() != Form(preprocess=Preprocess()).folder()
    shorter = Form(preprocess=how, short_side=32)
    assert shorter.folder() != Form(preprocess=Preprocess(), short_side=32).folder()


@pytest.mark.parametrize(
    ("asked", "line"),
    [(("long",), "did you mean 'lung'"), (("40",), "centre and width, as '40 400'"), (("40 0",), "must be above 0"),
     (("nan 3",), "finite"), (("lung", "bone"), "2 windows are 2 channels, not 3: --set preprocess.channels=2")],
)  # fmt: skip
def test_windows_that_make_no_sense_are_told(asked: tuple[str, ...], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        Preprocess(windows=asked)


# ---- colours, aspect, frames


def test_colours_are_rgb() -> None:
    values = np.random.default_rng(3).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(opened(of(values, photometric="RGB"))), values)
    planar = of(values, photometric="RGB", PlanarConfiguration=1)
    planar.PixelData = np.moveaxis(values, -1, 0).tobytes() + b"\0"
    np.testing.assert_array_equal(np.asarray(opened(planar)), values)
    for kind in ("YBR_FULL", "HSV"):
        made = of(values, photometric=kind)
        if kind == "YBR_FULL":
            np.testing.assert_array_equal(np.asarray(opened(made)), pixel_array(made))
        else:
            with pytest.raises(DataError, match="neither grey, RGB, YBR nor of a palette"):
                opened(made)
    deep = opened(of(np.full((2, 2, 3), 1000, np.uint16), photometric="RGB", BitsStored=12, HighBit=11))
    assert deep.mode == "RGB"
    assert np.asarray(deep)[0, 0, 0] == int(1000 * 255 / 4095 + 0.5)


def test_a_palette_gives_its_colours() -> None:
    made = of(np.array([[0, 1], [2, 3]], np.uint8), photometric="PALETTE COLOR")
    for name, entries in (("Red", [0, 257, 65535, 9]), ("Green", [1, 2, 3, 65535]), ("Blue", [0, 0, 32896, 5])):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 16])
        made.add_new(f"{name}PaletteColorLookupTableData", "OW", struct.pack("<4H", *entries))
    np.testing.assert_array_equal(np.asarray(opened(made)), [[[0, 0, 0], [1, 0, 0]], [[255, 0, 128], [0, 255, 0]]])


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        ({"PixelSpacing": [2, 1]}, (4, 12)),
        ({"PixelSpacing": [0.5, 1]}, (8, 6)),
        ({"ImagerPixelSpacing": [1, 2]}, (8, 6)),
        ({"PixelAspectRatio": [3, 1]}, (4, 18)),
        ({"PixelSpacing": [1, 1], "PixelAspectRatio": [3, 1]}, (4, 6)),
        ({"PixelSpacing": [1.005, 1]}, (4, 6)),
        ({"PixelSpacing": [0, 1]}, (4, 6)),
        ({}, (4, 6)),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "RGB"])
def test_pixels_become_square(tags: dict[str, Any], size: tuple[int, int], photometric: str) -> None:
    values = np.random.default_rng(4).integers(0, 256, (6, 4, 3) if photometric == "RGB" else (6, 4)).astype(np.uint8)
    found = opened(of(values, photometric=photometric, **tags))
    assert found.size == images.frame(written(of(values, photometric=photometric, **tags)), name="x")[:2] == size
    seen = found if photometric == "RGB" else Preprocess(channels=1, mean=(0.5,), std=(0.25,)).convert(found)
    wanted = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(wanted))


def test_pixels_that_no_device_makes_are_refused() -> None:
    with pytest.raises(DataError, match="its pixels are 1:50; correct PixelSpacing"):
        opened(of(CT_VALUES, PixelSpacing=[1, 50]))


@pytest.mark.parametrize("packed", [False, True])
def test_a_frame_is_taken_by_its_number(packed: bool) -> None:
    values = np.random.default_rng(5).integers(0, 4000, (3, 6, 5)).astype(np.int16)
    made = of(values, RescaleSlope=2, RescaleIntercept=-5, WindowCenter=900, WindowWidth=500, PixelSpacing=[2, 1])
    if packed:
        made.compress(RLELossless, generate_instance_uid=False)
    data = written(made)
    assert images.has_several(data)
    np.testing.assert_array_equal(images.decode(data, name="x").values, values[0] * 2.0 - 5)  # type: ignore[union-attr]
    third = images.of_page(data, name="x", page=3)
    found = images.decode(third, name="x")
    assert isinstance(found, Measured)
    np.testing.assert_array_equal(found.values, values[2] * 2.0 - 5)
    assert (found.own, found.size) == (windows.Window(900, 500, "LINEAR"), (5, 12))
    assert not images.has_several(third)
    assert b"Vlk" in data
    assert b"Vlk" not in third
    with pytest.raises(DataError, match="x: holds 3 frames, and frame 4 was asked for"):
        images.of_page(data, name="x", page=4)


def test_an_empty_first_frame_before_one_that_is_not_is_told() -> None:
    values = np.zeros((3, 4, 5), np.uint16)
    assert opened(of(values)).size == (5, 4)
    values[2, 1, 1] = 7
    with pytest.raises(DataError, match="the first of its 3 frames is empty and frame 3 is not"):
        opened(of(values))
    assert not images.has_several(third := images.of_page(written(of(values)), name="x", page=3))
    assert images.to_look_at(images.decode(third, name="x")).getextrema() == (0, 255)


def test_a_colour_frame_is_taken_too() -> None:
    values = np.random.default_rng(6).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    made = of(values, photometric="YBR_FULL")
    second = images.of_page(written(made), name="x", page=2)
    np.testing.assert_array_equal(np.asarray(images.decode(second, name="x")), pixel_array(made, index=1))


def test_groups_of_frames_say_window_scale_and_spacing() -> None:
    values = np.random.default_rng(7).integers(0, 4000, (2, 6, 5)).astype(np.uint16)

    def group(centre: int, intercept: int) -> Dataset:
        voi, scale, whole = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 100
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, intercept, "HU"
        whole.FrameVOILUTSequence, whole.PixelValueTransformationSequence = [voi], [scale]
        return whole

    spacing, shared = Dataset(), Dataset()
    spacing.PixelSpacing = [1, 2]
    shared.PixelMeasuresSequence = [spacing]
    data = written(
        of(
            values, SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=[group(10, -1), group(20, -2)],
        )
    )  # fmt: skip
    for page in (1, 2):
        found = images.decode(images.of_page(data, name="x", page=page), name="x")
        assert isinstance(found, Measured)
        np.testing.assert_array_equal(found.values, values[page - 1].astype(float) - page)
        assert (found.own, found.size) == (windows.Window(10 * page, 100, "LINEAR"), (10, 6))


def test_the_survey_knows_it_and_keeps_no_pixels_that_a_window_would_change() -> None:
    content, pixels = contents.look(written(of(CT_VALUES)), name="x")
    assert content is not None
    assert content.size == (4, 2)
    assert pixels is None
    assert images.bits(written(of(CT_VALUES)), name="x") is None


# ---- what cannot be read


def test_a_claim_of_too_many_pixels_allocates_nothing() -> None:
    for rows, line in ((60_000, "claims 60000 x 60000 pixels, more than"), (9_000, "in 1,... bytes|in [0-9,]+ bytes")):
        made = of(CT_VALUES, Rows=rows, Columns=rows)
        with pytest.raises(DataError, match=line):
            opened(made)


def test_a_deflated_bomb_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnetkit.data.opening import dicom_header

    made = of(np.zeros((1000, 1000), np.uint16))
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data = written(made)
    assert len(data) < 20_000
    assert opened(made).size == (1000, 1000)
    monkeypatch.setattr(dicom_header, "_MOST_DEFLATED", 1_000_000)
    with pytest.raises(DataError, match="becomes more than 1,000,000 bytes"):
        images.decode(data, name="x")


def test_floats_are_values_and_nan_is_refused() -> None:
    values = np.array([[0.25, -3], [7, 1e6]], np.float32)
    made = of(values.view(np.uint32))
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.add_new("FloatPixelData", "OF", values.tobytes())
    np.testing.assert_array_equal(opened(made).values, values)
    made["FloatPixelData"].value = np.array([0, np.nan, 1, 2], np.float32).tobytes()
    with pytest.raises(DataError, match="holds NaN or infinite values"):
        opened(made)


def test_an_unknown_way_of_packing_is_told_without_its_number() -> None:
    made = of(CT_VALUES)
    data = written(made).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0")
    with pytest.raises(DataError, match="packed in a way that the standard does not know") as told:
        images.decode(data, name="x")
    assert "99999" not in str(told.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UsageError, match=r'DICOM files need an optional package: pip install "resnetkit\[dicom\]"'):
        images.decode(written(of(CT_VALUES)), name="x")


def test_nothing_is_printed_for_odd_files(shared_data: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from resnetkit.data.opening import images\n"
        "for path in sys.argv[1:]:\n"
        "    try: images.decode(Path(path).read_bytes(), name='x')\n"
        "    except ValueError: pass\n"
    )
    files = [str(path) for path in dicom_files(shared_data)]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_pydicom_logs_while_it_decodes_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    made = of(CT_VALUES, BitsStored=12, HighBit=11)
    made.PixelData = made.PixelData + bytes(6)
    data = written(made)
    images.decode(data, name="x")
    assert caplog.records == []
    with pytest.warns(UserWarning, match="excess padding"):
        pixel_array(pydicom.dcmread(io.BytesIO(data)))
    assert caplog.records


# ---- mutated files


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file off, or write other bytes or lengths into it, most of them into its header."""
    changed, head = bytearray(data), min(len(data), 3000)
    kind = rng.integers(4)
    if kind == 0:
        return data[: rng.integers(132, len(data))]
    if kind == 3:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(132, head - 4))
            length = int(rng.choice([0, 1, 65535, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]))
            changed[at : at + 4] = struct.pack("<I", length)
        return bytes(changed)
    for _ in range(rng.integers(1, 20)):
        changed[rng.integers(132, len(data) if kind == 1 else head)] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("first", [0, pytest.param(200, marks=pytest.mark.slow)])
def test_mutated_files_are_pictures_or_one_line(shared_data: Path, first: int) -> None:
    files = [path.read_bytes() for path in dicom_files(shared_data) if refused(path) is None]
    files = [data for data in files if len(data) < 130_000]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {True: 0, False: 0}
    for number in range(first, 200 if first == 0 else 2000):
        rng = np.random.default_rng([23, number])
        data = mutated(files[int(rng.integers(len(files)))], rng)
        begun = time.monotonic()
        line = told_of(data)
        outcomes[line is None] += 1
        assert line is None or "\n" not in line
        for look in (images.frame, lambda data, name: images.of_page(data, name=name, page=2)):
            with contextlib.suppress(DataError):
                look(data, name="x")
        images.has_several(data)
        assert time.monotonic() - begun < 5, number
    assert min(outcomes.values()) > 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 500_000, "KiB"
