"""How fast an engine answers: alone, and as many pictures as it can; and what was measured here before."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetkit import files, runtime
from resnetkit.inference.engines import Engine, overlapped

_WARMING_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds for one picture alone (median and 99th percentile of `runs`), and pictures per second of many."""

    latency_p50_s: float
    latency_p99_s: float
    runs: int
    images_per_second: float


def measure(engine: Engine, pixels: np.ndarray, *, seconds: float) -> Speed:
    """Time an engine on `[S, S, C] uint8` pixels for about `seconds`, half of it one by one, half of it all at once."""
    alone = pixels[None]
    _for(_WARMING_S, lambda: engine.logits(alone))
    times = _for(seconds / 2, lambda: engine.logits(alone))
    batch = np.repeat(alone, engine.batch_size, axis=0)
    _throughput(engine, batch, _WARMING_S)
    return Speed(
        latency_p50_s=float(np.quantile(times, 0.5)),
        latency_p99_s=float(np.quantile(times, 0.99)),
        runs=len(times),
        images_per_second=_throughput(engine, batch, seconds / 2),
    )


def keep_speed(name: str, way: str, images_per_second: float) -> None:
    """Keep what was measured for a model called `name`, computed in a `way`; nothing where the cache takes no files."""
    speeds = kept_speeds()
    speeds.setdefault(name, {})[way] = round(images_per_second, 1)
    with contextlib.suppress(OSError):
        files.write_text(_file(), json.dumps(speeds, ensure_ascii=False, indent=1))


def kept_speeds() -> dict[str, dict[str, float]]:
    """Return the pictures per second that were measured on this machine, by model and way."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        return {name: {way: float(speed) for way, speed in ways.items()} for name, ways in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _file() -> Path:
    return runtime.cache_folder() / "speeds.json"


def _for(seconds: float, call: Callable[[], object]) -> list[float]:
    """Return how long each call took, as many as fit, three at least."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return times


def _throughput(engine: Engine, batch: np.ndarray, seconds: float) -> float:
    begun = time.perf_counter()
    numbers = itertools.takewhile(lambda n: n < 3 or time.perf_counter() - begun < seconds, itertools.count())
    done = sum(len(batch) for _ in overlapped(engine, ((number, batch) for number in numbers)))
    return done / (time.perf_counter() - begun)
