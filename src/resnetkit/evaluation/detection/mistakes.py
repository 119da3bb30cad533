"""Every kind of mistake, with its pictures: what was missed, doubled, misplaced, misnamed, both, or imagined.

The kinds are those of TIDE (Bolya et al. 2020, section 2.2): an overlap of .5 finds an object, one below .1 is ground.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from resnetkit.data.marks import Box, Truth
from resnetkit.evaluation.detection.matching import LEAST_OVERLAPS, Matches
from resnetkit.evaluation.detection.overlaps import box_overlaps
from resnetkit.models.detection.found import Found

# `missed`: an object that nothing was said of; `doubled`: said again; `misplaced`: the right name, and .1 to .5 of an
# object; `misnamed`: .5 of an object and more, and another name; `both`: .1 to .5 of an object of another name;
# `imagined`: nothing like it is there
Kind = Literal["missed", "doubled", "misplaced", "misnamed", "both", "imagined"]
KINDS: tuple[Kind, ...] = ("missed", "imagined", "misnamed", "misplaced", "doubled", "both")

_FOUND = LEAST_OVERLAPS[0]
_GROUND = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One mistake on a picture: what was said (`label`, `score`, `box`) and what is there (`true_label`, `true_box`).

    Of a missed object nothing was said: `label` and `box` are None, `score` is how sure of it the network was, too
    little to say it, None where it saw nothing. Of what was imagined nothing is there.
    """

    kind: Kind
    picture: int
    label: int | None = None
    score: float | None = None
    box: Box | None = None
    true_label: int | None = None
    true_box: Box | None = None
    overlap: float = 0.0


def mistakes_of(matches: Matches, truths: Sequence[Truth], founds: Sequence[Found], at: np.ndarray) -> list[Mistake]:
    """Return all mistakes, by kind (`KINDS`) and the worst of each first: the surest, or of missed the least seen.

    `matches` are those of the boxes; `at`: from which score on an object is said, `[K]`, or `[N, K]` of each picture.
    An object that another name or place was given is not missed too.
    """
    said = matches.said(at)
    found: list[Mistake] = []
    by_picture = np.argsort(matches.pictures, kind="stable")
    edges = np.searchsorted(matches.pictures[by_picture], np.arange(len(truths) + 1))
    for picture in range(len(truths)):
        own = by_picture[edges[picture] : edges[picture + 1]]
        found += _of_picture(picture, truths[picture], founds[picture], matches, own, said[own])
    return sorted(found, key=lambda one: (KINDS.index(one.kind), *_how_bad(one)))


def numbers_of(mistakes: Sequence[Mistake]) -> dict[str, int]:
    """Return how many there are of each kind."""
    counted = Counter(one.kind for one in mistakes)
    return {kind: counted[kind] for kind in KINDS}


def _of_picture(
    picture: int, truth: Truth, found: Found, matches: Matches, own: np.ndarray, said: np.ndarray
) -> list[Mistake]:
    numbers, taken, right = matches.numbers[own], matches.truths[own], matches.right[0, own]
    is_found = np.zeros(len(truth), bool)
    is_found[taken[said & right]] = True
    wrong = numbers[said & ~right]
    overlap = box_overlaps(found.boxes[wrong], truth.boxes)
    overlap[:, truth.crowd] = 0
    mistakes, met = [], is_found | truth.crowd
    for number, row in zip(wrong.tolist(), overlap, strict=True):
        kind, true = _kind(row, truth.labels == found.labels[number], is_found)
        if kind in ("misplaced", "misnamed") and true is not None:
            met[true] = True
        mistakes.append(_said_wrong(kind, picture, found, number, truth, true, row))
    scores = dict(zip(taken[right].tolist(), matches.scores[own][right].tolist(), strict=True))
    mistakes += [_missed(picture, truth, true, scores.get(true)) for true in np.flatnonzero(~met).tolist()]
    return mistakes


def _kind(overlap: np.ndarray, same: np.ndarray, is_found: np.ndarray) -> tuple[Kind, int | None]:
    """Return which mistake something is that overlaps true objects, `[G]`, and of which of them."""
    asked: tuple[tuple[Kind, np.ndarray, float], ...] = (
        ("doubled", same, _FOUND), ("misnamed", ~same, _FOUND), ("misplaced", same, _GROUND), ("both", ~same, _GROUND),
    )  # fmt: skip
    for kind, among, least in asked:
        near = among & (overlap >= least)
        if near.any():
            free = near & ~is_found
            return kind, int(np.argmax(np.where(free if free.any() else near, overlap, -1)))
    return "imagined", None


def _said_wrong(
    kind: Kind, picture: int, found: Found, number: int, truth: Truth, true: int | None, overlap: np.ndarray
) -> Mistake:
    mistake = Mistake(
        kind=kind, picture=picture, label=int(found.labels[number]), score=float(found.scores[number]),
        box=_box(found.boxes[number]),
    )  # fmt: skip
    if true is None:
        return mistake
    return replace(
        mistake, true_label=int(truth.labels[true]), true_box=_box(truth.boxes[true]), overlap=float(overlap[true])
    )


def _missed(picture: int, truth: Truth, true: int, score: float | None) -> Mistake:
    return Mistake(
        kind="missed", picture=picture, score=score, true_label=int(truth.labels[true]),
        true_box=_box(truth.boxes[true]),
    )  # fmt: skip


def _how_bad(mistake: Mistake) -> Iterator[float]:
    """Yield what orders mistakes of a kind: of missed ones how little was seen of how large an object."""
    if mistake.kind == "missed" and mistake.true_box is not None:
        left, top, right, bottom = mistake.true_box
        yield mistake.score or 0.0
        yield -(right - left) * (bottom - top)
    else:
        yield -(mistake.score or 0.0)
    yield mistake.picture


def _box(values: np.ndarray) -> Box:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom
