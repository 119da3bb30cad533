"""How long a run will take is said before its first step, and changes nothing of it."""

from itertools import count
from typing import Any

import pytest
import torch

import resnetkit as rk
from resnetkit.errors import ResourceError
from resnetkit.models.macs import macs_by_stage, num_macs
from resnetkit.training.planning import duration
from tests.training.test_folds import arrays

TIMED = True

TINY: dict[str, Any] = {"model": "resnet8", "epochs": 2, "threads": 1, "quiet": True, "settings": ("model.width=8",)}


def test_the_plan_of_folds_counts_every_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "_macs_per_second", lambda *_, each, **__: 10 * each)
    plan, _ = rk.plan(arrays(), folds=3, **TINY)
    trained, held_out = 44 + 2 * 44, 44
    assert plan.seconds == pytest.approx((2 * (3 * trained + held_out) + held_out) / 10 + 5)
    assert sum(plan.folds) == 44
    assert plan.reasons[-1] == "time      about 2 minutes on this machine"
    assert plan.reasons[-2].startswith("folds     3: each of 44 pictures is held out once, 14 to 15 at a time;")


def test_steps_are_timed_and_leave_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, rate = count(), duration._macs_per_second
    by_ticks = {"clock": lambda: next(ticks) / 10}
    monkeypatch.setattr(duration, "_macs_per_second", lambda *plan, **more: rate(*plan, **more | by_ticks))
    before = torch.get_rng_state()
    plan, report = rk.plan(arrays(), **TINY)
    assert torch.equal(before, torch.get_rng_state())
    train, val = report.total("train"), report.total("val")  # a step of all that train takes one tick
    assert plan.seconds == pytest.approx((2 * (3 * train + val) + val) * 0.1 / (3 * train) + 5)


def test_what_is_frozen_is_counted_once_for_each_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "_macs_per_second", lambda *_, each, **__: 10 * each)
    changes = ("model.width=8", "train=layer3", "views=2")
    options = TINY | {"epochs": 4, "settings": changes}
    plan, report = rk.plan(arrays(), **options)
    stages = macs_by_stage(plan.spec, plan.preprocess.frame)
    frozen = (stages["stem"] + stages["layer1"] + stages["layer2"]) / sum(stages.values())
    train, val = report.total("train"), report.total("val")
    passes = train * (2 * frozen + 3 * 4 * (1 - frozen)) + val * (frozen + 4 * (1 - frozen)) + val
    assert plan.seconds == pytest.approx(passes / 10 + 5)
    assert sum(stages.values()) == num_macs(plan.spec, plan.preprocess.frame)


def test_pictures_that_do_not_fit_the_memory_are_timed_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, fits, build = list[int](), [4], duration._step

    def small(*of: Any) -> Any:
        step = build(*of)

        def once(count: int) -> None:
            counts.append(count)
            if count > fits[0]:
                raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
            step(count)

        return once

    monkeypatch.setattr(duration, "_step", small)
    assert rk.plan(arrays(), **TINY)[0].seconds > 0
    assert max(counts) > 4 >= counts[-1]
    fits[0] = 0
    with pytest.raises(ResourceError, match="a single step does not fit"):
        rk.plan(arrays(), **TINY)
