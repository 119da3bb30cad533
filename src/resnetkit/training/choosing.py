"""Which epoch is the model: the last one, or the best by a held-out figure, and what was looked at for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.models.choice import OPTIMISTIC, Choice
from resnetkit.watcher import Row
from resnetkit.words import percent

if TYPE_CHECKING:
    import torch

    from resnetkit.training.run import RunFolder
    from resnetkit.training.state import State

Metrics = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Validation:
    """What an epoch reaches: `val_*` figures of its row, and which held-out pictures it names right ([N] bool)."""

    figures: Row
    right: torch.Tensor | None = None


def better(row: Row, than: Row, select: str) -> bool:
    """Tell whether a row is the model rather than an earlier one: always where nothing selects or was held out.

    Equal accuracy is decided by the loss; equal in both, the earlier one stays.
    """
    if select == "last" or not is_scored(than):
        return True
    return is_scored(row) and _merit(row, select) > _merit(than, select)


def is_scored(row: Row) -> bool:
    """Tell whether held-out pictures scored the epoch of a row."""
    return any(name.startswith("val_") and value is not None for name, value in row.items())


def _merit(row: Row, select: str) -> tuple[float, float]:
    loss = -float(row.get("val_loss") or 0.0)
    if select == "loss":
        return loss, 0.0
    figure = row.get(f"val_{select}")
    return float(row.get("val_top1", 0.0) if figure is None else figure), loss


def choice(row: Row, rows: Sequence[Row], recipe: Mapping[str, Any], *, on: int) -> Choice:
    """Return how `row` came to be the model among the `rows` of a run, `on`: held-out pictures.

    `recipe` is as a state holds it; one of before there was `last` names the figure that chose.
    """
    by = recipe.get("select", "top1") if is_scored(row) else "last"
    selects = by != "last"
    return Choice(
        by=by, epoch=row["epoch"], done=rows[-1]["epoch"], of=recipe["epochs"], looks=len(rows) if selects else 1,
        on=on if selects else 0, rate=round(row["lr"] / (recipe["optim"]["lr"] or 1.0), 6),
    )  # fmt: skip


def stopped_by_patience(last: Row, best: Row | None, recipe: Mapping[str, Any]) -> bool:
    """Tell whether held-out pictures ended the run at its `last` row, by a recipe as a state holds it."""
    patience = recipe.get("budget", {}).get("patience")
    if not patience or best is None or not is_scored(last):
        return False
    return last["epoch"] == recipe["epochs"] and last["epoch"] - best["epoch"] >= patience


def ended_by_patience(folder: RunFolder) -> bool:
    """Tell whether held-out pictures ended a run, as its state says it; raises `DataError` where there is none."""
    from resnetkit.training import state as states

    said = states.describe(folder.state)
    return bool(said["rows"]) and stopped_by_patience(said["rows"][-1], said["best_row"], said["request"]["recipe"])


def choice_of_run(folder: RunFolder) -> Choice | None:
    """Return which epoch of a run is its model, as its state says it, also that of an older version; None before one.

    Raises `DataError` where there is no state.
    """
    from resnetkit.data.splits import read_split
    from resnetkit.training import state as states

    said = states.describe(folder.state)
    if not said["best_row"]:
        return None
    held_out = sum(part == "val" for part in read_split(folder.split).values())
    return choice(said["best_row"], said["rows"], said["request"]["recipe"], on=held_out)


def with_choice(metrics: Metrics | None, chosen: Choice | None) -> Metrics | None:
    """Return metrics.json with what it lacks where an older version wrote it: what chose the epoch, and by these."""
    if metrics is None or chosen is None or "chosen" in metrics:
        return metrics
    by_these = chosen.selected and metrics["split"] == "val"
    return {**metrics, "chosen": chosen.to_json(), "optimistic": list(OPTIMISTIC) if by_these else []}


def keep_answers(state: State, epoch: int, right: torch.Tensor) -> None:
    """Keep which held-out pictures an epoch names right, a bit each: what its choice must be corrected by."""
    import torch

    state.right[f"{epoch}"] = torch.from_numpy(np.packbits(right.numpy().astype(bool)))


def kept_answers(state: State, count: int) -> np.ndarray | None:
    """Return the answers of each row's epoch, `[E, count]` bool; None where an older run did not keep them."""
    kept = [state.right.get(f"{row['epoch']}") for row in state.rows]
    if any(bits is None for bits in kept):
        return None
    return np.stack([np.unpackbits(bits.numpy(), count=count) for bits in kept if bits is not None]).astype(bool)


def below_its_head(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say that the last of `rows` names fewer held-out pictures right than the head it began with; else nothing.

    Rows are those of a state, or of results.csv as text.
    """
    if not rows or str(rows[0]["epoch"]) != "0" or str(rows[-1]["epoch"]) == "0":
        return ""
    figures = [row.get("val_top1") for row in (rows[0], rows[-1])]
    if any(figure in (None, "") for figure in figures):
        return ""
    head, last = (float(str(figure)) for figure in figures)
    if last >= head:
        return ""
    return (
        f"The last epoch names {percent(last)} of the held-out pictures right, the head before the first one "
        f"{percent(head)}: --recipe probe gives that head alone, --set select=top1 the best epoch by these pictures."
    )
