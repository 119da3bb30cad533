"""Fit a new head to the classes on frozen features, before the first epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from resnetkit.data.batches import normalise
from resnetkit.data.batches.augment import centre
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import Headless
from resnetkit.runtime import Runtime
from resnetkit.training.learning import Learning
from resnetkit.training.steps.label_heads import fit_label_heads
from resnetkit.training.steps.linear import choose_penalty, figures, fit_linear
from resnetkit.watcher import Row
from resnetkit.words import percent

_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """What fitting the head came to on the training part: mean cross-entropy, share of right ones, the penalty."""

    loss: float
    top1: float
    inverse_penalty: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFit:
    """What fitting heads of several labels came to on the training part: mean binary cross-entropy, the penalty."""

    loss: float
    inverse_penalty: float


def first_row(network: ResNet, task: Learning, *, count: int) -> tuple[Row, torch.Tensor | None]:
    """Fit the head on `count` training pictures; return epoch 0 of `results.csv`, and what it names right."""
    begin = time.monotonic()
    fitted = task.fit_head(network, lambda: None)
    held_out = task.validate(network.eval(), lambda: None)
    seconds = time.monotonic() - begin
    row = {
        "epoch": 0, "seconds": round(seconds, 3), "images_per_second": round(count / seconds, 2), "lr": 0.0,
        **fitted, **held_out.figures,
    }  # fmt: skip
    return row, held_out.right


def words_of(row: Row) -> str:
    """Return what people are told of the fitted head, by the figures that the row has."""
    said = []
    if row.get("train_top1") is not None:
        said.append(f"{percent(row['train_top1'])} of the training pictures right")
    if row.get("val_top1") is not None:
        said.append(f"{percent(row['val_top1'])} of the held-out ones")
    if row.get("val_map") is not None:
        said.append(f"mean average precision {percent(row['val_map'])} on the held-out pictures")
    return ": ".join(filter(None, [f"head fitted on frozen features in {row['seconds']:.1f} s", ", ".join(said)]))


def fit_head(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, balanced: bool,
    check: Callable[[], None] = lambda: None,
) -> Fit:  # fmt: skip
    """Set `network.fc` to a logistic regression on the pooled features of the training part.

    The penalty is chosen by cross-validation within that part, so that the validation part stays unseen. Features are
    scaled for the fit and the scaling is folded into the weights. Pictures are not augmented: mirrored copies
    beside them gained nothing (LOG.md). `check` is called between batches.
    """
    features = pooled_features(network, part, preprocess=preprocess, runtime=runtime, check=check)
    penalty = choose_penalty(features, part.targets, groups=_groups(part), balanced=balanced)
    scaling, model = fit_linear(features, part.targets, penalty, balanced=balanced)
    coefficients, intercept = model.coef_, model.intercept_
    if len(coefficients) == 1:  # scikit-learn keeps one row for two classes
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercept = np.concatenate([-intercept / 2, intercept / 2])
    _set_rows(network.fc, model.classes_, *scaling.folded(coefficients, intercept))
    loss, top1 = figures(scaling, model, features, part.targets)
    return Fit(loss=loss, top1=top1, inverse_penalty=penalty)


def fit_label_head(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, balanced: bool,
    check: Callable[[], None] = lambda: None,
) -> LabelFit:  # fmt: skip
    """Set `network.fc` to a logistic regression of each label on the pooled features of the training part.

    `part.targets`: `[N, K]`, 1, 0 or NaN as `label_heads.fit_label_heads` takes them. One penalty for all labels is
    chosen within that part, as in `fit_head`. `check` is called between batches.
    """
    features = pooled_features(network, part, preprocess=preprocess, runtime=runtime, check=check)
    found = fit_label_heads(features, part.targets, groups=_groups(part), balanced=balanced)
    _set_rows(network.fc, np.arange(len(found.bias)), found.weight, found.bias)
    return LabelFit(loss=found.loss, inverse_penalty=found.inverse_penalty)


def _groups(part: Part) -> list[str]:
    """Return the group of each picture; one without stays alone."""
    return [item.group or f"alone-{number}" for number, item in enumerate(part.items)]


def _set_rows(head: nn.Module, rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight[rows] = torch.from_numpy(weight).to(head.weight)
        head.bias[rows] = torch.from_numpy(bias).to(head.bias)


@torch.inference_mode()
def pooled_features(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, check: Callable[[], None]
) -> np.ndarray:
    """Return what the head reads for each image of a part, `[N, features]` float32, in evaluation mode."""
    headless = Headless(network).eval()
    rows = []
    for start in range(0, len(part.items), _BATCH):
        check()
        taken = part.pixels.take(np.arange(start, min(start + _BATCH, len(part.items))))
        pixels = centre([torch.from_numpy(picture) for picture in taken], preprocess=preprocess)
        inputs = normalise(pixels.to(runtime.device), preprocess, memory_format=runtime.memory_format())
        rows.append(headless(inputs).float().cpu().numpy())
    return np.concatenate(rows)
