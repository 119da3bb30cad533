"""Labels that come together are drawn twice: as they are, and as the model answers."""

from pathlib import Path

import numpy as np
from PIL import Image

from resnetkit.report.drawing import together
from tests.evaluation.test_labels import metrics_of, simulated


def drawn(metrics: dict, path: Path) -> np.ndarray:
    assert together.diagram(metrics, path) is None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_answers_that_differ_change_one_of_the_two_matrices(tmp_path: Path) -> None:
    probabilities, targets = simulated(100)
    same = drawn(metrics_of(targets, targets), tmp_path / "same.png")
    other = drawn(metrics_of(probabilities, targets), tmp_path / "other.png")
    assert same.shape == other.shape
    changed = np.flatnonzero((same != other).any(axis=(0, 2)))
    side = 3 * 64  # three labels, a cell each
    assert changed.min() > side, "how the labels are is drawn at the left"
    assert side / 2 < changed.max() - changed.min() < side
