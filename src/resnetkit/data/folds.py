"""Which fold of a cross-validation holds out which training picture."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.data import splits
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.decoded.survey import Survey
from resnetkit.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """How a training part is held out in turn: picture i by fold `numbers[i]` of 1 to `count`, by none where that is 0.

    `pixels`: its pictures as they are scored.
    """

    count: int
    numbers: np.ndarray = field(repr=False)
    pixels: Pixels = field(repr=False)

    def check(self, targets: np.ndarray, classes: Sequence[str]) -> None:
        """Raise `DataError` where unreadable pictures leave a fold empty, or one that cannot learn a class.

        `targets`: `[N]` classes, or `[N, K]` of several labels, or objects, of which a fold may know none of a class:
        it learns the others.
        """
        for fold in range(1, self.count + 1):
            taught = targets[self.numbers != fold]
            untaught = (
                set() if targets.ndim == 2 or targets.dtype == object else set(targets.tolist()) - set(taught.tolist())
            )
            if untaught or not (self.numbers == fold).any():
                what = f"all that is left of class {classes[min(untaught)]!r}" if untaught else "nothing"
                raise DataError(
                    f"fold {fold} of {self.count} would hold out {what}, as pictures cannot be read: mend them, take "
                    "the class out, or use fewer --folds"
                )

    @property
    def held_out(self) -> np.ndarray:
        """Return the positions of the pictures that some fold holds out."""
        return np.flatnonzero(self.numbers)

    @property
    def sizes(self) -> list[int]:
        """Return how many pictures each fold holds out."""
        return np.bincount(self.numbers, minlength=self.count + 1)[1:].tolist()


def fold_of(
    items: Sequence[Item], surveyed: Survey, alike: Sequence[tuple[Item, Item]], *, count: int,
    rows: Mapping[str, int] | None, seed: int, trained: Collection[str], several: bool = False,
    below: Callable[[str], str] = str,
) -> dict[str, int]:  # fmt: skip
    """Return source -> fold of training pictures, which may have `several` labels: as `rows` of a run say, or drawn.

    `below` as `splits.hold_out` takes it. Raises what `splits.into_folds` does.
    """
    if rows is None:
        digests = [surveyed.digests[item.source] for item in items]
        pairs = [(surveyed.digests[one.source], surveyed.digests[two.source]) for one, two in alike]
        numbers = splits.into_folds(
            items, digests, count=count, seed=seed, alike=pairs, trained=trained, several=several, below=below
        )  # fmt: skip
    else:
        numbers = [number or 0 for number in splits.found_in(items, rows)]
    return {item.source: number for item, number in zip(items, numbers, strict=True)}
