"""A task as a value: what the verbs ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

    from resnetkit.models.checkpoint import Deciding
    from resnetkit.models.spec import ResNetSpec
    from resnetkit.training.learning import Learning
    from resnetkit.training.planning.plan import Plan


# The numbers of pictures in a part, and what makes pixels of one, [n, H, W, C] -> each number, in any order, with what
# a network says of its pixels that has not learnt from the picture.
Ask = Callable[[Sequence[int], Callable[[int], np.ndarray]], Iterator[tuple[int, np.ndarray]]]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Tensors that a run begins with, and the residual network in them; the head of that is replaced."""

    tensors: Mapping[str, torch.Tensor]
    spec: ResNetSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What only a task knows. Its functions import torch when they are called, this value does not.

    `name`: what checkpoints and `--task` call it. `weights_wanted(request, dataset, surveyed)`
    names the weights to start from, None for random ones; `decide(request, dataset, surveyed, origin=)` makes the
    plan of a run, with `distance=` too where the task asks for `nearness`: how far pictures are from those of the
    weights. `first_network(plan, weights, prepared, seed=)` is the network before the first step, with what is worth
    saying of it, `learning(recipe, prepared, runtime=, ranks=)` what the training loop asks
    (`training.learning.Learning`). `figures`: columns of `results.csv` that are its own, in order. `choices`: held-out
    figures that may choose the epoch, the one that patience looks at first. `undecided`: how logits become answers
    where no held-out pictures fitted it, `fit(logits, part, classes=, where=)` returns it fitted. `fit_more(decision,
    part, classes=, where=, ask=, watcher=)`, where there is one, returns it with what only more answers of the network
    (`Ask`) can fit. `score(logits, averaged, part, classes=, decision=, split=, tta=, own=)` returns the contents of
    `metrics.json` and of `predictions.csv`, whose columns are `columns`; `headline(metrics)` says the former in plain
    words; `fold(logits, part, numbers)` returns what `metrics.json` says of the folds that held out each picture.
    `optimistic`: figures of `metrics.json` that are too good on pictures that chose the epoch.
    """

    name: str
    weights_wanted: Callable[..., str | None]
    decide: Callable[..., Plan]
    nearness: bool
    first_network: Callable[..., tuple[nn.Module, str]]
    figures: tuple[str, ...]
    choices: tuple[str, ...]
    columns: tuple[str, ...]
    optimistic: tuple[str, ...]
    learning: Callable[..., Learning]
    undecided: Deciding
    fit: Callable[..., Deciding]
    score: Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]
    headline: Callable[[Mapping[str, Any]], str]
    fold: Callable[..., dict[str, Any]]
    fit_more: Callable[..., Deciding] | None = None
