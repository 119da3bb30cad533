"""An export answers as the model, in every format, with nothing of this package; otherwise it is not there."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from PIL import Image

import resnetkit as rk
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.inference.openvino_library import core
from resnetkit.inference.predictor import Prediction
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.decision import Decision
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.words import NO_MEDICAL_DEVICE
from tests.data.test_dicom import of, written
from tests.inference.test_graph import some
from tests.models.test_resnet import KINDS, randomised

SMALL = KINDS["resnet20"]
CLASSES = ("ameise", "개미", "bee", "wasp", "none of them")
HELD = {"metrics": {"split": "test", "count": 200, "top1": 0.925, "top1_interval": [0.88, 0.954]}}


def write(path: Path, spec: ResNetSpec = SMALL, *, size: int = 24, **header: object) -> Path:
    """A checkpoint with random weights, a temperature and a threshold."""
    preprocess = Preprocess.for_size(size, channels=spec.in_channels).changed(resize=size + 3)
    described = {"decision": Decision(temperature=1.5, threshold=0.3)} | header
    told = Header(spec=spec, classes=CLASSES[: spec.num_classes], preprocess=preprocess, **described)  # type: ignore[arg-type]
    checkpoint.save(path, randomised(ResNet(spec)).eval(), told)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write(tmp_path_factory.mktemp("model") / "insects.safetensors", **HELD)
    (path.parent / "reference.npz").write_bytes(b"features")
    return path


Exporter = Callable[..., Path]


def exporter(file: Path, photos: Path, place: Path) -> Exporter:
    """Return what gives the folder of an export, made once for each format and place of its preprocessing."""

    def exported(*, to: str, preprocess: str = "inside") -> Path:
        output = place / f"{to}-{preprocess}"
        if not output.exists():
            rk.export(file, to=to, preprocess=preprocess, images=[photos], output=output, threads=1)
        return output

    return exported


@pytest.fixture(scope="module")
def exported(file: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    return exporter(file, photos, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, (width, height) in enumerate(((24, 24), (90, 60), (60, 90), (31, 200), (300, 200))):
        Image.fromarray(some(1, height, width, seed=number)[0]).save(folder / f"{number}.png")
    Image.fromarray(some(1, 50, 70, seed=9)[0]).convert("L").save(folder / "grey.png")
    return folder


ALONE = """
import runpy, sys
for name in ("resnetkit", *sys.argv[1].split(",")):
    sys.modules[name] = None
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def named_by_script(folder: Path, photos: Path, *, without: str) -> dict[str, str]:
    """What the folder's predict.py says of each photo, in a process that has neither resnetkit nor `without`."""
    sources = [str(path) for path in sorted(photos.iterdir())]
    command = [sys.executable, "-c", ALONE, without, str(folder / "predict.py"), *sources]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split(": ", 1) for line in ran.stdout.splitlines())


def said(prediction: Prediction) -> str:
    top = ", ".join(f"{name} {100 * probability:.1f} %" for name, probability in prediction.top)
    return f"not sure: {top}" if prediction.status == "not_sure" else top


@pytest.mark.parametrize("preprocess", ["inside", "outside"])
@pytest.mark.parametrize(("to", "without"), [("onnx", "torch,openvino"), ("openvino", "torch,onnxruntime,onnx")])
def test_the_script_alone_answers_as_the_model(
    file: Path, photos: Path, exported: Exporter, to: str, without: str, preprocess: str
) -> None:
    made = exported(to=to, preprocess=preprocess)
    parity = json.loads((made / "parity.json").read_text())
    assert (parity["pictures"], parity["same_top1"], parity["different_top1"]) == (6, 6, [])
    assert parity["largest_difference"] < 1e-5
    assert (made / "reference.npz").read_bytes() == b"features"
    assert parity["decoded_pixels_differ_by_at_most"] == 0
    assert parity["tested_modes"] == {"RGB": 5, "L": 1}
    assert "RGBA" in parity["untested_modes"]
    reference = rk.load(file, engine="torch", precision="fp32", threads=1)
    expected = {prediction.source: said(prediction) for prediction in reference.predict_many(photos)}
    assert len(set(expected.values())) > 3
    assert named_by_script(made, photos, without=without) == expected
    assert (made / "preprocess.json").exists() == (preprocess == "outside")


def test_the_script_alone_says_of_odd_pictures_what_the_package_says(exported: Exporter, tmp_path: Path) -> None:
    noise, empty = Image.fromarray(some(1, 20, 20)[0]), Image.new("RGB", (20, 20))
    thin, stack, wrong = (tmp_path / name for name in ("thin.png", "stack.tif", "empty_first.tif"))
    Image.fromarray(some(1, 1, 400)[0]).save(thin)
    noise.save(stack, save_all=True, append_images=[empty])
    empty.save(wrong, save_all=True, append_images=[noise])
    command = [sys.executable, "-c", ALONE, "torch,openvino", str(exported(to="onnx") / "predict.py")]
    ran = subprocess.run([*command, str(thin), str(stack), str(wrong)], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.count("\n")) == (1, 1)
    assert ran.stderr.splitlines() == [
        f"{thin}: 400x1 is too long and thin to crop to 24x24; train with preprocess.crop=pad, or cut it",
        f"{stack}: holds several frames or pages: the first was used",
        f"{wrong}: the first of its 2 pages is empty and page 2 is not; save the one that counts alone",
    ]


@pytest.mark.parametrize("preprocess", ["inside", "outside"])
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_an_export_is_a_model(file: Path, photos: Path, exported: Exporter, to: str, preprocess: str) -> None:
    made = exported(to=to, preprocess=preprocess)
    expected = rk.load(file, engine="torch", precision="fp32", threads=1).predict_many(photos, top_k=5)
    model = rk.load(made, precision="fp32", threads=1)
    for answer, wanted in zip(model.predict_many(photos, top_k=5), expected, strict=True):
        assert (answer.status, [name for name, _ in answer.top]) == (wanted.status, [name for name, _ in wanted.top])
        assert answer.probability == pytest.approx(wanted.probability, abs=1e-5)
    with pytest.raises(UsageError, match="no PyTorch network"):
        rk.load(made, engine="torch")


@pytest.mark.slow
def test_torchvision_loads_the_weights_and_the_script_runs_them(photos: Path, tmp_path: Path) -> None:
    spec = ResNetSpec(num_classes=2)
    file = write(tmp_path / "two.safetensors", spec, size=40)
    made = rk.export(file, to="torchvision", images=[photos], output=tmp_path / "out", threads=1)
    network = torchvision.models.resnet18(num_classes=2)
    network.load_state_dict(torch.load(made.folder / "model.pth", weights_only=True))
    reference = rk.load(file, engine="torch", precision="fp32", threads=1)
    expected = {prediction.source: said(prediction) for prediction in reference.predict_many(photos)}
    assert named_by_script(made.folder, photos, without="openvino,onnx") == expected
    again = rk.load(made.folder, engine="torch", precision="fp32", threads=1)
    assert {prediction.source: said(prediction) for prediction in again.predict_many(photos)} == expected
    assert again.classes == CLASSES[:2]


def test_class_names_and_the_record_travel_in_the_model(exported: Exporter) -> None:
    made = exported(to="openvino")
    record = json.loads((made / "record.json").read_text())
    assert record["header"]["classes"] == list(CLASSES)
    assert record["header"]["decision"] == {"temperature": 1.5, "threshold": 0.3}
    told = record | {"header": record["header"] | {"trained_on": {"known": False}}}
    assert json.loads(core().read_model(made / "model.xml").get_rt_info("resnetkit").value) == told
    [entry] = onnx.load(exported(to="onnx") / "model.onnx").metadata_props
    assert json.loads(entry.value) == told | {"format": "onnx"}


def test_the_card_says_what_it_is_how_good_and_how_to_use_it(exported: Exporter) -> None:
    card = (exported(to="onnx") / "README.txt").read_text()
    assert "pip install onnxruntime numpy pillow\n    python predict.py PHOTO..." in card
    for part in (
        "5 classes: ameise, 개미",
        "92.5 % of 200 test pictures (95 % interval 88.0 to 95.4 %)",
        "not stated",
        NO_MEDICAL_DEVICE,
    ):
        assert part in " ".join(card.split())
    assert max(len(line) for line in card.splitlines()) <= 80


def test_an_export_that_answers_otherwise_is_not_there(
    file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.inference.graph_layers._EPSILON", 0.5)
    with pytest.raises(DataError, match=r"the export answers differently.*nothing was written"):
        rk.export(file, images=[photos], output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_of_ones_own_generated_ones_are_compared_and_that_is_said(file: Path, tmp_path: Path) -> None:
    made = rk.export(file, output=tmp_path / "out")
    parity = json.loads((made.folder / "parity.json").read_text())
    assert parity["pictures"] == 6
    assert parity["compared_on"] == "generated pictures, none of yours (compare on yours with --images)"


def test_of_many_pictures_some_are_compared_and_that_is_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.api.exporting._MOST_COMPARED", 10)
    for number in range(11):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number:03}.png")
    made = rk.export(file, images=[tmp_path], output=tmp_path / "out")
    parity = json.loads((made.folder / "parity.json").read_text())
    assert parity["pictures"] == 10
    assert parity["compared_on"] == "10 of the 11 pictures that were given"


def test_what_cannot_be_exported_is_said_before_anything_is_written(file: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    for options, message in (
        ({"to": "tflite"}, "choose openvino, onnx, torchvision"),
        ({"to": "torchvision"}, "torchvision has no such network"),
        ({"preprocess": "half"}, "choose inside, outside"),
        ({"output": tmp_path / "taken"}, "is there already"),
        ({"output": tmp_path / "taken" / "mine.txt" / "out"}, "cannot be written to"),
        ({"images": [tmp_path / "nothing"]}, "nothing"),
    ):
        with pytest.raises(UsageError, match=message):
            rk.export(file, **({"images": [photos], "output": tmp_path / "out"} | options))  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "taken"]


def test_a_damaged_export_is_refused(exported: Exporter, tmp_path: Path) -> None:
    folder = shutil.copytree(exported(to="openvino"), tmp_path / "out")
    record = (folder / "record.json").read_text()
    (folder / "record.json").write_text(record[:100])
    with pytest.raises(DataError, match="is damaged"):
        rk.load(folder)
    (folder / "record.json").unlink()
    with pytest.raises(DataError, match=r"record\.json: cannot be read"):
        rk.load(folder)
    (folder / "record.json").write_text(record)
    (folder / "model.xml").unlink()
    with pytest.raises(DataError, match="its model is missing"):
        rk.load(folder)


def test_classes_renamed_in_an_export_are_those_it_answers_with(exported: Exporter, tmp_path: Path) -> None:
    folder = shutil.copytree(exported(to="openvino"), tmp_path / "out")
    before = rk.load(folder).classes
    record = (folder / "record.json").read_text(encoding="utf-8")
    (folder / "record.json").write_text(record.replace(json.dumps(CLASSES[0], ensure_ascii=False), '"other"'))
    assert rk.load(folder).classes == ("other", *before[1:])


def test_pictures_that_nobody_can_read_are_no_proof(file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match="no picture could be read"):
        rk.export(file, images=[tmp_path / "broken.png"], output=tmp_path / "out")


def test_one_channel_models_export_too(tmp_path: Path, photos: Path) -> None:
    file = write(tmp_path / "grey.safetensors", SMALL.changed(in_channels=1), size=28)
    made = rk.export(file, to="onnx", images=[photos], output=tmp_path / "out")
    assert np.isclose(json.loads((made.folder / "parity.json").read_text())["largest_difference"], 0, atol=1e-5)


WINDOWS = ("-600 1500", "40 400", "700.5 900")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16-bit greys, one of them turned by EXIF, and DICOM of as many values, also below zero."""
    folder, exif = tmp_path_factory.mktemp("measured"), Image.Exif()
    exif[0x0112] = 6
    for number, (width, height) in enumerate(((24, 24), (90, 60), (60, 90), (31, 200))):
        values = some(1, height, width, seed=number)[0][..., 0].astype(np.uint16) * 16
        Image.fromarray(values).save(folder / f"{number}.png", **({"exif": exif} if number == 1 else {}))
        made = of(values, RescaleSlope=1, RescaleIntercept=-1024)
        (folder / f"{number}.dcm").write_bytes(written(made))
    return folder


def write_windowed(path: Path, windows: tuple[str, ...]) -> Path:
    network, header = checkpoint.load(write(path))
    checkpoint.save(
        path, network, dataclasses.replace(header, preprocess=header.preprocess.changed(windows=windows))
    )  # fmt: skip
    return path


@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_windows_are_inside_the_graph_which_reads_raw_values(measured: Path, tmp_path: Path, to: str) -> None:
    file = write_windowed(tmp_path / "ct.safetensors", WINDOWS)
    made = rk.export(file, to=to, images=[measured], output=tmp_path / "export")
    assert (made.parity.pictures, made.parity.same_top1, made.parity.unreadable) == (8, 8, [])
    assert made.parity.largest_difference < 1e-4
    assert "measured values [1, H, W, 1] in fp32" in (made.folder / "README.txt").read_text(encoding="utf-8")
    model, theirs = (rk.load(one, precision="fp32", threads=1) for one in (file, made.folder))
    for path in sorted(measured.iterdir()):
        ours, exported = model.predict(path), theirs.predict(path)
        assert (ours.label, ours.probability) == (exported.label, pytest.approx(exported.probability, abs=1e-4))
    files = sorted(measured.glob("*.png"))
    command = [sys.executable, "predict.py", *map(str, files)]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True, check=True)
    for line, path in zip(done.stdout.splitlines(), files, strict=True):
        best = model.predict(path)
        assert f" {best.label} {100 * (best.probability or 0):.1f} %" in line


def test_windows_are_compared_on_generated_values_where_no_pictures_are_given(tmp_path: Path) -> None:
    file = write_windowed(tmp_path / "ct.safetensors", WINDOWS)
    generated = rk.export(file, to="onnx", output=tmp_path / "again")
    assert (generated.parity.pictures, generated.parity.unreadable) == (6, [])


def test_windows_that_no_export_can_have_are_told(measured: Path, tmp_path: Path) -> None:
    for windows, how in ((WINDOWS, {"preprocess": "outside"}), (("file",), {})):
        file = write_windowed(tmp_path / "ct.safetensors", windows)
        with pytest.raises(UsageError, match="reads windows of measured values, which exports have inside"):
            rk.export(file, images=[measured], output=tmp_path / "export", **how)


def test_a_model_of_dicom_with_its_own_windows_exports_too(file: Path, measured: Path, tmp_path: Path) -> None:
    made = rk.export(file, images=[measured / "0.dcm", measured / "2.dcm"], output=tmp_path / "export")
    assert (made.parity.pictures, made.parity.largest_pixel_difference) == (2, 0)
