"""How good a classifier's answers are: the figures of `metrics.json`, and the same in plain words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from resnetkit.errors import DataError
from resnetkit.evaluation.by_column_words import by_lines
from resnetkit.evaluation.cost_words import cost_lines
from resnetkit.evaluation.screening_words import screening_lines
from resnetkit.evaluation.told_of_cases import case_lines, is_by_case
from resnetkit.models.choice import Choice, choice_in
from resnetkit.words import one_line

# Probability 0 for the true class is an infinite loss, which JSON cannot hold: the loss of one image ends at 87.3.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
_ALL_CLASSES_UP_TO = 10
_WORST_CLASSES = 5
_VIEWS = {
    "flip": "each picture and its mirror",
    "flip_shift": "each picture, shifted by one pixel too, and their mirrors",
}


def classification_metrics(
    probabilities: np.ndarray, targets: np.ndarray, *, classes: Sequence[str], split: str,
    told: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of `metrics.json` from `probabilities` ([N, K] float) and `targets` ([N] int, class indices).

    `told` ([N]): the class that is told of each, the most probable one where it is None. Every image counts once;
    fractions lie in [0, 1]; `loss` is the mean cross-entropy in nats. What is undefined is None, never NaN: `top5` with
    five classes or fewer, the precision of a class that was never predicted, the recall of a class without images, the
    F1 of a class with neither. Classes without images stay out of `balanced_accuracy`, the mean recall. Rows of
    `confusion_matrix` are true classes, columns predicted ones. `majority` is what always answering the largest class
    would reach. Raises DataError when there is no image.
    """
    count, num_classes = probabilities.shape
    assert targets.shape == (count,), (targets.shape, probabilities.shape)
    assert num_classes == len(classes), (num_classes, len(classes))
    assert np.isfinite(probabilities).all(), "probabilities must be finite"
    if count == 0:
        raise DataError(f"the {split!r} part holds no picture to score; choose another with --split")
    assert 0 <= targets.min() <= targets.max() < num_classes, (targets.min(), targets.max())
    rank = ranks(probabilities, targets)
    told = probabilities.argmax(axis=1) if told is None else told
    matrix = _confusion_matrix(told, targets, num_classes)
    support = matrix.sum(axis=1)
    present = support > 0
    correct = int((told == targets).sum())
    largest = int(support.argmax())
    return {
        "split": split,
        "count": count,
        "top1": correct / count,
        "top1_interval": list(clopper_pearson(correct, count)),
        "top5": float((rank < 5).mean()) if num_classes > 5 else None,
        "balanced_accuracy": float((np.diag(matrix)[present] / support[present]).mean()),
        "loss": _cross_entropy(probabilities, targets),
        "majority": {"label": classes[largest], "top1": int(support[largest]) / count},
        "classes": list(classes),
        "per_class": _per_class(matrix, classes),
        "confusion_matrix": matrix.tolist(),
    }


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval (low, high) of a proportion that holds it at least 95 times of 100, whatever n and it.

    Wilson's, which does so on average only, holds 99 % in 86 of 100 samples of 15 and 84 of 17; this one is at most a
    sixth wider from n = 15 on (Clopper and Pearson 1934). Successes of pictures that count in part need not be whole.

    >>> tuple(round(bound, 4) for bound in clopper_pearson(142, 153))
    (0.875, 0.9636)
    """
    from scipy.special import betaincinv

    assert 0 <= successes <= n > 0, (successes, n)
    missed = n - successes
    low = float(betaincinv(successes, missed + 1, 0.025)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, missed, 0.975)) if missed > 0 else 1.0
    return low, high


def headline(metrics: Mapping[str, Any]) -> str:
    """Return `metrics` (as `classification_metrics` makes them) in plain words, one sentence per line."""
    of_pictures, of_cases = _accuracy_line(metrics), case_lines(metrics)
    lines = [
        *([*of_cases, of_pictures] if is_by_case(metrics) else [of_pictures, *of_cases]),
        *fold_lines(metrics),
        *_choice_lines(metrics),
        *_averaged_lines(metrics),
        _majority_line(metrics),
        *cost_lines(metrics),
        *screening_lines(metrics),
    ]
    if metrics["top5"] is not None:
        lines.append(f"The right name is among the first five for {_percent(metrics['top5'])} %.")
    lines += _class_lines(metrics["per_class"]) + _doubt_lines(metrics) + list(by_lines(metrics))
    return "\n".join(one_line(line) for line in lines)


def photos(split: str, count: int) -> str:
    """Return what the `count` scored images are to the reader: only those kept out of training are called held-out.

    >>> photos("test", 153), photos("all", 1), photos("train", 20)
    ('153 held-out photos', '1 photo', '20 of its own training images')
    """
    if split == "train":
        return f"{count} of its own training images"
    held_out = "held-out " if split in ("val", "test", "folds") else ""
    return f"{count} {held_out}photo{'' if count == 1 else 's'}"


def num_correct(metrics: Mapping[str, Any]) -> int:
    """Return how many images of `metrics` were named right, whatever a corrected accuracy says."""
    return round(counted(metrics) * metrics["count"])


def confused(matrix: ArrayLike) -> list[tuple[int, int, int]]:
    """Return (true, predicted, count) of the counts off the diagonal of a confusion matrix, largest first."""
    errors = np.array(matrix)
    np.fill_diagonal(errors, 0)
    true, predicted = errors.nonzero()
    cells = zip(true.tolist(), predicted.tolist(), errors[true, predicted].tolist(), strict=True)
    return sorted(cells, key=lambda cell: -cell[2])


def counted(metrics: Mapping[str, Any]) -> float:
    """Return the share of the scored images that were named right: `top1` but where that is corrected."""
    return float(metrics.get("top1_counted", metrics["top1"]))


def choice_of(metrics: Mapping[str, Any]) -> Choice | None:
    """Return how the scored model was chosen, None where that is not known."""
    return choice_in(metrics.get("chosen") or {})


def choice_in_short(metrics: Mapping[str, Any], *, figure: str) -> list[str]:
    """Say which epoch the model is and what chose it, and whether that makes all figures, as `figure`, too good."""
    chosen = choice_of(metrics)
    if chosen is None:
        return []
    also = " These pictures chose it: the figures are too good." if is_optimistic(metrics, figure) else ""
    return [f"The model is {chosen.words}.{also}"]


def is_corrected(metrics: Mapping[str, Any]) -> bool:
    """Tell whether the accuracy is corrected for the choice of the epoch on the scored images."""
    return "top1_counted" in metrics


def fitted_here(metrics: Mapping[str, Any]) -> str:
    """Return what to say of answers whose cut-offs were fitted on the pictures that are scored; empty for others."""
    too_good = (metrics.get("thresholds") or {}).get("optimistic")
    return " The scores they are said from were fitted on these very pictures: that is too good." if too_good else ""


def is_optimistic(metrics: Mapping[str, Any], figure: str) -> bool:
    """Tell whether a figure is too good: the scored images chose the epoch, and it is not corrected for that."""
    return figure in metrics.get("optimistic", ())


def ranks(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the place of each true class, 0 for the first; among equals the lower index leads, as in argmax."""
    of_target = np.take_along_axis(probabilities, targets[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1]) < targets[:, None]
    return ((probabilities > of_target) | ((probabilities == of_target) & earlier)).sum(axis=1)


def _confusion_matrix(predicted: np.ndarray, targets: np.ndarray, num_classes: int) -> np.ndarray:
    cells = np.bincount(targets * num_classes + predicted, minlength=num_classes * num_classes)
    return cells.reshape(num_classes, num_classes)


def _cross_entropy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    of_target = np.take_along_axis(probabilities, targets[:, None], axis=1).astype(np.float64)
    # fsum: the figure is the same in whatever order the images come.
    return math.fsum(-np.log(np.maximum(of_target, _SMALLEST_PROBABILITY)).ravel()) / len(targets)


def _per_class(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    found, support, predicted = np.diag(matrix).tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    return {
        name: {
            "precision": _share(found[i], predicted[i]),
            "recall": _share(found[i], support[i]),
            "f1": _share(2 * found[i], support[i] + predicted[i]),
            "support": support[i],
            "predicted": predicted[i],
            "found": found[i],
        }
        for i, name in enumerate(classes)
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _accuracy_line(metrics: Mapping[str, Any]) -> str:
    low, high = metrics["top1_interval"]
    interval = f"95 % interval {_percent(low)} to {_percent(high)} %" + (" by group" if metrics.get("grouped") else "")
    of_photos = photos(metrics["split"], metrics["count"])
    if is_corrected(metrics):
        chosen = choice_of(metrics)
        among = "" if chosen is None else f" among {chosen.looks} epochs"
        return (
            f"Accuracy {_percent(metrics['top1'])} % of new photos ({interval}; corrected for the choice{among} on "
            f"these {metrics['count']} photos, of which the chosen one has {_percent(counted(metrics))} % right)."
        )
    if metrics["split"] == "train":
        share = f"{num_correct(metrics)} of {metrics['count']}"
        return (
            f"Accuracy {_percent(metrics['top1'])} % on its own training images ({interval}, {share}), "
            "which says nothing about new photos."
        )
    return f"Accuracy {_percent(metrics['top1'])} % ({interval}, {num_correct(metrics)} of {of_photos})."


def fold_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the folds of a cross-validation reached, and which network these figures are of; nothing without."""
    folds = metrics.get("folds")
    if not folds:
        return []
    if "top1" not in folds:
        among = f" (mean {_percent(folds['mean'])} % a fold)" if folds["mean"] is not None else ""
        what = "each photo" if metrics["split"] == "folds" else f"each of {folds['pictures']:,} other photos"
        return [f"By {folds['count']} folds: {what} was answered by a network that did not train on it{among}."]
    shares = [one["top1"] for one in folds["each"]]
    spread = f"mean {_percent(folds['mean'])}, sd {_percent(folds['sd'])}"
    among = f"{_percent(min(shares))} to {_percent(max(shares))} % a fold, {spread}"
    if metrics["split"] == "folds":
        return [
            f"By {folds['count']} folds: each photo was named by a network that did not train on it ({among}).",
            "The model that ships saw all of them.",
        ]
    low, high = (_percent(bound) for bound in folds["top1_interval"])
    return [
        f"By {folds['count']} folds of the {folds['pictures']:,} other photos: {_percent(folds['top1'])} % "
        f"(95 % interval {low} to {high} %; {among}); the model that ships saw all of these."
    ]


def _choice_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say which epoch the model is and what chose it, and which figures that makes too good."""
    chosen = choice_of(metrics)
    lines = [] if chosen is None else [f"The model is {chosen.words}."]
    if is_optimistic(metrics, "top1"):
        lines.append("These photos chose it, so all figures here are too good; others, or a test part, tell.")
    elif metrics.get("optimistic"):
        lines.append("These photos chose it: all figures here but the accuracy are counted on them, and too good.")
    return lines


def _averaged_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what test-time averaging reached, where it was asked for; every other line is without it."""
    if "tta" not in metrics:
        return []
    figures = metrics["tta"]
    gain = 100 * (figures["top1"] - counted(metrics))
    return [
        f"With test-time averaging ({_VIEWS[figures['views']]}): {_percent(figures['top1'])} %, {gain:+.1f} points; "
        "all other figures are without it."
    ]


def _majority_line(metrics: Mapping[str, Any]) -> str:
    majority = metrics["majority"]
    line = (
        f'Always answering "{majority["label"]}", the largest class, would be right for {_percent(majority["top1"])} %'
    )
    if metrics["top1"] <= majority["top1"]:
        return f"{line}: the model is no better than that."
    if metrics["top1_interval"][0] <= majority["top1"]:
        return f"{line}, which lies inside the interval: the model is not clearly better than that."
    return f"{line}."


def _doubt_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say how far confidence can be believed, and what "not sure" would do, where that is known."""
    lines = []
    if "calibration" in metrics:
        lines.append(_confidence_line(metrics["calibration"]))
    said = metrics.get("rejects", {}).get("0.05")
    if said and said["accuracy"] is not None:
        lines.append(
            f"With --reject 0.05 it answers {_percent(said['answered'])} % of them, "
            f"{_percent(said['accuracy'])} % of those right."
        )
    if "outliers" in metrics:
        outliers = metrics["outliers"]
        lines.append(
            f"Of {outliers['count']:,} outliers {_percent(outliers['false_accept']['0.05'])} % get an answer all the "
            "same, with --reject 0.05" + (f" ({outliers['unreadable']} unreadable)." if outliers["unreadable"] else ".")
        )
    if metrics.get("test_looks", 1) > 1:
        lines.append(
            f"Figures of test pictures were computed {metrics['test_looks']} times for this run: to choose by them "
            "makes them too good."
        )
    return lines


def _confidence_line(calibration: Mapping[str, Any]) -> str:
    before, after = (100 * calibration[when]["ece"] for when in ("before", "after"))
    if is_tempered(calibration):
        return f"Its confidence is {after:.1f} points from its accuracy on average, {before:.1f} uncalibrated."
    would = "" if before == after else f", {after:.1f} with a temperature from such pictures (--calibrated)"
    return f"Its confidence is {before:.1f} points from its accuracy on average{would}."


def is_tempered(calibration: Mapping[str, Any]) -> bool:
    """Tell whether the model has a temperature, so that what it says is `after`, not `before`."""
    return bool(calibration["temperature"] != 1)


def _class_lines(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if len(per_class) <= _ALL_CLASSES_UP_TO:
        met = {name: figures for name, figures in per_class.items() if figures["support"] or figures["predicted"]}
        return [_class_line(name, figures) for name, figures in met.items()]
    with_images = [(name, figures) for name, figures in per_class.items() if figures["support"]]
    worst = sorted(with_images, key=lambda pair: (pair[1]["recall"], -pair[1]["support"]))[:_WORST_CLASSES]
    lines = [f"Found least often, of {len(with_images)} classes:"]
    return lines + ["  " + _class_line(name, figures) for name, figures in worst]


def _class_line(name: str, figures: Mapping[str, Any]) -> str:
    false_alarms = figures["predicted"] - figures["found"]
    alarms = f"{false_alarms} false alarm{'' if false_alarms == 1 else 's'}"
    if not figures["support"]:
        return f"{name}: none to find, {alarms}"
    found, support = figures["found"], figures["support"]
    return f"{name}: {found} of {support} found, {support - found} missed, {alarms}"
