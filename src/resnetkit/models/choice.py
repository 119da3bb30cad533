"""Which epoch of its run a model is, and what chose it: a value that travels with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from resnetkit.errors import DataError

# A last epoch at more of its full learning rate than this is not the end of a descent.
_LOW_RATE = 0.1
# Figures of metrics.json that are too good on the pictures that chose the epoch.
OPTIMISTIC = (
    "top1", "top5", "balanced_accuracy", "loss", "per_class", "confusion_matrix", "roc_auc", "average_precision",
    "curves", "selective", "calibration", "rejects", "sets", "tta", "cases", "screening",
)  # fmt: skip
FIGURES = {
    "top1": "accuracy", "balanced_accuracy": "balanced accuracy", "loss": "loss", "map": "mean average precision",
    "map50": "mean average precision at an overlap of a half",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The epoch that is the model, of `done` epochs behind its run and `of` planned; 0 is the fitted head.

    `by` is `last`, `patience` where that ended the run there, or the held-out figure that it was best by, among `looks`
    epochs on `on` pictures. `rate`: the share of its full learning rate that the epoch ended with.
    """

    by: str
    epoch: int
    done: int
    of: int
    looks: int = 1
    on: int = 0
    rate: float = 0.0

    @property
    def selected(self) -> bool:
        """Whether held-out pictures preferred it to other epochs, so that its figures on them are too good."""
        return self.looks > 1

    @property
    def short(self) -> str:
        """A few words, for a cell of a table."""
        if self.selected:
            return f"{self._named}, best by {FIGURES.get(self.by, self.by)}"
        return self._named if self.epoch == 0 or self.done < self.of else f"last epoch ({self.epoch})"

    @property
    def words(self) -> str:
        """The end of a sentence that begins with "The model is"."""
        if self.by == "patience":
            return f"the last epoch, {self.epoch}, after which {self.on:,} held-out pictures ended the run"
        unfinished = f"; its schedule is not finished, {self.done} of {self.of} epochs" if self.done < self.of else ""
        if self.selected:
            figure = FIGURES.get(self.by, self.by)
            return f"{self._named}, chosen by {figure} among {self.looks} on {self.on:,} held-out pictures{unfinished}"
        if self.epoch == 0:
            return self._named
        still = ""
        if self.rate > _LOW_RATE and not unfinished:
            still = f", whose learning rate had not come down ({100 * self.rate:.0f} % of the full one)"
        return f"the last epoch, {self.epoch}{still}{unfinished}; no picture chose it"

    @property
    def _named(self) -> str:
        return f"epoch {self.epoch} of {self.of}" if self.epoch else "the fitted head"

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `choice_in` reads."""
        return asdict(self)


def choice_in(values: Mapping[str, Any]) -> Choice | None:
    """Read the `chosen` of a header or of metrics.json, None where it is empty; keys of later versions are left out.

    Raises `DataError` for values of other types.
    """
    if not values:
        return None
    known = {field.name: values[field.name] for field in fields(Choice) if field.name in values}
    numbers = [value for name, value in known.items() if name != "by"]
    if not {"by", "epoch", "done", "of"} <= set(known) or not isinstance(known["by"], str):
        raise DataError(f"its chosen must say by what, and which epoch of how many: {dict(values)!r:.80}")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise DataError(f"its chosen must count in numbers: {dict(values)!r:.80}")
    return Choice(**known)
