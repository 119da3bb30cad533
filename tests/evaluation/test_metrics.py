import json

import numpy as np
import pytest
from sklearn import metrics as reference

from resnetkit.errors import DataError
from resnetkit.evaluation.metrics import classification_metrics, headline, photos, wilson


def _answers(count: int, num_classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, num_classes, count)
    scores = np.exp(rng.normal(size=(count, num_classes)) + 2 * np.eye(num_classes)[targets])
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), targets


def _certain(predicted: list[int], num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[predicted]


def _names(num_classes: int) -> list[str]:
    return [f"class {i}" for i in range(num_classes)]


@pytest.mark.parametrize("num_classes", [2, 10, 43])
def test_the_figures_are_those_of_scikit_learn(num_classes):
    probabilities, targets = _answers(700, num_classes)
    predicted, labels = probabilities.argmax(axis=1), np.arange(num_classes)
    ours = classification_metrics(probabilities, targets, classes=_names(num_classes), split="val")

    assert ours["top1"] == reference.accuracy_score(targets, predicted)
    assert ours["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(targets, predicted))
    normalised = probabilities.astype(np.float64) / probabilities.astype(np.float64).sum(axis=1, keepdims=True)
    assert ours["loss"] == pytest.approx(reference.log_loss(targets, normalised, labels=labels), rel=1e-6)
    assert ours["confusion_matrix"] == reference.confusion_matrix(targets, predicted, labels=labels).tolist()
    rows = np.array([list(ours["per_class"][name].values())[:4] for name in _names(num_classes)]).T
    np.testing.assert_allclose(
        rows, np.stack(reference.precision_recall_fscore_support(targets, predicted, labels=labels))
    )
    if num_classes > 5:
        assert ours["top5"] == pytest.approx(reference.top_k_accuracy_score(targets, probabilities, k=5, labels=labels))
    else:
        assert ours["top5"] is None


def test_the_order_of_the_images_changes_nothing():
    probabilities, targets = _answers(500, 8)
    order = np.random.default_rng(1).permutation(500)
    first = classification_metrics(probabilities, targets, classes=_names(8), split="val")
    assert first == classification_metrics(probabilities[order], targets[order], classes=_names(8), split="val")


def test_every_image_counts_once():
    probabilities, targets = _answers(101, 7)
    figures = classification_metrics(probabilities, targets, classes=_names(7), split="test")
    assert figures["count"] == 101
    assert np.sum(figures["confusion_matrix"]) == 101
    assert sum(row["support"] for row in figures["per_class"].values()) == 101


def test_what_is_undefined_is_null_and_stays_out_of_the_mean():
    # ant: 2 of 3 found; bee: has images, is never said; cat: no image, is never said; dog: no image, said once.
    figures = classification_metrics(
        _certain([0, 0, 3, 0], 4), np.array([0, 0, 0, 1]), classes=["ant", "bee", "cat", "dog"], split="val"
    )
    text = json.dumps(figures, allow_nan=False)
    assert json.loads(text) == figures
    per_class = figures["per_class"]
    assert per_class["bee"]["precision"] is None
    assert per_class["bee"]["recall"] == per_class["bee"]["f1"] == 0
    assert per_class["cat"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
        "predicted": 0,
        "found": 0,
    }
    assert per_class["dog"]["recall"] is None
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert figures["majority"] == {"label": "ant", "top1": 0.75}


def test_a_sure_and_wrong_answer_has_a_finite_loss():
    figures = classification_metrics(_certain([0], 2), np.array([1]), classes=["a", "b"], split="val")
    assert figures["loss"] == pytest.approx(87.3, abs=0.1)


def test_equal_probabilities_are_broken_alike_for_top1_and_top5():
    even = np.full((10, 10), 0.1, dtype=np.float32)
    figures = classification_metrics(even, np.arange(10), classes=_names(10), split="val")
    assert (figures["top1"], figures["top5"]) == (0.1, 0.5)
    assert np.trace(figures["confusion_matrix"]) == 1


def test_no_image_is_an_error_that_names_the_part():
    with pytest.raises(DataError, match="'test' part holds no picture"):
        classification_metrics(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), classes=["a", "b"], split="test")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (142, 153, 0.8759, 0.9594),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 2, 0.0945, 0.9055),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_inside_and_holds_the_share():
    for n in (1, 2, 7, 1000):
        for successes in range(0, n + 1, max(1, n // 7)):
            low, high = wilson(successes, n)
            assert 0 <= low <= successes / n <= high <= 1
            assert low < high


def _two_classes(split: str) -> dict:
    # 27 of 31 infected found, 5 of 122 healthy called infected: 144 of 153.
    targets = np.array([0] * 31 + [1] * 122)
    predicted = [0] * 27 + [1] * 4 + [0] * 5 + [1] * 117
    return classification_metrics(_certain(predicted, 2), targets, classes=["infected", "healthy"], split=split)


def test_the_headline_says_it_in_plain_words():
    assert headline(_two_classes("val")).splitlines() == [
        "Accuracy 94.1 % (95 % interval 89.2 to 96.9 %, 144 of 153 held-out photos).",
        'Always answering "healthy", the largest class, would be right for 79.7 %.',
        "infected: 27 of 31 found, 4 missed, 5 false alarms",
        "healthy: 117 of 122 found, 5 missed, 4 false alarms",
    ]


@pytest.mark.parametrize(
    ("temperature", "before", "after", "said"),
    [
        (1.5, 0.095, 0.08, "Its confidence is 8.0 points from its accuracy on average, 9.5 uncalibrated."),
        (1.0, 0.143, 0.143, "Its confidence is 14.3 points from its accuracy on average."),
        (1.0, 0.143, 0.05, "14.3 points from its accuracy on average, 5.0 with a temperature from such pictures"),
    ],
)
def test_the_confidence_told_is_that_of_what_predict_answers(temperature, before, after, said):
    calibration = {"temperature": temperature, "before": {"ece": before}, "after": {"ece": after}}
    assert said in headline(_two_classes("val") | {"calibration": calibration})


def test_the_headline_says_apart_what_test_time_averaging_reached():
    without = headline(_two_classes("val")).splitlines()
    figures = _two_classes("val") | {"tta": {"views": "flip", "top1": 146 / 153, "loss": 0.1}}
    lines = headline(figures).splitlines()
    assert lines.pop(1) == (
        "With test-time averaging (each picture and its mirror): 95.4 %, +1.3 points; all other figures are without it."
    )
    assert lines == without


def test_training_images_are_never_called_held_out():
    words = headline(_two_classes("train"))
    assert "on its own training images" in words
    assert "held-out" not in words
    assert "held-out" not in photos("train", 3)


def test_pictures_of_no_known_split_are_not_called_held_out():
    assert "144 of 153 photos" in headline(_two_classes("all"))


def test_a_model_no_better_than_the_largest_class_is_told_so():
    figures = classification_metrics(
        _certain([0] * 10, 2), np.array([0] * 8 + [1] * 2), classes=["a", "b"], split="val"
    )
    assert "the model is no better than that" in headline(figures)
    predicted = [0] * 8 + [1, 0]
    figures = classification_metrics(
        _certain(predicted, 2), np.array([0] * 8 + [1] * 2), classes=["a", "b"], split="val"
    )
    assert "not clearly better" in headline(figures)


def test_many_classes_show_the_five_found_least_often():
    targets = np.repeat(np.arange(12), 4)
    predicted = targets.copy()
    predicted[[0, 1, 2, 8, 9]] = 11
    figures = classification_metrics(_certain(predicted.tolist(), 12), targets, classes=_names(12), split="test")
    lines = headline(figures).splitlines()
    assert "The right name is among the first five for" in lines[2]
    assert lines[3] == "Found least often, of 12 classes:"
    assert [line.split(":")[0].strip() for line in lines[4:6]] == ["class 0", "class 2"]
    assert len(lines) == 9


def test_class_names_do_not_steer_the_terminal():
    metrics = classification_metrics(_certain([0, 1], 2), np.array([0, 1]), classes=["\x1b[31mred", "b"], split="val")
    assert "\x1b" not in headline(metrics)
    assert "?[31mred: 1 of 1 found" in headline(metrics)
