import csv
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.targets import class_targets
from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.evaluate import choose_split, evaluate_part, write_evaluation
from resnetkit.models.decision import Decision
from tests.fakes import OneByOne

COLUMNS = ("source", "label", "predicted", "probability", "correct", "split")


class PaintedAnswers(OneByOne):
    """The first pixel of a picture holds the index of the answer; `batches` the sizes it was given."""

    def __init__(self, num_classes):
        self.num_classes, self.batches = num_classes, []

    def logits(self, pixels):
        self.batches.append(len(pixels))
        return 3 * np.eye(self.num_classes, dtype=np.float32)[pixels[:, 0, 0, 0]]


def part_of(labels, answers, *, groups=None):
    """Make a part with these labels, whose pictures get these answers (indices of the model's classes)."""
    groups = groups or [None] * len(labels)
    items = tuple(
        Item(f"{number}.png", (label,), "test", group)
        for number, (label, group) in enumerate(zip(labels, groups, strict=True))
    )
    pixels = np.zeros((len(labels), 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0] = answers
    # The targets count in the data's own order of classes, which is not the model's.
    order = sorted(set(labels))
    targets = np.array([order.index(label) for label in labels], dtype=np.int64)
    return SimpleNamespace(items=items, targets=targets, pixels=Pixels(pixels), columns=())


def evaluate(part, classes, **changes):
    arguments = {"classes": classes, "decision": Decision(), "split": "test"} | changes
    return evaluate_part(PaintedAnswers(len(classes)), part, **arguments)


def test_classes_are_matched_by_name_whatever_their_order_and_number():
    classes = ("zebra", "owl", "cat", "bee")
    metrics, rows = evaluate(part_of(["bee", "cat", "cat", "zebra"], [3, 2, 1, 0]), classes)
    assert metrics["count"] == 4
    assert metrics["top1"] == 0.75
    assert [row["predicted"] for row in rows] == ["bee", "cat", "owl", "zebra"]
    assert [row["correct"] for row in rows] == [True, True, False, True]
    assert metrics["per_class"]["cat"]["recall"] == 0.5
    assert metrics["per_class"]["owl"]["support"] == 0


def test_every_picture_counts_once_whatever_the_batch_size():
    rng = np.random.default_rng(0)
    part = part_of([("a", "b", "c")[i] for i in rng.integers(3, size=23)], rng.integers(3, size=23))
    expected = evaluate(part, ("a", "b", "c"), batch_size=23)
    for batch_size in (1, 5, 64, None):
        assert evaluate(part, ("a", "b", "c"), batch_size=batch_size) == expected


def test_the_temperature_changes_confidence_and_no_answer():
    part = part_of(["a", "b"], [0, 0])
    cold, warm = evaluate(part, ("a", "b")), evaluate(part, ("a", "b"), decision=Decision(temperature=3))
    assert cold[0]["top1"] == warm[0]["top1"] == 0.5
    assert warm[1][0]["probability"] < cold[1][0]["probability"]


def test_test_time_averaging_is_reported_apart_and_changes_nothing_else():
    part = part_of(["a", "b", "b"], [0, 1, 0])
    pixels = np.zeros((3, 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = [0, 1, 0], [0, 1, 1]
    part.pixels = Pixels(pixels)
    plain, averaged = evaluate(part, ("a", "b")), evaluate(part, ("a", "b"), tta="flip")
    assert averaged[1] == plain[1]
    assert "tta" not in plain[0]
    figures = averaged[0].pop("tta")
    assert averaged[0] == plain[0]
    # The last picture is half "a", half "b": equal logits, so the first class is named and its loss is that of a coin.
    sure = -np.log(np.exp(3) / (np.exp(3) + 1))
    assert figures == {"views": "flip", "top1": 2 / 3, "loss": pytest.approx((2 * sure + np.log(2)) / 3)}


@pytest.mark.parametrize("tta", ["flip", "flip_shift"])
def test_every_picture_is_averaged_once_whatever_the_batch_size(tta):
    rng = np.random.default_rng(0)
    part = part_of([("a", "b", "c")[i] for i in rng.integers(3, size=23)], rng.integers(3, size=23))
    expected = evaluate(part, ("a", "b", "c"), batch_size=23, tta=tta)
    assert expected[0]["count"] == 23
    for batch_size in (1, 5, 64, None):
        assert evaluate(part, ("a", "b", "c"), batch_size=batch_size, tta=tta) == expected


def test_an_unknown_class_is_refused_with_the_nearest_name_and_the_flag():
    with pytest.raises(DataError, match=r"'aeroplane'.*did you mean 'airplane'.*--rename aeroplane=airplane"):
        class_targets([Item("a.png", ("aeroplane",))], ("airplane", "cat"), where="test")


def test_class_names_in_nfc_meet():
    assert class_targets([Item("a.png", ("카페",))], ("café", "카페"), where="test").tolist() == [1]


def test_an_empty_part_and_outputs_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="no picture"):
        evaluate(part_of([], []), ("a", "b"))

    class Diverged(OneByOne):
        def logits(self, pixels):
            return np.full((len(pixels), 2), np.inf, np.float32)

    with pytest.raises(DataError, match="not finite"):
        evaluate_part(Diverged(), part_of(["a"], [0]), classes=("a", "b"), decision=Decision(), split="test")


def test_the_files_have_the_columns_of_the_design_and_no_nan(tmp_path):
    metrics, rows = evaluate(part_of(["개미", "b"], [0, 0]), ("개미", "b"))
    rows[1]["source"] = os.fsdecode(b"caf\xe9.png")
    write_evaluation(tmp_path / "run", metrics, rows, columns=COLUMNS)
    text = (tmp_path / "run/metrics.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == metrics
    assert "개미" in text
    lines = (tmp_path / "run/predictions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "source,label,predicted,probability,correct,split"
    assert lines[1] == "0.png,개미,개미,0.952574,true,test"
    assert lines[2].startswith("caf\\udce9.png,b,개미,")
    assert lines[2].endswith(",false,test")


def test_the_group_column_is_there_when_there_are_groups(tmp_path):
    metrics, rows = evaluate(part_of(["a", "b"], [0, 1], groups=["patient 1", None]), ("a", "b"))
    write_evaluation(tmp_path, metrics, rows, columns=COLUMNS)
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["patient 1", ""]


def test_auto_takes_test_then_validation_then_everything():
    assert choose_split("auto", {"train", "val", "test"}) == "test"
    assert choose_split("auto", {"train", "val"}) == "val"
    assert choose_split("auto", {"train"}) == "all"
    assert choose_split("auto", set()) == "all"


def test_a_part_is_taken_when_asked_for_and_refused_when_absent():
    assert choose_split("train", {"train", "test"}) == "train"
    with pytest.raises(UsageError, match="it has train, test"):
        choose_split("val", {"test", "train"})
    with pytest.raises(UsageError, match="it has no parts"):
        choose_split("test", set())
    with pytest.raises(UsageError, match="unknown split 'testing'"):
        choose_split("testing", {"test"})
