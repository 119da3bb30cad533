"""The pictures a person wants after a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.data.batches import Batch
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
    draw = _draw_found if part.views else _draw_predictions
    warnings.append(draw(part, rows, folder / "predictions.png", metrics))
    for warning in sorted({warning for warning in warnings if warning}):
        watcher.note(warning)


def _draw_found(part: Part, rows: list[dict[str, Any]], path: Path, metrics: Mapping[str, Any]) -> None:
    """Draw up to 12 of the scored pictures, spread over the set, with what was found and, dashed, what is there."""
    import numpy as np
    from PIL import Image

    from resnetkit.evaluation.detection.rows import shown_of
    from resnetkit.files import replacing
    from resnetkit.report.drawing.objects import draw_found

    shown = np.unique(np.linspace(0, len(rows) - 1, 12).astype(int))
    drawn = []
    for number, pixels in zip(shown, part.pixels.take(shown), strict=True):
        truth, found = shown_of(rows[number], metrics, view=part.views[number])
        drawn.append(draw_found(Image.fromarray(pixels), found, classes=metrics["classes"], truth=truth))
    width, height = (max(each.size[side] for each in drawn) for side in (0, 1))
    across = min(3, len(drawn))
    sheet = Image.new("RGB", (across * width, -(-len(drawn) // across) * height), "white")
    for place, each in enumerate(drawn):
        sheet.paste(each, (place % across * width, place // across * height))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _draw_predictions(part: Part, rows: list[dict[str, Any]], path: Path, _: Mapping[str, Any]) -> str | None:
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


def _marked(seen: Batch, classes: Sequence[str]) -> np.ndarray:
    """Return one picture as the network gets it, with the objects that are marked on it."""
    import numpy as np
    from PIL import Image

    from resnetkit.data.marks import Object
    from resnetkit.report.drawing.objects import draw_objects

    pixels, target = seen.images[0].cpu().numpy(), next(iter(seen.targets))
    if not hasattr(target, "boxes"):
        return pixels
    names = [classes[label] for label in target.labels.tolist()]
    objects = [Object(name, tuple(box)) for name, box in zip(names, target.boxes.tolist(), strict=True)]
    return np.asarray(draw_objects(Image.fromarray(pixels), objects, classes=classes))


def draw_augmented(job: Job, watcher: Watcher) -> None:
    """Draw a few training pictures beside what augmentation makes of them."""
    import numpy as np
    import torch

    from resnetkit.data.batches.augment import centre
    from resnetkit.report.drawing import plots
    from resnetkit.training.together.ranks import Ranks

    part, batches = job.prepared.parts["train"], job.batches(job.learning(Ranks()).place)
    shown = np.unique(np.linspace(0, len(part.items) - 1, 5).astype(int))
    originals = centre([torch.from_numpy(picture) for picture in part.pixels.take(shown)], preprocess=job.preprocess)
    rows = [
        [original.numpy(), *(_marked(batches.seen(image, epoch), job.prepared.classes) for epoch in range(6))]
        for image, original in zip(shown, originals, strict=True)
    ]
    labels = [part.items[i].written or "none" for i in shown]
    warning = plots.augmented(rows, job.folder.path / "augmented.png", labels=labels)
    if warning:
        watcher.note(warning)
