"""About how long a run will take on this machine: said to people, and never asked for any decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from resnetkit.data.batches import Batches
from resnetkit.data.prepared import Prepared
from resnetkit.errors import ResourceError
from resnetkit.evaluation.detection.moved import COPIES, PICTURES
from resnetkit.models.building import build
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.macs import macs_by_stage, num_macs
from resnetkit.runtime import Runtime
from resnetkit.training.folds import words_of as words_of_folds
from resnetkit.training.learning import Learning
from resnetkit.training.planning.plan import Plan
from resnetkit.training.steps.augmenter import build_augmenter
from resnetkit.training.steps.recounting import MOST

# Multiply-adds of a training step, forward and backward, against those of naming a picture.
_STEP = 3
# Drawing, a page, checkpoints: on a CPU two measured runs took 4 and 11 s beside their steps, a third none.
_REST_S = 5.0
_TIMED = 2
_STEP_MACS = 10**9  # 0.02 to 0.05 s of one core
_HOURS_S = 100 * 60


def seconds(
    plan: Plan, prepared: Prepared, *, runtime: Runtime, learning: Learning, ranks: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> float:  # fmt: skip
    """Return about how many seconds training and scoring take, of all folds and the last fit where there are some.

    The arithmetic of the run (`models.macs`, three times that of naming for each picture that trains) at the rate of
    steps of its own network on its own first pictures.
    """
    each = num_macs(plan.spec.body, plan.preprocess.frame)
    rate = _macs_per_second(plan, prepared, runtime=runtime, learning=learning, each=each, clock=clock) * ranks
    found, minutes = work(plan, prepared) * each / rate, plan.recipe.budget.minutes
    return _REST_S + (found if minutes is None else min(found, 60 * minutes))


def with_length(plan: Plan, prepared: Prepared, runtime: Runtime, *, learning: Learning, ranks: int) -> Plan:
    """Return the plan with its folds and with how long all of it takes here, said in words too."""
    taken = seconds(plan, prepared, runtime=runtime, learning=learning, ranks=ranks)
    folds = prepared.folds
    said = [*([] if folds is None else [words_of_folds(folds)]), words_of(taken)]
    sizes = () if folds is None else tuple(folds.sizes)
    return replace(plan, reasons=(*plan.reasons, *said), folds=sizes, seconds=taken)


def words_of(seconds: float) -> str:
    """Return the line of the plan that says how long it takes.

    >>> for each in (20, 250, 3 * 3600):
    ...     print(words_of(each))
    time      under a minute on this machine
    time      about 4 minutes on this machine
    time      about 3.0 hours on this machine
    """
    minutes = round(seconds / 60)
    said = f"about {minutes} minute{'s' * (minutes > 1)}" if minutes else "under a minute"
    return f"time      {said if seconds < _HOURS_S else f'about {seconds / 3600:.1f} hours'} on this machine"


def work(plan: Plan, prepared: Prepared) -> float:
    """Return how many pictures' naming the run is worth: each picture of an epoch counts as often as it computes."""
    recipe, folds = plan.recipe, prepared.folds
    num_train, num_val = len(prepared.parts["train"]), len(prepared.parts.get("val", ()))
    fits = [(num_train, num_val)]
    if folds is not None:
        fits += [(num_train - size, size) for size in folds.sizes]
    frozen, epochs = _frozen_share(plan), recipe.epochs
    passes = min(recipe.views or epochs, epochs)  # of each training picture through what is frozen
    total = float(len(prepared.parts.get("test", ())))
    if isinstance(plan.spec, DetectorSpec):  # held-out pictures move for probabilities of tracks
        total += COPIES * min(PICTURES, num_val if folds is None else num_train)
    for train, val in fits:
        total += train * (frozen * passes + _STEP * (1 - frozen) * epochs) + recipe.head_last * train
        total += epochs * min(MOST, train) * (recipe.batchnorm == "recounted")
        scored = -(-epochs // recipe.score_every)
        total += val * (frozen * min(scored, 1) + (1 - frozen) * scored) + recipe.head_first * (train + val) + val
    return total


def _frozen_share(plan: Plan) -> float:
    """Return the share of the multiply-adds that lies before the first layer that learns."""
    stages = macs_by_stage(plan.spec.body, plan.preprocess.frame)
    before = list(stages)[: list(stages).index(plan.recipe.train)] if plan.recipe.train != "all" else []
    return sum(stages[name] for name in before) / sum(stages.values())


def _macs_per_second(
    plan: Plan, prepared: Prepared, *, runtime: Runtime, learning: Learning, each: int, clock: Callable[[], float]
) -> float:
    """Return the rate of the run's training steps, from steps of fewer pictures that are not waited for.

    Part of a step is as long for one picture as for many: reading and writing the weights. Two lengths tell that part.
    The network has the shape of the run's and other weights, `learning` is the run's; the random numbers of the run are
    not touched. What does not fit the device's memory is timed with fewer pictures, as training goes on with fewer;
    `ResourceError` where one does not.
    """
    runtime.apply()
    step = _step(plan, prepared, runtime, learning)
    most = min(plan.recipe.micro_batch or plan.recipe.batch_size, len(prepared.parts["train"]))
    alone = plan.spec.body.last_side(max(plan.preprocess.frame)) > 1
    fewest = 1 if alone else 2  # of one number BatchNorm has no variance
    more = min(most, max(4 * fewest, _STEP_MACS // (_STEP * each)))

    def taken(count: int) -> float:
        times = []
        for _ in range(_TIMED):
            before = clock()
            step(count)
            times.append(clock() - before)
        # Whatever else runs makes steps longer, never shorter; the first one also touches memory and chooses kernels.
        return min(times)

    while (of_more := _if_it_fits(taken, more)) is None:
        if more == fewest:
            raise ResourceError("a single step does not fit the device's memory: use a smaller --image-size")
        more = max(fewest, more // 2)
    few = max(fewest, more // 4)
    of_few = _if_it_fits(taken, few) if few < more else None
    a_picture = of_more / more if of_few is None else max(0.0, (of_more - of_few) / (more - few))
    return _STEP * most * each / max(of_more + a_picture * (most - more), 1e-6)


def _if_it_fits(taken: Callable[[int], float], count: int) -> float | None:
    try:
        return taken(count)
    except torch.OutOfMemoryError:
        return None


def _step(plan: Plan, prepared: Prepared, runtime: Runtime, learning: Learning) -> Callable[[int], None]:
    """Return what computes the gradients of as many pictures as it is told, augmentation included."""
    recipe = plan.recipe
    with torch.random.fork_rng(devices=[]):
        network = build(plan.spec).to(runtime.device).to(memory_format=runtime.memory_format())
    network.train()
    if recipe.batchnorm == "frozen" or recipe.train == "head":  # BatchNorm has no need of two numbers then
        network.body.eval()
    batches = Batches(
        prepared.parts["train"], preprocess=prepared.preprocess,
        augment=build_augmenter(recipe.augment, prepared.preprocess, device=runtime.device),
        place=learning.place, batch_size=recipe.batch_size, seed=0, runtime=runtime,
    )  # fmt: skip

    def forward(*given: Any) -> Any:
        with runtime.autocast():
            return network(*given)

    def step(count: int) -> None:
        loss, _ = learning.learn(forward, batches.get(np.arange(count), 0, 0))
        loss.backward()
        loss.item()  # which waits for the device

    return step
