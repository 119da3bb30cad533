"""The content of metrics.json and of predictions.csv, and the words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnetkit.errors import DataError
from resnetkit.evaluation.detection import noise
from resnetkit.evaluation.detection.least_scores import cross_fitted
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import detection_metrics, headline, map_of
from resnetkit.evaluation.detection.noise import noise_of
from resnetkit.evaluation.detection.operating import at_work
from resnetkit.evaluation.detection.rows import COLUMNS, read_rows, rows_of
from tests.evaluation.detection.scenes import SIZE, coco, found, perfect, perturbed, scenes, truth

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")

CLASSES = ("red", "white", "small")
HALF = np.full(3, 0.5)


def metrics_of(truths: list, founds: list, **how: Any) -> dict[str, Any]:
    how = {"sizes": [SIZE] * len(truths), "classes": CLASSES, "at": HALF, "split": "test"} | how
    return detection_metrics(truths, founds, matches=matched(truths, founds, num_classes=len(how["classes"])), **how)


def test_everything_is_json_without_nan() -> None:
    for pair in (scenes(1, 40), ([truth()] * 2, [found()] * 2), ([], []), ([truth((0, (0, 0, 9, 9)))], [found()])):
        text = json.dumps(metrics_of(*pair), allow_nan=False)
        assert json.loads(text)["count"] == len(pair[0])
        assert headline(json.loads(text))


def test_figures_stand_under_their_names() -> None:
    truths, founds = scenes(1, 60)
    metrics = metrics_of(truths, founds)
    assert (metrics["task"], metrics["split"], metrics["count"]) == ("detection", "test", 60)
    assert metrics["objects"] == sum(int((~one.crowd).sum()) for one in truths)
    assert 0 < metrics["map"] < metrics["map50"] < 1
    assert metrics["map_interval"][0] < metrics["map"] < metrics["map_interval"][1]
    assert (metrics["map"], metrics["map50"]) == pytest.approx(map_of(truths, founds, num_classes=3), abs=1e-9)
    assert list(metrics["per_class"]) == list(CLASSES) == list(metrics["curves"])
    assert metrics["map50"] == pytest.approx(np.mean([one["ap50"] for one in metrics["per_class"].values()]))
    assert sum(one["support"] for one in metrics["per_class"].values()) == metrics["objects"]
    work = at_work(matched(truths, founds, num_classes=3), HALF)
    assert (metrics["recall"], metrics["false_alarms"]) == (work["recall"], work["false_alarms"])
    wrong = sum(number for kind, number in metrics["mistakes"].items() if kind != "missed")
    assert wrong == work["said"] - work["right"]
    assert metrics["noise"]["map50"] < 0.1 < metrics["map50"]
    assert "mask_map" not in metrics


def test_masks_have_figures_of_their_own(shared_data: Path) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", "val")
    founds = perturbed(truths[:12], sizes[:12], classes=classes, masks=True)
    names = [str(k) for k in range(classes)]
    metrics = metrics_of(truths[:12], founds, sizes=sizes[:12], classes=names, at=np.full(classes, 0.5), masks=True)
    assert 0 < metrics["mask_map50"] < metrics["map50"]
    assert metrics["mask_map_small"] is not None
    assert "By masks: mAP@.50" in headline(metrics)
    assert metrics["map50_interval"] is None  # most classes are on one picture


def test_pictures_that_fitted_the_scores_are_judged_by_those_of_others() -> None:
    truths, founds = scenes(2, 40)
    judged = cross_fitted(matched(truths, founds, num_classes=3), None, goal="f1")
    metrics = metrics_of(truths, founds, judged_at=judged, at=np.full(3, 0.99))
    assert metrics["recall"] > 0.3
    assert metrics["per_class"]["red"]["threshold"] == 0.99


def test_folds_have_no_intervals() -> None:
    metrics = metrics_of(*scenes(3, 30), split="folds")
    names = ["map_interval", "map50_interval", "recall_interval", "false_alarms_interval"]
    assert [metrics[name] for name in names] == [None] * 4
    assert "found, with" in headline(metrics)


def test_the_headline_says_what_a_person_gets() -> None:
    truths, founds = scenes(4, 72)
    metrics = metrics_of(truths, founds)
    lines = headline(metrics).splitlines()
    low, high = metrics["map50_interval"]
    assert lines[0].startswith(f"mAP@.50 {100 * metrics['map50']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) and mAP@")
    assert "on 72 held-out photos with" in lines[0]
    assert "noise would get" in lines[0]
    assert lines[1].startswith(f"Of 100 objects {100 * metrics['recall']:.0f} (")
    assert f"with {metrics['false_alarms']:.2g} false alarms per picture (" in lines[1]
    assert any(line.startswith("Mistakes: ") and " imagined" in line for line in lines)
    assert any(line.startswith("Found worst: ") for line in lines)


def test_the_headline_of_perfect_answers_names_no_mistakes() -> None:
    truths, _ = scenes(5, 20)
    text = headline(metrics_of(truths, perfect(truths)))
    assert "mAP@.50 100.0 %" in text
    assert "No mistakes." in text


def test_a_class_without_objects_is_left_out_by_name() -> None:
    truths, founds = scenes(6, 20, classes=2)
    metrics = metrics_of(truths, founds)
    assert metrics["left_out"] == ["small"]
    assert metrics["per_class"]["small"]["ap"] is None
    assert "no picture here has any: small" in headline(metrics)


def test_noise_gets_little_and_always_the_same() -> None:
    truths, _ = scenes(7, 50)
    first, second = (noise_of(truths, [SIZE] * 50, num_classes=3) for _ in range(2))
    assert first == second
    assert first is not None
    assert 0 < first["map"] < first["map50"] < 0.05
    whole = [truth((0, (0, 0, *SIZE)))] * 10
    assert noise_of(whole, [SIZE] * 10, num_classes=1) == {"map": 1.0, "map50": 1.0}  # here noise cannot miss
    assert noise_of([truth()], [SIZE], num_classes=1) is None


def test_noise_lies_on_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list = []
    monkeypatch.setattr(
        noise, "matched", lambda truths, founds, **how: seen.extend(founds) or matched(truths, founds, **how)
    )
    sizes = [(400, 300), (40, 30)]
    noise_of([truth((0, (0, 0, 400, 300))), truth((0, (0, 0, 40, 30)))], sizes, num_classes=1)
    assert len(seen) == 10
    for one, size in zip(seen, sizes * 5, strict=True):
        assert (one.boxes >= 0).all()
        assert (one.boxes[:, 2:] <= size).all()


def test_rows_tell_each_picture_and_can_be_read_again() -> None:
    truths, founds = scenes(8, 30, crowd=0.2)
    matches = matched(truths, founds, num_classes=3)
    rows = rows_of(
        matches, truths, founds, HALF, sources=[f"{n}.png" for n in range(30)], groups=[None] * 30, classes=CLASSES,
        split="test",
    )  # fmt: skip
    assert all(tuple(row) == COLUMNS for row in rows)
    work = at_work(matches, HALF)
    sums = {name: sum(row[name] for row in rows) for name in ("objects", "found", "right", "missed", "false_alarms")}
    assert (sums["objects"], sums["found"], sums["right"]) == (work["objects"], work["said"], work["right"])
    assert sums["missed"] == work["objects"] - work["right"]
    assert sums["false_alarms"] == work["said"] - work["right"]
    first = json.loads(rows[0]["predictions"])[0]
    assert set(first) == {"label", "score", "box"}
    read = read_rows([{name: str(value) for name, value in row.items()} for row in rows], CLASSES)
    again = map_of(read.truths, read.founds, num_classes=3)
    assert again == pytest.approx(map_of(truths, founds, num_classes=3), abs=0.01)  # boxes are written to 0.01 pixels
    assert [one.crowd.tolist() for one in read.truths] == [one.crowd.tolist() for one in truths]


def test_rows_of_other_classes_are_refused() -> None:
    row = {"source": "1.png", "truth": '[{"label":"cell","box":[0,0,9,9]}]', "predictions": "[]"}
    with pytest.raises(DataError, match="'cell'"):
        read_rows([row], CLASSES)
