"""Labels that may be wrong: what a linear head on frozen features says of pictures that it was not fitted to."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np

from resnetkit.checking.features import Described
from resnetkit.checking.result import Finding
from resnetkit.data.dataset import Item
from resnetkit.errors import missing_extra
from resnetkit.training.steps.linear import FOLDS


def suspects(described: Described) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the pictures whose label is probably wrong, the surest first, and what is to be said about the search.

    Confident learning (https://arxiv.org/abs/1911.00068, by cleanlab) on out-of-fold probabilities.
    """
    found = [
        _finding(
            described.items[number], described.targets[number], described.probabilities[number], described.names
        )
        for number in _issues(described.targets, described.probabilities)
    ]  # fmt: skip
    return found, tuple(_said(described.network, described.right, described.learnt))


def left_out(few: int) -> tuple[str, ...]:
    """Return what is said of pictures whose classes are too small for the search."""
    small = f"whose classes have fewer than {FOLDS} groups or single images"
    return (f"not looked for: wrong labels of {few:,} images, {small}",) if few else ()


def _said(name: str, right: np.ndarray, learnt: np.ndarray) -> Iterator[str]:
    """Say how far the search can be believed: `right` and `learnt`, [N] bool, what is named as labelled and known."""
    begin = f"wrong labels: looked for with a linear head on {name}"
    if not learnt.all():
        new = " and that network was not trained on" if learnt.any() else ""
        yield (
            f"{begin}; it names {right[~learnt].mean():.1%} of the pictures it was not fitted to{new} as they are "
            "labelled, the others are wrong, hard, or beyond that network"
        )
    else:
        yield f"{begin}, which was trained on these very images: how often it is right says nothing"
    if learnt.any():
        yield f"{name} was trained on {learnt.sum():,} of these images: it may have learnt wrong labels too"


def can_suspect() -> bool:
    """Tell whether wrong labels can be looked for: it needs an optional package."""
    return importlib.util.find_spec("cleanlab") is not None


def labels_are_not_seen() -> str:
    """Return what is said where it is not there."""
    return str(missing_extra("not looked for: wrong labels, which", "check"))


def _issues(targets: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Return the pictures whose label is probably wrong, the least probable label first."""
    from cleanlab.filter import find_label_issues

    ranked = find_label_issues(targets, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(number) for number in ranked]


def _finding(item: Item, target: int, probabilities: np.ndarray, names: Sequence[str]) -> Finding:
    other = int(probabilities.argmax())
    own = float(probabilities[target])
    why = f"looks like {names[other]} ({probabilities[other]:.0%}), not {names[target]} ({own:.1%})"
    return Finding.of("label", [item], why, round(own, 6))
