"""The page of a detector: its figures and curves, and each kind of mistake with its pictures."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.marks import Truth
from resnetkit.errors import DataError
from resnetkit.evaluation.detection.calibration import calibration_of, line_of
from resnetkit.evaluation.detection.least_scores import cross_fitted
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import detection_metrics
from resnetkit.evaluation.detection.mistakes import KINDS, Mistake
from resnetkit.evaluation.detection.rereading import reread
from resnetkit.evaluation.detection.rows import rows_of
from resnetkit.models.choice import Choice
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.platt import Platt
from resnetkit.report import curves, object_charts
from resnetkit.report.drawing.charts import history as draw_history
from resnetkit.report.drawing.objects import draw_boxes
from resnetkit.report.pages.object_pictures import MOST_OF_A_KIND, album, around
from resnetkit.report.pages.objects import SECTIONS
from resnetkit.report.pages.page import Content, render
from resnetkit.report.pages.thumbnails import BUDGET
from tests.evaluation.detection.scenes import SIZE, scenes
from tests.report.test_page import HOSTILE, Page
from tests.report.test_page import content as content_of_classes

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install resnetkit[detect]")
CLASSES = ("cell", HOSTILE, "نحلة")
NAMED = {"objectness", "rpn box reg", "classifier", "box reg"}


@cache
def scored(count: int = 12, *, cross: bool = False, seed: int = 3) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows as the page has them, and figures, of pictures on which a detector is good but not perfect."""
    truths, founds = scenes(seed, count)
    matches, at = matched(truths, founds, num_classes=3), np.full(3, 0.5)
    judged_at = cross_fitted(matches, None, goal="f1") if cross else None
    metrics = detection_metrics(
        truths, founds, matches=matches, sizes=[SIZE] * count, classes=CLASSES, at=at, judged_at=judged_at,
        split="val" if cross else "test",
    )  # fmt: skip
    metrics["thresholds"] = {"goal": "f1", "fitted_on": 20, "cross_fitted": cross}
    metrics["calibration_of_boxes"] = calibration_of(
        matches, matches.said(at), Platt(slope=1, offset=-1, boxes=300, right=200), groups=None, by="others"
    )
    rows = rows_of(
        matches, truths, founds, at if judged_at is None else judged_at, classes=CLASSES, split="test",
        sources=[f"photos/{HOSTILE}/{n}.png" for n in range(count)], groups=[None] * count,
    )  # fmt: skip
    written = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    return [{**row, **SECTIONS.told(row)} for row in written], json.loads(json.dumps(metrics))


def noise(row: Mapping[str, Any], *, at_least: int | None = None) -> Image.Image:
    coarse = np.random.default_rng(len(row["truth"])).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE)


def history() -> list[dict[str, str]]:
    """Four epochs of results.csv, scored every other one."""
    return [
        {"epoch": str(e), "seconds": "9", "train_loss": f"{2 / e}", "val_map": "" if e % 2 else f"{e / 10}",
         "val_map50": "" if e % 2 else f"{e / 5}"} | {f"train_{n.replace(' ', '_')}_loss": f"{1 / e}" for n in NAMED}
        for e in range(1, 5)
    ]  # fmt: skip


def content(**changes: Any) -> Content:
    return replace(usual(), **changes)


@cache
def usual() -> Content:
    """A page with all its pictures."""
    rows, metrics = scored()
    return replace(
        content_of_classes(), rows=rows, metrics=metrics, history=history(), heat=(),
        choice=Choice(by="map50", epoch=4, done=4, of=4, looks=2, on=12),
        album=album(rows, noise, metrics=metrics, seconds=None),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> Content:
    return content()


@pytest.fixture(scope="module")
def page(shown: Content) -> Page:
    return Page(render(shown))


def test_the_headline_is_map_at_a_half_beside_what_noise_gets(page: Page, shown: Content) -> None:
    metrics = shown.metrics
    assert metrics is not None
    assert f"{100 * metrics['map50']:.1f} % mAP@.50" in page.text
    assert f"Noise would get {100 * metrics['noise']['map50']:.1f} %" in page.text
    for words in ("mAP@.50:.95", "found", "right when said", "false alarms", "off in counts"):
        assert f"{words} " in page.text
    assert "mask mAP" not in page.text


def test_how_sure_boxes_are_stands_beside_how_often_they_are_right(page: Page, shown: Content) -> None:
    metrics = shown.metrics
    assert metrics is not None
    found = metrics["calibration_of_boxes"]
    assert f"off in probability {100 * found['after']['ece']:.1f} points" in page.text
    assert line_of(found)[0] in page.text
    charts = object_charts.calibration(metrics)
    assert [line.name for line in charts[0].lines] == ["as sure as right", "scores", "probabilities"]
    without = {**metrics, "calibration_of_boxes": {**found, "after": None}}
    text = Page(render(replace(shown, metrics=without))).text
    assert "Scores are no probabilities" in text
    assert "off in probability" not in text


def test_figures_of_masks_stand_beside_those_of_boxes(shown: Content) -> None:
    assert shown.metrics is not None
    masks = {f"mask_{name}": shown.metrics[name] for name in ("map", "map50", "map_interval", "map50_interval")}
    each = {name: {"ap": 0.25, "ap50": 0.75} for name in CLASSES}
    text = Page(render(replace(shown, metrics={**shown.metrics, **masks, "mask_per_class": each}))).text
    assert "mask mAP@.50:.95" in text
    assert "75.0 % 25.0 %" in text


def test_nothing_is_fetched_and_no_name_breaks_the_page(page: Page) -> None:
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert name not in ("src", "href") or value.startswith(("#", "data:image/")), value
            assert not name.startswith("on")
    assert len(page.all("script")) == 0, "a class is called <script>"
    assert HOSTILE in page.text


def test_links_lead_to_what_is_there(page: Page) -> None:
    there = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {attributes["href"].removeprefix("#") for attributes in page.all("a")}
    assert links <= there
    assert {"classes", "counts", "mistakes", "pictures", "kind-missed"} <= links


def test_each_kind_of_mistake_has_its_number_and_the_worst_pictures(page: Page, shown: Content) -> None:
    metrics, made = shown.metrics, shown.album
    assert metrics is not None
    assert made is not None
    for kind in KINDS:
        pictures = [one for one in made.pictures if isinstance(one, Mistake) and one.kind == kind]
        assert len(pictures) == min(metrics["mistakes"][kind], MOST_OF_A_KIND)
        scores = [one.score or 0.0 for one in pictures]
        assert scores == sorted(scores, reverse=kind != "missed")
    assert len(page.all("img")) == len(made.pictures)
    assert f"Shown: the {MOST_OF_A_KIND} worst of {max(metrics['mistakes'].values())}" in page.text


def test_mistakes_read_again_are_those_that_were_counted() -> None:
    for cross in (False, True):
        rows, metrics = scored(20, cross=cross)
        kinds = [one.kind for one in reread(rows, metrics).mistakes]
        assert {kind: kinds.count(kind) for kind in KINDS} == metrics["mistakes"]


def test_short_of_time_the_worst_picture_comes_first_and_the_rest_is_counted() -> None:
    rows, metrics = scored()

    def slow(row: Mapping[str, Any], *, at_least: int | None = None) -> Image.Image:
        time.sleep(0.06)
        return noise(row)

    made = album(rows, slow, metrics=metrics, seconds=0.05)
    [number] = made.pictures
    wrong = [row["missed"] + row["false_alarms"] for row in rows]
    assert wrong[number] == max(wrong)
    whole = usual().album
    assert whole is not None
    assert made.too_late == len(whole.pictures) - 1


@pytest.mark.slow
def test_many_pictures_fit_a_page_that_can_be_sent() -> None:
    rows, metrics = scored(60)
    made = album(rows, noise, metrics=metrics, seconds=None)
    assert len(made.pictures) <= MOST_OF_A_KIND * len(KINDS) + 6
    assert sum(map(len, made.pictures.values())) < BUDGET


def test_pictures_that_are_gone_are_counted() -> None:
    rows, metrics = scored()

    def gone(row: Mapping[str, Any], *, at_least: int | None = None) -> Image.Image:
        raise DataError(f"{row['source']}: is no longer there")

    made = album(rows, gone, metrics=metrics, seconds=None)
    assert (len(made.pictures), made.unreadable > 0) == (0, True)
    page = Page(render(content(rows=rows, metrics=metrics, album=made)))
    assert page.all("img") == []


def test_without_photos_figures_stay_and_no_file_is_named(shown: Content) -> None:
    html = render(replace(shown, album=None))
    page = Page(html)
    assert page.all("img") == []
    assert ".png" not in html
    assert "Counted" in page.text
    assert f"{(shown.metrics or {})['mistakes']['missed']} missed" in page.text


def test_a_detector_without_a_mistake_says_so() -> None:
    truths = [Truth(boxes=np.array([[9, 9, 99, 99]], np.float32), labels=np.array([0]), crowd=np.array([False]))] * 5
    founds = [Found(boxes=one.boxes, scores=np.array([0.9], np.float32), labels=one.labels) for one in truths]
    matches, at = matched(truths, founds, num_classes=1), np.array([0.5])
    metrics = detection_metrics(
        truths, founds, matches=matches, sizes=[SIZE] * 5, classes=["cell"], at=at, split="test"
    )
    rows = rows_of(
        matches, truths, founds, at, classes=["cell"], split="test", sources=["a.png"] * 5, groups=[None] * 5
    )
    told = [{**row, **SECTIONS.told({name: str(value) for name, value in row.items()})} for row in rows]
    page = Page(render(content(rows=told, metrics=metrics, album=album(told, noise, metrics=metrics, seconds=None))))
    assert len(page.all("img")) == 1, "one picture, to see that it is so"
    assert "0 missed" in page.text


def test_pictures_with_nothing_to_find_have_a_page() -> None:
    nothing = Truth(boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64), crowd=np.zeros(0, bool))
    silent = Found(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32), labels=np.zeros(0, np.int64))
    matches, at = matched([nothing] * 4, [silent] * 4, num_classes=3), np.full(3, 0.5)
    metrics = detection_metrics(
        [nothing] * 4, [silent] * 4, matches=matches, sizes=[SIZE] * 4, classes=CLASSES, at=at, split="test"
    )
    rows = rows_of(
        matches, [nothing] * 4, [silent] * 4, at, classes=CLASSES, split="test", sources=["a"] * 4, groups=[None] * 4
    )
    told = [{**row, **SECTIONS.told({name: str(value) for name, value in row.items()})} for row in rows]
    assert "0 of 3 classes" in Page(render(content(rows=told, metrics=metrics, album=None))).text


def test_curves_show_the_losses_by_name_and_both_precisions(shown: Content) -> None:
    loss, precision = curves.curves(shown.history, model_epoch=4)
    assert {line.name for line in loss.lines} == {"training", *NAMED}
    assert [line.ring for line in loss.lines] == [None] * 5, "held-out pictures chose the model"
    assert [line.name for line in precision.lines] == ["overlap of .50", "mean of .50 to .95"]
    assert [list(line.points) for line in precision.lines] == [[(2, 0.4), (4, 0.8)], [(2, 0.2), (4, 0.4)]]
    assert [line.ring for line in precision.lines] == [(4, 0.8), None]


@pytest.mark.parametrize(("epoch", "says"), [(4, "80.0 % mean average precision"), (3, "the model is epoch 3 of 4")])
def test_the_curves_are_drawn_beside_the_run(tmp_path: Path, epoch: int, says: str, heads: Callable[[], str]) -> None:
    rows = [{**row, "epoch": int(row["epoch"])} for row in history()]
    draw_history(rows, tmp_path / "results.png", choice=Choice(by="map50", epoch=epoch, done=4, of=4, looks=2, on=12))
    with Image.open(tmp_path / "results.png") as drawn:
        assert drawn.width == 1200
    assert says in heads()


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What stands above a drawing."""
    from resnetkit.report.drawing.canvas import Sheet

    said: list[str] = []
    header = Sheet.header

    def heard(sheet: Sheet, *words: str) -> None:
        said.extend(words)
        header(sheet, *words)

    monkeypatch.setattr(Sheet, "header", heard)
    return lambda: " ".join(said)


def test_precision_and_recall_have_a_ring_where_the_class_works(shown: Content) -> None:
    assert shown.metrics is not None
    charts = object_charts.per_class(shown.metrics)
    of = shown.metrics["per_class"]
    assert [chart.lines[0].name for chart in charts] == sorted(of, key=lambda name: of[name]["ap50"])
    for chart in charts:
        name = chart.lines[0].name
        assert chart.lines[0].ring == (of[name]["recall"], of[name]["precision"])


def test_counts_have_a_dot_for_each_pair_of_numbers(shown: Content) -> None:
    [chart] = object_charts.counts(shown.rows)
    pairs = [(row["objects"], row["found"]) for row in shown.rows]
    assert set(chart.lines[1].points) == set(pairs)
    assert sum(chart.lines[1].weights) == len(pairs)
    assert object_charts.counts([]) == []


def test_what_is_cut_out_lies_within_the_picture_around_its_boxes() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        width, height = generator.integers(20, 400, 2).tolist()
        (x0, x1), (y0, y1) = (sorted(generator.uniform(0, side, 2)) for side in (width, height))
        left, top, right, bottom = around([(x0, y0, x1, y1)], width, height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert left <= x0 + 1
        assert right >= x1 - 1
        assert top <= y0 + 1
        assert bottom >= y1 - 1


def test_boxes_alone_need_no_letters_and_have_the_size_that_was_asked() -> None:
    from resnetkit.data.marks import Object

    plain = Image.new("RGB", (50, 25), "grey")
    drawn = draw_boxes(plain, [Object("cell", (10, 5, 30, 20))], classes=["cell"], side=200)
    assert drawn.size == (200, 100)
    assert drawn.getpixel((41, 50)) == (230, 159, 0), "the left edge, in the colour of the class"
