import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from resnetkit.errors import DataError
from resnetkit.evaluation.metrics import classification_metrics, clopper_pearson, headline, photos


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
        (81, 263, 0.2527, 0.3676),  # Newcombe 1998, table I
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (10, 10, 0.6915, 1.0),
    ],
)
def test_clopper_and_pearson_give_the_published_intervals(successes, n, low, high):
    assert clopper_pearson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 20, 30, 50, 100, 200, 400])
def test_intervals_of_a_share_hold_it_in_95_of_100_samples_and_are_not_much_wider_than_wilsons(n):
    bounds = np.array([clopper_pearson(successes, n) for successes in range(n + 1)])
    for share in (0.01, 0.1, 1 / 3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.997):
        chance = stats.binom.pmf(np.arange(n + 1), n, share)
        assert chance[(bounds[:, 0] <= share) & (share <= bounds[:, 1])].sum() >= 0.95, share
    if n >= 15:
        wilson = [stats.binomtest(k, n).proportion_ci(method="wilson") for k in range(n + 1)]
        assert (np.diff(bounds)[:, 0] <= [1.17 * (one.high - one.low) for one in wilson]).all()


def _two_classes(split: str) -> dict:
    # 27 of 31 infected found, 5 of 122 healthy called infected: 144 of 153.
    targets = np.array([0] * 31 + [1] * 122)
    predicted = [0] * 27 + [1] * 4 + [0] * 5 + [1] * 117
    return classification_metrics(_certain(predicted, 2), targets, classes=["infected", "healthy"], split=split)


def test_the_headline_says_it_in_plain_words():
    assert headline(_two_classes("val")).splitlines() == [
        "Accuracy 94.1 % (95 % interval 89.1 to 97.3 %, 144 of 153 held-out photos).",
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
