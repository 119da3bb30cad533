import unicodedata
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetkit.evaluation.metrics import classification_metrics, confused
from resnetkit.models.choice import Choice
from resnetkit.report.drawing import charts, fonts, plots
from resnetkit.report.drawing.canvas import sheet

LONG = "a class name of sixty characters that goes on and on and on!"
NAMES = ["개미", "דבורה (אדומה)", LONG, r"$\frac$", "ant\nnest", "_hidden"]


@pytest.fixture(autouse=True)
def _matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return (load_digits().images[:48] * 15.9).astype(np.uint8)[..., None]


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def _metrics(num_classes: int, *, classes: list[str] | None = None, split: str = "val") -> dict:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, num_classes, 20 * num_classes)
    scores = np.exp(rng.normal(size=(len(targets), num_classes)) + 3 * np.eye(num_classes)[targets])
    names = classes or [f"class {i} of many, with words" for i in range(num_classes)]
    return classification_metrics(scores / scores.sum(axis=1, keepdims=True), targets, classes=names, split=split)


def _has_color(pixels: np.ndarray, color: str) -> bool:
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels - rgb).max(axis=-1) <= 2).any())


@pytest.mark.parametrize("num_classes", [1, 2, 10, 43, pytest.param(100, marks=pytest.mark.slow), 150])
def test_a_confusion_matrix_of_any_number_of_classes_fits_a_page(tmp_path, num_classes):
    assert plots.confusion(_metrics(num_classes), tmp_path / "matrix.png") is None
    height, width, _ = _pixels(tmp_path / "matrix.png").shape
    assert 400 <= height <= 1600
    assert 600 <= width <= 1600


def test_nothing_of_a_confusion_matrix_is_cut_off_or_overlaps_its_edge(tmp_path):
    plots.confusion(_metrics(6, classes=[LONG, LONG + "2", LONG + "3", *"abc"]), tmp_path / "matrix.png")
    pixels = _pixels(tmp_path / "matrix.png")
    for edge in (pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]):
        assert (edge == 255).all()


def test_the_pairs_confused_most_often_come_largest_first():
    matrix = np.array([[5, 2, 0], [7, 9, 0], [0, 2, 1]])
    assert confused(matrix) == [(1, 0, 7), (0, 1, 2), (2, 1, 2)]
    assert confused(np.eye(3, dtype=int)) == []


def test_a_wrong_prediction_is_marked_and_a_right_one_is_not(tmp_path, digits):
    for name, said in (("right", "0"), ("wrong", "1")):
        path = tmp_path / f"{name}.png"
        plots.prediction_grid(digits[:1], path, predicted=[said], probabilities=[0.9], labels=["0"], title="Digits")
        assert _has_color(_pixels(path), plots.WRONG) == (name == "wrong")


def test_names_alike_after_composition_are_no_mistake(tmp_path, digits):
    composed = "개미"
    plots.prediction_grid(
        digits[:1],
        tmp_path / "grid.png",
        predicted=[composed],
        probabilities=[0.9],
        labels=[unicodedata.normalize("NFD", composed)],
        title="",
    )
    assert not _has_color(_pixels(tmp_path / "grid.png"), plots.WRONG)


def test_colours_are_true_and_small_images_crisp(tmp_path):
    image = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)
    plots.prediction_grid([image], tmp_path / "grid.png", predicted=["x"], probabilities=[0.5], title="Colours")
    pixels = _pixels(tmp_path / "grid.png")
    for color in image.reshape(-1, 3):
        # A quarter of the square each, but for its frame: nothing is blended between them.
        assert (pixels == color).all(axis=-1).sum() >= 145 * 145


@pytest.mark.parametrize("count", [1, 2, 5, pytest.param(48, marks=pytest.mark.slow)])
def test_a_grid_of_any_number_of_pictures_fits_a_page(tmp_path, digits, count):
    path = tmp_path / "grid.png"
    plots.prediction_grid(digits[:count], path, predicted=[LONG] * count, probabilities=[1.0] * count, title=LONG * 3)
    height, width, _ = _pixels(path).shape
    assert max(height, width) <= 1700


def test_any_name_and_any_shape_can_be_drawn(tmp_path, digits):
    gray, wide = digits[0], np.zeros((3, 900, 3), np.uint8)
    alpha, two = np.zeros((20, 10, 4), np.uint8), np.zeros((9, 9, 2), np.uint8)
    images = [gray, wide, alpha, two, gray, gray]
    plots.prediction_grid(
        images, tmp_path / "grid.png", predicted=NAMES, probabilities=[0.5] * 6, labels=NAMES[::-1], title="Any"
    )
    plots.augmented([[image, image] for image in images], tmp_path / "sheet.png", labels=NAMES)
    plots.confusion(_metrics(6, classes=NAMES), tmp_path / "matrix.png")
    assert len(list(tmp_path.iterdir())) == 3  # and no temporary file


def test_photos_are_drawn_as_they_are(tmp_path, shared_data):
    files = sorted((shared_data / "hymenoptera" / "val").rglob("*.jpg"))[:6]
    photos = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    labels = [file.parent.name for file in files]
    path = tmp_path / "grid.png"
    plots.prediction_grid(photos, path, predicted=labels, probabilities=[0.7] * 6, labels=labels, title="Photos")
    pixels = _pixels(path)
    # The first picture stands 24 pixels from the left, below the header; its mean colour is the photo's.
    height = round(240 * photos[0].shape[0] / max(photos[0].shape[:2]))
    tallest = max(round(240 * photo.shape[0] / max(photo.shape[:2])) for photo in photos[:3])
    drawn = pixels[84 + tallest - height + 4 : 84 + tallest - 4, 28:260]
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), photos[0].mean(axis=(0, 1)), atol=6)


def test_one_row_of_one_training_picture_is_enough(tmp_path, digits):
    assert plots.augmented([[digits[0]]], tmp_path / "sheet.png", labels=["0"]) is None
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(("choice", "place"), [(Choice(by="top1", epoch=2, done=3, of=3, looks=3), 1), (None, 2)])
def test_the_epoch_that_is_the_model_is_marked_in_both_curves(tmp_path, choice, place):
    rows = [
        {"epoch": i, "train_loss": 1 / i, "train_top1": 0.5, "val_loss": 2 / i, "val_top1": [0.1, 0.9, 0.4][i - 1]}
        for i in (1, 2, 3)
    ]
    charts.history(rows, tmp_path / "history.png", choice=choice)
    below_the_legend = _pixels(tmp_path / "history.png")[156:]
    ring = (np.abs(below_the_legend - [0xD5, 0x5E, 0x00]).max(axis=-1) <= 2).nonzero()[1]
    assert {bool(x < 600) for x in ring} == {True, False}
    assert np.ptp(ring[ring < 600]) < 25
    assert abs(np.median(ring[ring < 600]) - (84 + 480 * place / 2)) < 3


def test_a_fitted_head_is_not_counted_as_an_epoch():
    head = Choice(by="top1", epoch=0, done=1, of=1, looks=2)
    rows = {0: {"val_top1": 0.9}, 1: {"val_top1": 0.8}}
    assert charts._history_words(rows, 0, head)[0] == (
        "1 epoch; the model is the fitted head, best by accuracy, 90.0 % of the held-out photos named right"
    )
    assert "the model is the last epoch, 80.0 %" in charts._history_words(rows, 1, None)[0]


def test_results_read_as_text_without_validation_are_drawn(tmp_path):
    rows = [{"epoch": "1", "train_loss": "nan", "train_top1": "0.5", "val_loss": "", "val_top1": None}]
    charts.history(rows, tmp_path / "history.png")
    assert not _has_color(_pixels(tmp_path / "history.png"), plots.WRONG)
    charts.history([{"epoch": "0", "val_loss": ""}], tmp_path / "history.png")  # nothing to draw is no reason to stop


def test_a_loss_that_went_astray_stays_at_the_edge_of_its_axes(tmp_path):
    rows = [{"epoch": i, "train_loss": "", "val_loss": 50 if i == 2 else 1} for i in range(4)]
    charts.history(rows, tmp_path / "history.png")
    inside = slice(120, 520)  # right of the legend's line
    assert _has_color(_pixels(tmp_path / "history.png")[150:, inside], charts.RIGHT)
    assert not _has_color(_pixels(tmp_path / "history.png")[:150, inside], charts.RIGHT)


def test_confidence_is_drawn_of_a_network_with_and_without_its_temperature(tmp_path):
    bins = [{"count": 9, "confidence": 0.8, "accuracy": 0.7}, {"count": 0, "confidence": None, "accuracy": None}]
    figures = {when: {"ece": 0.1, "bins": bins} for when in ("before", "after")}
    points = [{"coverage": c / 10, "accuracy": 1 - c / 50} for c in range(1, 11)]
    for temperature in (1.0, 1.7):
        metrics = {"split": "val", "count": 9, "selective": points}
        metrics["calibration"] = figures | {"temperature": temperature, "fitted_on": "val"}
        charts.reliability(metrics, tmp_path / "reliability.png")
        left = _pixels(tmp_path / "reliability.png")[156:, :600]
        assert _has_color(left, charts.RIGHT)
        # Where both are drawn, the calibrated one lies on top.
        x, y = round(84 + 480 * 0.8), round(320 * 0.3)
        assert (left[y - 3 : y + 3, x - 3 : x + 3] == [0x00, 0x72, 0xB2]).all()


def test_the_same_picture_has_the_same_bytes(tmp_path, digits):
    for name in ("a", "b"):
        plots.prediction_grid(digits[:3], tmp_path / name, predicted=["x"] * 3, probabilities=[0.5] * 3, title="t")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as image:
        assert "Software" not in image.info  # the version of matplotlib


def test_names_are_drawn_composed_and_on_one_line():
    assert fonts.drawable(unicodedata.normalize("NFD", "개미\n벌")) == "개미 벌"
    assert fonts.drawable("a\u202eb\x07\udcff") == "ab\ufffd\ufffd"


def test_korean_names_find_a_font_of_the_extra():
    pytest.importorskip("mplfonts")
    choice = fonts.choose(["개미", "דבורה"])
    assert choice.warning is None
    assert choice.families[0] == fonts.DEFAULT_FAMILY
    assert len(choice.families) == 2


def test_characters_without_a_font_give_a_line_that_says_what_to_do(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", list)
    monkeypatch.setattr(fonts, "_of_the_extra", list)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = plots.prediction_grid(
            digits[:1], tmp_path / "grid.png", predicted=["개미"], probabilities=[0.9], title="Korean"
        )
    assert line is not None
    assert "Korean" in line
    assert 'pip install "resnetkit[fonts]"' in line
    assert (tmp_path / "grid.png").exists()
    # The extra has no Devanagari: it is not what is named.
    assert "resnetkit[fonts]" not in (fonts.choose(["नमस्ते"]).warning or "")


def test_hebrew_reads_from_right_to_left(tmp_path):
    def ink(words: str, name: str) -> np.ndarray:
        with sheet(tmp_path / name, texts=[words]) as drawn:
            drawn.resize(200, 60)
            drawn.text(20, 30, words, size=24)
        return _pixels(tmp_path / name)

    # The last letter stands leftmost, alone or inside a line that runs from left to right.
    last = ink("ש", "last.png")
    columns = (last < 255).any(axis=(0, 2)).nonzero()[0]
    assert (ink("אבש", "word.png")[:, : columns[-1]] == last[:, : columns[-1]]).all()
    assert (ink(f"{fonts.isolated('אבש')} 81 %", "line.png")[:, : columns[-1]] == last[:, : columns[-1]]).all()


def test_a_shortened_name_fits_and_keeps_both_ends(tmp_path):
    with sheet(tmp_path / "any.png", texts=[]) as drawn:
        drawn.resize(100, 100)
        for name in (LONG, "가" * 60, "e\u0301" * 60):
            short = drawn.fit(name, 120, size=15)
            assert drawn.width_of(short, size=15) <= 120
            assert short[0] == name[0]
            assert short[-1] == name[-1]
            assert "…" in short
        assert drawn.fit("ant", 120, size=15) == "ant"


def test_a_picture_that_fails_leaves_the_older_one(tmp_path, digits):
    path = tmp_path / "grid.png"
    path.write_bytes(b"older")
    with pytest.raises(AssertionError):
        plots.prediction_grid([digits[0] / 2.0], path, predicted=["x"], probabilities=[0.5], title="not uint8")
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]
