"""int8: calibrated on some pictures, scored on others, refused where it costs too much."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnetkit as rk
from resnetkit.api.exporting import Export
from resnetkit.api.int8 import calibration
from resnetkit.api.remembering import Memory
from resnetkit.data.dataset import Dataset
from resnetkit.errors import DataError, UsageError
from resnetkit.exporting.int8 import Cost
from resnetkit.inference.engines import TorchEngine
from resnetkit.inference.openvino_library import core
from resnetkit.models import checkpoint
from resnetkit.models.decision import Decision
from resnetkit.models.seen import Seen
from resnetkit.runtime import Runtime
from resnetkit.watcher import Watcher
from tests.exporting.test_export import CLASSES, write
from tests.inference.test_graph import some


def picture(number: int) -> np.ndarray:
    return some(1, 30, 40, seed=number)[0] // (1 + number % 3) + 20 * (number % 4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose random answers are spread over the classes."""
    path = write(tmp_path_factory.mktemp("model") / "insects.safetensors", decision=Decision())
    network, header = checkpoint.load(path)
    pixels = np.stack([header.preprocess.pixels(Image.fromarray(picture(number))) for number in range(60)])
    logits = TorchEngine(network, header.preprocess, Runtime()).logits(pixels)
    with torch.no_grad():
        network.fc.bias -= torch.from_numpy(logits.mean(axis=0))
    checkpoint.save(path, network, header)
    return path


@pytest.fixture(scope="module")
def labelled(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in the folder of the class that the model itself gives them."""
    folder = tmp_path_factory.mktemp("labelled")
    model = rk.load(file, engine="torch", precision="fp32", threads=1)
    for number in range(60):
        label = model.predict(picture(number)).label
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(picture(number)).save(folder / str(label) / f"{number}.png")
    assert len(list(folder.iterdir())) >= 3
    return folder


@pytest.fixture(scope="module")
def made(file: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    output = tmp_path_factory.mktemp("int8") / "out"
    return rk.export(file, int8=True, calibrate=[labelled], images=[labelled], max_loss=0.5, output=output)


@pytest.mark.slow
def test_an_int8_export_is_scored_on_pictures_it_was_not_calibrated_on(made: Export) -> None:
    assert made.cost is not None
    assert (made.cost.calibrated_on, made.cost.pictures, made.cost.fp32) == (30, 30, 1.0)
    assert 0.6 <= made.cost.int8 == made.cost.same_answer / 30
    assert json.loads((made.folder / "parity.json").read_text())["int8"] == made.cost.to_json()
    assert "In int8, calibrated on 30 pictures" in " ".join((made.folder / "README.txt").read_text().split())
    operators = [node.get_type_name() for node in core().read_model(made.exported.model).get_ops()]
    assert operators.count("FakeQuantize") > 20 or "i8" in (made.folder / "model.xml").read_text()


@pytest.mark.slow
def test_an_int8_export_is_a_model_and_says_so(made: Export, labelled: Path) -> None:
    model = rk.load(made.folder, threads=1)
    assert model.computes == "computing with OpenVINO in int8 on one core of the processor"
    evaluated = rk.evaluate(labelled, model=model)
    assert evaluated.metrics["top1"] > 0.6
    for options in ({"precision": "bf16"}, {"engine": "torch"}):
        with pytest.raises(UsageError, match="exported in int8"):
            rk.load(made.folder, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_costs_too_much_is_refused(
    file: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = Cost(pictures=200, calibrated_on=100, fp32=0.9, int8=0.89, same_answer=190)
    cost.check(max_loss=0.0101)
    with pytest.raises(DataError, match=r"89.0 % of 200 pictures are right, in fp32 90.0 %: 1.0 points less, 0.5 are"):
        cost.check(max_loss=0.005)
    monkeypatch.setattr("resnetkit.api.exporting.quantising.cost", lambda *args, **options: cost)
    with pytest.raises(DataError, match="nothing was written"):
        rk.export(file, int8=True, calibrate=[labelled], output=tmp_path / "out", max_loss=0.005)
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_openvino_and_labelled_pictures(file: Path, labelled: Path) -> None:
    for options, message in (
        ({"int8": True}, "name them with --calibrate DATA"),
        ({"int8": True, "to": "onnx", "calibrate": [labelled]}, "--int8 is for OpenVINO"),
        ({"calibrate": [labelled]}, "--calibrate is for --int8"),
    ):
        with pytest.raises(UsageError, match=message):
            rk.export(file, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="resnetkit export MODEL --int8 --calibrate DATA"):
        rk.load(file, precision="int8")


def test_train_calibrates_and_test_is_scored_where_the_data_have_parts(labelled: Path, tmp_path: Path) -> None:
    def divided(data: Path, classes: Sequence[str] = CLASSES) -> tuple[Dataset, Dataset]:
        made = calibration(
            [data],
            classes=classes,
            memory=Memory(known=Seen(), tells=Seen()),
            name="insects",
            watcher=Watcher(),
            threads=1,
        )
        return made.ours, made.others

    ours, others = divided(labelled)
    assert len(ours) == len(others) == 30
    assert {item.source for item in ours.items}.isdisjoint(item.source for item in others.items)
    lines = ["image_path,label,split"]
    parts = ["train"] * 40 + ["val"] * 15 + ["test"] * 5
    files = sorted(labelled.rglob("*.png"), key=lambda path: int(path.stem))
    lines += [f"{path},{path.parent.name},{part}" for path, part in zip(files, parts, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    ours, others = divided(tmp_path / "list.csv")
    assert ({item.split for item in ours.items}, len(ours)) == ({"train"}, 40)
    assert ({item.split for item in others.items}, len(others)) == ({"test"}, 5)
    with pytest.raises(DataError, match="is not among the 2 known classes"):
        divided(tmp_path / "list.csv", ("a", "b"))
