"""Which pictures an epoch shows, where classes are to come equally often; needs no torch."""

from __future__ import annotations

from typing import Literal

import numpy as np

from resnetkit.data.chances import Chances

# `once`: each picture once in an epoch; `balanced`: as many pictures, classes drawn evenly.
Sampling = Literal["once", "balanced"]


def drawn_evenly(targets: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return what an epoch of as many pictures as there are shows, in its order, a pure function of (seed, epoch).

    `targets`: `[N]` classes. Classes that have a picture get N / classes of them, as even as can be, and within a class
    no picture comes again before all of it came. A number is the picture's position, plus N for each time that it came
    before: position and turn of number n are n mod N and n // N. So each turn has chances of its own.

    >>> numbers = drawn_evenly(np.array([0, 0, 0, 0, 0, 1]), seed=0, epoch=0)
    >>> sorted(numbers[numbers % 6 == 5].tolist())
    [5, 11, 17]
    """
    count, classes = len(targets), np.unique(targets)
    wanted = np.full(len(classes), count // len(classes))
    wanted[np.argsort(_chance("one more", classes, seed, epoch))[: count % len(classes)]] += 1
    first = np.argsort(_chance("who comes first", np.arange(count), seed, epoch))
    drawn = []
    for label, number in zip(classes, wanted, strict=True):
        members = first[targets[first] == label]
        slots = np.arange(number)
        drawn.append(members[slots % len(members)] + count * (slots // len(members)))
    shown = np.concatenate(drawn)
    return shown[np.argsort(_chance("order", shown, seed, epoch))]


def _chance(what: str, numbers: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    return Chances(seed=seed, epoch=epoch, images=numbers).uniform(what, 1)[0]
