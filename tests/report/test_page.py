"""The page says what the run's files say, needs nothing but itself, and no name can break it."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnetkit.errors import DataError
from resnetkit.evaluation.metrics import classification_metrics
from resnetkit.models.choice import Choice
from resnetkit.report.pages.page import Content, HeatOnError, render
from resnetkit.report.pages.tables import with_a_place
from resnetkit.report.pages.thumbnails import ERROR_SIDE, RIGHT_SIDE, Album, album, confident_errors
from resnetkit.words import NO_MEDICAL_DEVICE

HOSTILE = "<script>alert(1)</script>'\"&{{7*7}}"
CLASSES = ("ant", HOSTILE, "نحلة", "a\u202eb\nc")


def scored(count: int, classes: tuple[str, ...] = CLASSES, *, right: float = 0.5) -> dict[str, Any]:
    """Rows and metrics of `count` answers."""
    generator = np.random.default_rng(0)
    num = len(classes)
    targets = generator.integers(0, num, count)
    said = np.where(generator.random(count) < right, targets, generator.integers(0, num, count))
    probabilities = np.full((count, num), 0.1 / num)
    probabilities[np.arange(count), said] += 0.9
    rows = [
        {
            "source": f"photos/{HOSTILE}/{i}.png", "label": classes[target], "predicted": classes[answer],
            "probability": float(generator.uniform(0.3, 1)), "correct": bool(target == answer), "split": "test",
        }
        for i, (target, answer) in enumerate(zip(targets, said, strict=True))
    ]  # fmt: skip
    metrics = classification_metrics(probabilities, targets, classes=classes, split="test")
    return {"rows": rows, "metrics": json.loads(json.dumps(metrics))}


@cache
def noisy(seed: int, side: int = 150) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def noise(row: Mapping[str, Any]) -> Image.Image:
    """A picture that packs as badly as a photo of much detail does: 64 pixels become about 1.5 kB."""
    return noisy(len(row["source"]) % 40)


CURVE = [[0.0, 0.0], [0.1, 0.9], [1.0, 1.0]]
BINS = [
    {"low": 0.0, "high": 0.5, "count": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 1.0, "count": 9, "confidence": 0.8, "accuracy": 0.7},
]
MORE: dict[str, Any] = {
    "intervals": {"balanced_accuracy": [0.7, 0.9], "loss": [0.2, 0.4]},
    "roc_auc": {"macro": 0.9, "per_class": {"ant": 0.99, HOSTILE: 0.8, CLASSES[2]: None}},
    "average_precision": {"macro": 0.9, "per_class": {"ant": 0.99, HOSTILE: 0.8}},
    "curves": {name: {"roc": CURVE, "precision_recall": CURVE} for name in CLASSES[:3]},
    "calibration": {
        "temperature": 1.7, "fitted_on": "val", "before": {"ece": 0.05, "bins": BINS},
        "after": {"ece": 0.01, "bins": BINS},
    },
    "selective": [{"coverage": c / 10, "accuracy": 1 - c / 50, "threshold": 1 - c / 10} for c in range(1, 11)],
    "rejects": {"0.05": {"threshold": 0.6, "false_reject": 0.047, "answered": 0.93, "accuracy": 0.98}},
    "sets": {"0.9": {"coverage": 0.912, "mean_size": 1.3}},
    "test_looks": 3,
}  # fmt: skip


def content(**changes: Any) -> Content:
    found = scored(60)
    shown = album(found["rows"], noise)
    row = {"label": "ant", "predicted": HOSTILE, "correct": False, "source": f"x/{HOSTILE}", "probability": 0.9}
    heat_map = {
        "uri": "data:image/webp;base64,AA==", "label": HOSTILE, "probability": 0.9, "verdict": "better than random",
        "deletion": 0.1, "random": 0.5,
    }  # fmt: skip
    names = ("training", "machine", "size", "speed", "versions")
    history = [
        {"epoch": str(e), "train_loss": f"{1 / e}", "train_top1": f"{e / 10}", "val_loss": "", "val_top1": ""}
        for e in range(1, 4)
    ]  # fmt: skip
    usual = Content(
        name=HOSTILE, version="1", metrics=found["metrics"], rows=found["rows"], history=history,
        choice=Choice(by="last", epoch=3, done=3, of=3),
        counts={name: {"train": 5, "test": 2} for name in CLASSES}, findings=[f"odd: {HOSTILE}"],
        facts={name: [("network", HOSTILE)] for name in names}, commands=[f"resnetkit train {HOSTILE}"], album=shown,
        pictures={"train": 10, "test": 2},  # several names each
        heat=[HeatOnError(row=row, picture="data:image/webp;base64,AA==", maps=(heat_map, heat_map))],
    )  # fmt: skip
    return replace(usual, **changes)


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether all that was opened is closed."""

    EMPTY = ("meta", "img", "br", "line", "polyline", "circle")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html() -> str:
    full = scored(60)["metrics"] | MORE
    return render(content(metrics=full))


def test_nothing_is_fetched_from_anywhere(html: str) -> None:
    page = Page(html)
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert name != "srcset"
            assert name not in ("src", "href", "data", "action") or value.startswith(("#", "data:image/")), value
            assert not name.startswith("on"), "no script in attributes"
    assert not re.search(r"https?://|url\(|@import|@font-face|//[a-z]+\.[a-z]", html)
    assert {"script", "style"} <= {tag for tag, _ in page.elements}
    assert "default-src 'none'" in html
    assert f"{NO_MEDICAL_DEVICE}</footer>" in html


def test_names_from_outside_stay_text(html: str) -> None:
    page = Page(html)
    assert len(page.all("script")) == 1
    assert "alert(1)" in page.text
    assert "{{7*7}}" in page.text
    assert "49" not in [word.strip() for word in page.words]
    assert "\u202e" not in html
    assert render(content(name="bad \udcff byte")).encode()


def test_links_lead_somewhere_and_ids_are_unique(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in page.all("a")]
    assert len(links) > 15
    assert {link[1:] for link in links} <= set(ids)


def test_it_can_be_read_without_eyes(html: str) -> None:
    page = Page(html)
    assert all(attributes["alt"].strip() for attributes in page.all("img"))
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert all(attributes.get("aria-label") for attributes in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"
    assert "viewport" in [attributes.get("name") for attributes in page.all("meta")]


def test_every_figure_of_the_files_is_on_the_page(html: str) -> None:
    text, found = Page(html).text, scored(60)
    metrics = found["metrics"]
    right = round(60 * metrics["top1"])
    low, high = metrics["top1_interval"]
    assert f"{100 * metrics['top1']:.1f} % named right: {right} of 60 held-out photos" in text
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f} %" in text
    assert "70.0 to 90.0 %" in text
    assert "computed 3 times" in text
    assert "5.0 % 4.7 % 60.0 % 93.0 % 98.0 %" in text
    assert "90.0 % 91.2 % 1.30" in text
    assert "divides its logits is 1.70, fitted on the validation part" in text
    labels = [attributes["aria-label"] for attributes in Page(html).all("svg")]
    assert [label.split(":")[0] for label in labels] == [
        "Loss over the epochs", "Accuracy, % over the epochs", "Accuracy against probability",
        "Accuracy against coverage", "Each class against the rest (ROC)", "Precision and recall",
    ]  # fmt: skip
    assert (
        "as trained an expected error of 5.0 points, with its temperature an expected error of 1.0 points" in labels[2]
    )


def test_the_ring_marks_the_model_which_nothing_may_have_chosen_as_best() -> None:
    columns = ("train_loss", "train_top1", "val_loss", "val_top1")
    page = render(content(history=[{"epoch": f"{e}", **dict.fromkeys(columns, f"{e / 10}")} for e in range(1, 4)]))
    assert "no picture chose it" in page
    assert page.count('<span class="ringed">the model</span>') == 2, "loss and accuracy"


def test_cells_of_the_history_that_hold_no_number_are_left_out_of_its_curves() -> None:
    rows = [{"epoch": f"{e}", "train_loss": loss, "train_top1": ""} for e, loss in enumerate(("1", "nan", "", "3"))]
    labels = [attributes["aria-label"] for attributes in Page(render(content(history=rows))).all("svg")]
    assert labels == ["Loss over the epochs: training from 1 to 3"]
    alone = render(content(history=rows[:1]))
    assert "How the training went" not in alone, "one epoch has no curve"


def test_what_older_runs_lack_is_left_out() -> None:
    page = Page(render(content(findings=None, heat=(), heat_note="No heat maps here: reason", choice=None)))
    assert "resnetkit check DATA" in page.text
    assert "No heat maps here: reason" in page.text
    assert "Can its confidence be trusted?" not in page.text
    assert "were computed" not in page.text
    nothing = Page(render(content(metrics=None, rows=[], history=[], album=None, heat=())))
    assert "Nothing was held out" in nothing.text
    assert not nothing.all("img")


def test_a_model_that_only_says_the_largest_class_is_called_that() -> None:
    metrics = scored(60)["metrics"]
    metrics["majority"] = {"label": "ant", "top1": metrics["top1"]}
    assert "not clearly better than always giving that answer" in Page(render(content(metrics=metrics))).text


def test_a_cell_holds_the_pictures_of_its_row_and_column(html: str) -> None:
    found = scored(60)
    matrix = np.array(found["metrics"]["confusion_matrix"])
    i, j = np.unravel_index((matrix - 100 * np.eye(4)).argmax(), matrix.shape)
    wrong = [row for row in found["rows"] if (row["label"], row["predicted"]) == (CLASSES[i], CLASSES[j])]
    assert len(wrong) == matrix[i, j] > 1
    start = html.index(f'id="cell-{i}-{j}"')
    gallery = html[start : html.index("</details>", start)]
    assert gallery.count("<img") == len(wrong)
    for row in wrong:
        assert f">{row['source'].rpartition('/')[2]}<" in gallery
    cells = [attributes for attributes in Page(html).all("a") if attributes["href"] == f"#cell-{i}-{j}"]
    assert cells[0]["aria-label"].endswith(f": {len(wrong)} pictures")


def test_many_classes_get_the_pairs_confused_most_often() -> None:
    classes = tuple(f"class {i}" for i in range(40))
    found = scored(400, classes)
    places = with_a_place(found["metrics"], found["rows"])
    shown = album(found["rows"], noise, among=places)
    page = Page(render(content(metrics=found["metrics"], rows=found["rows"], album=shown)))
    assert set(shown.pictures) == places
    assert len(places) < 200
    names = {f"{found['rows'][number]['source'].rpartition('/')[2]}: " for number in places}
    drawn = {attributes["alt"] for attributes in page.all("img")}
    assert all(any(alt.startswith(name) for alt in drawn) for name in names), "none was made for nothing"
    assert with_a_place(scored(60)["metrics"], scored(60)["rows"]) == set(range(60))
    assert "The classes that are confused most often, of 40" in page.text
    assert "matrix few" not in [attributes.get("class") for attributes in page.all("table")]


def test_without_photos_there_are_none() -> None:
    page = Page(render(content(album=None, heat=(), notes=["left out"])))
    assert not page.all("img")
    assert not page.all("dialog")
    assert "0.png" not in page.text
    assert "What was taken for what" in page.text


def test_errors_come_first_and_the_rest_is_counted() -> None:
    rows = scored(300)["rows"]
    few = album(rows, noise, budget=150_000)
    wrong = confident_errors(rows)
    assert 0 < len(few.pictures) < 300
    assert list(few.pictures)[: len(wrong)] == wrong[: len(few.pictures)]
    assert few.left_out == few.too_many == 300 - len(few.pictures)
    assert sum(map(len, few.pictures.values())) < 150_000
    none = album(rows, noise, seconds=0.0)
    assert len(none.pictures) + none.too_late == 300
    assert none.too_late > 290


def test_pictures_that_are_gone_are_counted_with_the_first_reason() -> None:
    def gone(row: Mapping[str, Any]) -> Image.Image:
        if row["correct"]:
            raise DataError(f"{row['source']}: is no longer there")
        return noise(row)

    rows = scored(60)["rows"]
    found = album(rows, gone)
    assert set(found.pictures) == set(confident_errors(rows))
    assert found.unreadable == sum(row["correct"] for row in rows)
    assert found.problem is not None
    assert found.problem.endswith("is no longer there")


def test_thumbnails_are_small_and_errors_larger() -> None:
    import base64

    rows = scored(60)["rows"]
    found = album(rows, noise)
    for number, uri in found.pictures.items():
        image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert max(image.size) == (RIGHT_SIDE if rows[number]["correct"] else ERROR_SIDE)


@pytest.mark.slow
def test_two_thousand_validation_images_stay_under_five_megabytes() -> None:
    found = scored(2000, right=0.85)
    shown = album(found["rows"], noise)
    page = render(content(metrics=found["metrics"], rows=found["rows"], album=shown))
    assert len(page.encode()) < 5_000_000
    assert isinstance(shown, Album)
    assert len(shown.pictures) > 1500


@pytest.mark.parametrize(
    ("split", "fitted_on", "words"),
    [("test", "crossfit", "No pictures were held out to fit a temperature"), ("val", "crossfit", "helps nothing")],
)
def test_without_a_temperature_the_page_shows_the_networks_own_confidence(
    split: str, fitted_on: str, words: str
) -> None:
    metrics = scored(60)["metrics"] | MORE | {"split": split}
    metrics["calibration"] = MORE["calibration"] | {"temperature": 1.0, "fitted_on": fitted_on}
    page = Page(render(content(metrics=metrics)))
    assert words in page.text
    assert "5.0 points calibration error" in page.text
    said = [attributes["aria-label"] for attributes in page.all("svg")]
    assert "Accuracy against probability: this model an expected error of 5.0 points" in said
