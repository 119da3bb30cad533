"""An exported detector finds what the detector finds, in every format, on pictures of any size and on empty ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnetkit as rk
from resnetkit.api.benchmarking import _agreement, _answered
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.exporting.parity import Parity, by_objects
from resnetkit.inference.prediction import Prediction
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import DETECTION, Header
from resnetkit.models.detection.network import Detector
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from tests.exporting.test_export import ALONE, Exporter, exporter
from tests.inference.test_detector_graph import SMALL, TINY, unlikely
from tests.inference.test_graph import some

SIZES = ((8.0,), (16.0,), (24.0,), (32.0,), (48.0,))
CLASSES = ("ameise", "개미", "bee")
PLATT = Platt(slope=0.8, offset=-1.0, boxes=200, right=90)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights that is sure of some of what it finds on noise, and of nothing on grey."""
    path = tmp_path_factory.mktemp("model") / "insects.safetensors"
    torch.manual_seed(0)
    spec = DetectorSpec.light(TINY, num_classes=3, masks=True).changed(**SMALL)
    network = Detector(spec)
    unlikely(network)
    preprocess = Preprocess(size=64, width=96, resize=64, crop="pad")
    header = Header(
        task=DETECTION, spec=spec, classes=CLASSES, preprocess=preprocess,
        decision=Sureness(at=(0.256,) * 3, platt=PLATT, tracks=Platt(slope=0.7, offset=0.5, boxes=150, right=99)),
        metrics={"split": "test", "count": 72, "map": 0.57, "map50": 0.91, "map50_interval": [0.88, 0.93]},
    )  # fmt: skip
    checkpoint.save(path, network.eval(), header)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, (width, height) in enumerate(((96, 64), (60, 90), (250, 120))):
        Image.fromarray(some(1, height, width, seed=number)[0]).save(folder / f"{number}.png")
    Image.new("RGB", (70, 50), (124, 116, 104)).save(folder / "grey.png")  # the mean: zeros for the network
    return folder


def said(prediction: Prediction) -> list[str]:
    return [f"{one.label} {100 * one.sure:.1f} %" for one in prediction.objects or ()]


@pytest.fixture(scope="module")
def exported(file: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    return exporter(file, photos, tmp_path_factory.mktemp("exported"))


@pytest.mark.parametrize(
    ("to", "preprocess"),
    [
        ("openvino", "inside"), pytest.param("onnx", "inside", marks=pytest.mark.slow),
        *(pytest.param(to, "outside", marks=pytest.mark.slow) for to in ("onnx", "openvino")),
    ],
)  # fmt: skip
def test_an_exported_detector_finds_what_the_detector_finds(
    file: Path, photos: Path, exported: Exporter, to: str, preprocess: str
) -> None:
    made = exported(to=to, preprocess=preprocess)
    parity = json.loads((made / "parity.json").read_text())
    assert (parity["pictures"], parity["same_top1"]) == (4, 4)
    assert parity["objects"] == parity["matched_objects"] > 3
    assert parity["largest_box_difference"] < 0.01
    expected = list(rk.load(file, engine="torch", precision="fp32", threads=1).predict_many(photos))
    answers = list(rk.load(made, precision="fp32", threads=1).predict_many(photos))
    assert [said(answer) for answer in answers] == [said(answer) for answer in expected]
    assert all(one.probability is not None and one.probability < one.score for each in answers for one in each.objects)
    for answer, wanted in zip(answers, expected, strict=True):
        boxes = [[one.box for one in each.objects or ()] for each in (answer, wanted)]
        np.testing.assert_allclose(*boxes, atol=0.01)
    card = " ".join((made / "README.txt").read_text().split())
    assert "a Mask R-CNN on a ResNet that finds objects and their masks" in card
    assert "is 0.8 times that of its score, and -1 (decision.platt" in card
    assert "is 0.7 times that of the mean of their probabilities, and 0.5 (decision.tracks)" in card
    assert "91.0 % (95 % interval 88.0 to 93.0 %) at an overlap of .50, 57.0 % over .50:.95, on 72 test" in card


@pytest.mark.parametrize(("to", "without"), [("onnx", "torch,openvino"), ("openvino", "torch,onnxruntime,onnx")])
def test_the_script_alone_prints_the_objects(
    file: Path, photos: Path, exported: Exporter, to: str, without: str
) -> None:
    sources = sorted(map(str, photos.iterdir()))
    command = [sys.executable, "-c", ALONE, without, str(exported(to=to) / "predict.py"), *sources]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = []
    for prediction in rk.load(file, engine="torch", precision="fp32", threads=1).predict_many(photos):
        objects = prediction.objects or ()
        lines.append(f"{prediction.source}: {len(objects)} object{'s' * (len(objects) != 1)}")
        lines += [
            f"  {one.label} {100 * one.sure:.1f} % left {one.box[0]:.1f} top {one.box[1]:.1f} "
            f"right {one.box[2]:.1f} bottom {one.box[3]:.1f}"
            for one in objects
        ]
    assert ran.stdout.splitlines() == lines


def test_torchvision_takes_no_detector_that_it_does_not_have(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="torchvision has no such detector"):
        rk.export(file, to="torchvision", output=tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_torchvision_loads_the_weights_and_the_script_runs_them(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = DetectorSpec(backbone=catalog.spec_of("resnet18", num_classes=0), num_classes=3, anchor_sizes=SIZES)
    network = Detector(spec)
    unlikely(network)
    preprocess = Preprocess(size=60, width=90, resize=60, crop="pad")
    header = Header(
        task=DETECTION, spec=spec, classes=CLASSES, preprocess=preprocess, decision=Sureness(at=(0.25,) * 3)
    )
    checkpoint.save(tmp_path / "insects.safetensors", network.eval(), header)
    made = rk.export(
        tmp_path / "insects.safetensors", to="torchvision", images=[photos], output=tmp_path / "out", threads=1
    )
    assert made.exported.torchvision == "fasterrcnn_resnet18_fpn"
    assert made.parity.matched == made.parity.objects > 0
    again = rk.load(made.folder, engine="torch", precision="fp32", threads=1)
    reference = rk.load(tmp_path / "insects.safetensors", engine="torch", precision="fp32", threads=1)
    assert said(again.predict(photos / "0.png")) == said(reference.predict(photos / "0.png"))
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, "openvino,onnx", str(made.folder / "predict.py"), str(photos / "0.png")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1 + len(reference.predict(photos / "0.png").objects or ())


ROWS = np.array([[10, 10, 50, 60, 0.9, 0], [20, 30, 90, 80, 0.6, 1], [5, 5, 9, 9, 0.2, 1], [0, 0, 0, 0, 0, -1]])
AT = np.array([0.5, 0.5])


def changed(row: int, **values: float) -> np.ndarray:
    rows = ROWS.copy()
    for name, value in values.items():
        rows[row, ["left", "top", "right", "bottom", "score", "label"].index(name)] = value
    return rows


@pytest.mark.parametrize(
    ("answered", "verdict", "matched"),
    [
        (ROWS[[1, 3, 0, 2]], "same", 2),
        (changed(2, left=3), "same", 2),
        (changed(1, left=20.05, score=0.6005), "same", 2),
        (changed(1, left=21), "other", 1),
        (changed(1, label=0), "other", 1),
        (changed(3, label=0, score=0.7, right=5, bottom=5), "other", 2),
        (changed(3, label=0, score=0.5002, right=5, bottom=5), "tie", 2),
        (ROWS[1:], "other", 1),
    ],
)
def test_objects_are_the_same_where_class_place_and_score_are(answered: np.ndarray, verdict: str, matched: int) -> None:
    difference = by_objects(AT)(ROWS, answered)
    assert (difference.verdict, difference.matched) == (verdict, matched)


def test_in_int8_objects_are_the_same_where_they_overlap() -> None:
    difference = by_objects(AT, exact=False)(ROWS, changed(1, left=22, score=0.7))
    assert (difference.verdict, difference.objects, difference.matched) == ("same", 2, 2)
    assert (difference.pixels, round(difference.probabilities, 3)) == (2, 0.1)
    assert by_objects(AT, exact=False)(ROWS, changed(1, score=0.4)).verdict == "other"


def test_two_empty_pictures_are_the_same_and_a_phantom_is_not() -> None:
    nothing = ROWS[3:]
    assert by_objects(AT)(nothing, nothing[:0]).verdict == "same"
    parity = Parity(of_objects=True)
    parity.add("grey.png", by_objects(AT)(nothing, ROWS[:1]))
    with pytest.raises(DataError, match=r"0 of 1 objects are the same.*another answer for grey.png"):
        parity.check()


def test_a_benchmark_compares_detectors_by_the_objects_that_both_find(file: Path, photos: Path) -> None:
    model = rk.load(file, engine="torch", precision="fp32", threads=1)
    told, accuracy = _answered(model, [str(photos)])
    assert accuracy is None
    assert _agreement(told, told) == 1
    assert sum(map(len, told)) > 3
    assert _agreement([[["bee", 0, 0, 9, 9], ["bee", 20, 20, 30, 30]], []], [[["bee", 1, 0, 9, 9]], []]) == 0.5
    assert _agreement([[["bee", 0, 0, 9, 9]]], [[["ameise", 0, 0, 9, 9]]]) == 0
    assert _agreement([[], []], [[], []]) == 1
