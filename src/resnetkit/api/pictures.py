"""The pictures a person wants after a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from resnetkit.data.prepared import Part
    from resnetkit.models.choice import Choice
    from resnetkit.training.job import Job
    from resnetkit.training.state import State


def draw_scores(
    metrics: Mapping[str, Any], part: Part, rows: list[dict[str, Any]], folder: Path, watcher: Watcher
) -> None:
    """Draw what the figures of a scored part hold, and some of its pictures with their answers."""
    from resnetkit.report.drawing import charts, plots, together

    warnings = []
    if "confusion_matrix" in metrics:
        warnings.append(plots.confusion(metrics, folder / "confusion_matrix.png"))
    if "together" in metrics:
        warnings.append(together.diagram(metrics, folder / "together.png"))
    if "calibration" in metrics:
        charts.reliability(metrics, folder / "reliability.png")
    warnings.append(_draw_predictions(part, rows, folder / "predictions.png"))
    for warning in sorted({warning for warning in warnings if warning}):
        watcher.note(warning)


def _draw_predictions(part: Part, rows: list[dict[str, Any]], path: Path) -> str | None:
    """Draw up to 24 of the scored pictures, spread over the set, as they are (not normalised)."""
    import numpy as np

    from resnetkit.report.drawing import plots

    shown = np.unique(np.linspace(0, len(rows) - 1, 24).astype(int))
    right = sum(row["correct"] for row in rows)
    return plots.prediction_grid(
        part.pixels.take(shown),
        path,
        labels=[rows[i].get("label", rows[i].get("labels")) or "none" for i in shown],
        predicted=[rows[i]["predicted"] or "none" for i in shown],
        probabilities=[rows[i].get("probability") for i in shown],
        title=f"{len(shown)} of {len(rows)} pictures; {right} of all are right",
    )


def draw_history(state: State, folder: Path, choice: Choice | None) -> None:
    """Draw loss and accuracy of the epochs into `results.png`."""
    from resnetkit.report.drawing import charts

    if state.rows:
        charts.history(state.rows, folder / "results.png", choice=choice)


def draw_augmented(job: Job, watcher: Watcher) -> None:
    """Draw a few training pictures beside what augmentation makes of them."""
    import numpy as np
    import torch

    from resnetkit.data.batches.augment import centre
    from resnetkit.report.drawing import plots

    part, batches = job.prepared.parts["train"], job.batches()
    shown = np.unique(np.linspace(0, len(part.items) - 1, 5).astype(int))
    originals = centre([torch.from_numpy(picture) for picture in part.pixels.take(shown)], preprocess=job.preprocess)
    rows = [
        [original.numpy(), *(batches.seen(image, epoch).numpy() for epoch in range(6))]
        for image, original in zip(shown, originals, strict=True)
    ]
    labels = [part.items[i].written or "none" for i in shown]
    warning = plots.augmented(rows, job.folder.path / "augmented.png", labels=labels)
    if warning:
        watcher.note(warning)
