"""What follows the last epoch: the final evaluation, what it fits, and the page."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from resnetkit.api.evaluation import Evaluation, fitted, score
from resnetkit.api.folding import score_folds
from resnetkit.api.model import Model, load
from resnetkit.api.pictures import draw_history
from resnetkit.api.references import HeldOut
from resnetkit.api.reporting import write_at_the_end
from resnetkit.checking.drift.reference import FILE
from resnetkit.errors import InterruptedRun, signal_of
from resnetkit.models.decision import Decision
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.training.job import Job
    from resnetkit.training.state import State


def finish(job: Job, state: State, watcher: Watcher) -> None:
    """Score the run, then gather it all on one page."""
    _score(job, state, watcher)
    write_at_the_end(job.folder, findings=job.prepared.report.sentences, runtime=job.runtime, watcher=watcher)


def _score(job: Job, state: State, watcher: Watcher) -> None:
    """Draw the epochs, and score the model on what was held out."""
    from resnetkit.training.choosing import below_its_head
    from resnetkit.training.run import looked_at_test

    draw_history(state, job.folder.path, job.choice(state) if state.rows else None)
    part: Literal["test", "val"] | None = next(
        (split for split in ("test", "val") if split in job.prepared.parts), None
    )
    folded = job.prepared.folds is not None
    if part is None and not folded:
        watcher.note("nothing was held out, so nothing is scored: evaluate the run on other pictures")
        return
    # PyTorch in fp32 is the reference that every faster way to compute is compared with.
    model = load(
        job.folder.path, device=job.runtime.device, threads=job.runtime.threads, engine="torch", precision="fp32"
    )
    try:
        more: dict[str, Any] = {}
        if folded:
            place = job.folder.path if part is None else job.folder.folds
            model, result = score_folds(job, model, folder=place, watcher=watcher)
            if part is None:
                _record(result, model, job)
                return
            more["folds"] = result.metrics["folds"]
        assert part is not None
        model, logits = _held_against_validation(model, job, part, watcher)
        if part == "test":
            more["test_looks"] = looked_at_test(job.folder, job.folder.name)
        if part == "val" and job.choice(state).selected and job.costs is None:  # epochs were judged without costs
            more = _corrected(job, state, logits[0].argmax(axis=1))
        if job.prepared.left_out:
            more["not_counted"] = len(job.prepared.left_out)
        if job.recipe.select == "last" and (below := below_its_head(state.rows)):
            watcher.note(below)
        result = score(
            model, job.prepared.parts[part], split=part, tta=job.recipe.tta, folder=job.folder.path, watcher=watcher,
            logits=logits, more=more,
        )  # fmt: skip
        _record(result, model, job)
    except KeyboardInterrupt as stopped:
        how = job.ranks.place.command("resume", str(job.folder.path))
        raise InterruptedRun(
            f"stopped while the trained model was scored; go on with: {how}", signal_number=signal_of(stopped)
        ) from None


def _corrected(job: Job, state: State, predicted: np.ndarray) -> dict[str, Any]:
    """Return what metrics.json says of a model that the scored pictures chose, where its epochs' answers were kept.

    `predicted`: `[N]` classes that it names.
    """
    from resnetkit.evaluation.selection import after_choosing
    from resnetkit.models.choice import OPTIMISTIC
    from resnetkit.training.choosing import kept_answers

    part = job.prepared.parts["val"]
    right = kept_answers(state, len(part))
    if right is None:
        return {}
    chosen = next(number for number, row in enumerate(state.rows) if row["epoch"] == job.choice(state).epoch)
    right[chosen] = predicted == part.targets  # as it is scored, which may round otherwise than training did
    groups = [item.group for item in part.items]
    found = after_choosing(right, chosen, groups if any(groups) else None)
    return {
        "top1": found.top1,
        "top1_interval": [found.interval.low, found.interval.high],
        "top1_counted": float(right[chosen].mean()),
        "optimistic": [name for name in OPTIMISTIC if name != "top1"],
    }


def _held_against_validation(
    model: Model, job: Job, part: Literal["test", "val"], watcher: Watcher
) -> tuple[Model, tuple[np.ndarray, np.ndarray]]:
    """Return the model with the temperature and thresholds of the validation part, and the logits of `part`.

    What the network made of the pictures meanwhile is kept as the reference.
    """
    from resnetkit.evaluation.evaluate import part_logits

    parts = job.prepared.parts
    reading = HeldOut(model, parts)
    with reading.scoring(part, views=job.recipe.tta):
        logits = part_logits(model.engine, parts[part], tta=job.recipe.tta)
    if job.costs is not None and isinstance(model.decision, Decision):
        model.header = dataclasses.replace(model.header, decision=model.decision.by_costs(job.costs))
    held_out = logits[0]
    if "val" in parts and part != "val":
        with reading.scoring("val"):
            held_out = part_logits(model.engine, parts["val"])[0]
    reading.reference().write(job.folder.path / FILE)
    if "val" in parts:
        decision = fitted(held_out, parts["val"], model, split="val", costs=job.costs, watcher=watcher)
        seen = model.header.trained_on.and_calibrated(job.lineage.held_out)
        model.header = dataclasses.replace(model.header, decision=decision, trained_on=seen)
    return model, logits


def _record(result: Evaluation, model: Model, job: Job) -> None:
    """Write the final figures into the best checkpoint, which may travel without its run."""
    from resnetkit.models import checkpoint

    tables = (
        "chosen",
        "per_class",
        "confusion_matrix",
        "classes",
        "roc_auc",
        "average_precision",
        "curves",
        "selective",
        "together",
        "together_answered",
        "counting",
        "mask_per_class",
    )
    figures = {name: value for name, value in result.metrics.items() if name not in tables}
    checkpoint.save(job.folder.best, model.network, dataclasses.replace(model.header, metrics=figures))
