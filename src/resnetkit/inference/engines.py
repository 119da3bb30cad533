"""What computes the logits: OpenVINO on the processor, PyTorch on any device. An engine knows no files and no names."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

import numpy as np

from resnetkit import runtime as machine
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import ResourceError, UsageError
from resnetkit.inference.openvino_library import core, stranded
from resnetkit.runtime import Precision, Runtime

if TYPE_CHECKING:
    import torch


EngineName = Literal["auto", "openvino", "torch"]
Asked = TypeVar("Asked")


class Answer(Protocol):
    """The logits of a batch that an engine is at; a `Future` is one."""

    def result(self) -> np.ndarray:
        """Wait for the logits and return them."""
        ...


class Engine(Protocol):
    """Turns preprocessed pixels into logits; the result for a picture does not depend on its batch."""

    @property
    def batch_size(self) -> int:
        """The number of pictures that are computed fastest at once."""
        ...

    @property
    def ahead(self) -> int:
        """The batches that are best under way at once, besides the one that is waited for."""
        ...

    def submit(self, pixels: np.ndarray) -> Answer:
        """Begin with one batch; the answer's result is what `logits` would give."""
        ...

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, H, W, C]` uint8 pixels, as `Preprocess.pixels` makes them."""
        ...


def overlapped(
    engine: Engine, batches: Iterable[tuple[Asked, np.ndarray | None]]
) -> Iterator[tuple[Asked, np.ndarray | None]]:
    """Yield each thing that was asked with the logits of its pixels (None for None), in order.

    The engine works on several batches while the next ones are being made.
    """
    waiting: deque[tuple[Asked, Answer | None]] = deque()
    for asked, pixels in batches:
        waiting.append((asked, None if pixels is None else engine.submit(pixels)))
        if len(waiting) > engine.ahead:
            yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _finished(asked: Asked, answer: Answer | None) -> tuple[Asked, np.ndarray | None]:
    return asked, None if answer is None else answer.result()


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What will compute: the engine, how it computes, and why, in words."""

    engine: Literal["openvino", "torch"]
    runtime: Runtime
    why: str


def choose(
    *,
    engine: EngineName = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    stored: str | None = None,
) -> Choice:
    """Decide what computes: `auto` takes OpenVINO on the processor and PyTorch elsewhere, and bf16 where it is fast.

    `stored` is the precision of an export, where the model is one: one in int8 is computed so, and the rest of it in
    fp32, as it was scored when it was made. Raises `UsageError` for an engine that cannot do what is asked.
    """
    if engine not in get_args(EngineName):
        raise UsageError(f"unknown engine {engine!r}: choose {', '.join(get_args(EngineName))}")
    if stored == "int8":
        precision = _int8(engine, precision)
    elif precision == "int8":
        raise UsageError(
            "--precision int8 needs a model that was made for it on your pictures: "
            "resnetkit export MODEL --int8 --calibrate DATA, then name that folder as --model"
        )
    runtime = machine.resolve(device="cpu" if stored == "int8" else device, precision=precision, threads=threads)  # type: ignore[arg-type]
    installed = importlib.util.find_spec("openvino") is not None
    if engine == "openvino" and runtime.device != "cpu":
        raise UsageError(f"--engine openvino computes on the processor, not on {runtime.device}: add --device cpu")
    if engine == "openvino" and not installed:
        raise UsageError("--engine openvino: it is not installed: pip install openvino, or use --engine torch")
    if engine == "openvino" and stranded():
        core()  # says why it cannot
    chosen = engine
    if chosen == "auto":
        chosen = "openvino" if runtime.device == "cpu" and installed and not stranded() else "torch"
    return Choice(engine=chosen, runtime=runtime, why=_why(chosen, runtime, precision, stored or runtime.dtype))


def _int8(engine: EngineName, precision: str) -> Precision:
    """Return the precision of what an int8 model does not compute in int8."""
    if precision not in ("auto", "int8") or engine == "torch":
        raise UsageError("this model was exported in int8 for OpenVINO: leave --engine and --precision out")
    return "fp32"


def _why(engine: str, runtime: Runtime, precision: str, computed: str) -> str:
    """Say in a line what computes and what would be exact."""
    computed = runtime.dtype if computed == "fp32" else computed
    name = {"openvino": "OpenVINO", "torch": "PyTorch"}[engine]
    where = f"{runtime.threads} cores of the processor" if runtime.device == "cpu" else runtime.device
    if runtime.threads == 1 and runtime.device == "cpu":
        where = "one core of the processor"
    line = f"computing with {name} in {computed} on {where}"
    if precision == "auto" and runtime.dtype == "bf16":
        line += ", which has instructions for it (--precision fp32: exact, and slower)"
    return line


# resnet18 in bf16 on two cores of a Xeon with AMX, 128 photos decoded alongside, best of 3: 138, 161, 177, 173 pictures
# per second for 4, 8, 16, 32 at once; resnet50 in fp32, network alone: 28, 30, 27, 22.
_BATCH_ON_CPU = 16
_BATCH_ON_GPU = 128


class TorchEngine:
    """Runs a `torch.nn.Module` that maps `[N, C, H, W] float32` to `[N, K]` logits.

    The network is moved to the runtime's device and memory layout and set to evaluation mode. When a GPU's memory
    does not hold a batch, it is halved, and later batches stay at the size that fitted.
    """

    def __init__(self, network: torch.nn.Module, preprocess: Preprocess, runtime: Runtime) -> None:
        self.preprocess = preprocess
        self.runtime = runtime
        self.network = network.eval().to(runtime.device).to(memory_format=runtime.memory_format())
        self.largest_batch: int | None = None
        self._made_in = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made_in": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_made_in": os.getpid()}

    @property
    def batch_size(self) -> int:
        """The number of pictures that are computed fastest at once, as far as the memory holds them."""
        preferred = _BATCH_ON_CPU if self.runtime.device == "cpu" else _BATCH_ON_GPU
        return min(preferred, self.largest_batch or preferred)

    @property
    def ahead(self) -> int:
        """None: a batch is computed as soon as it is there."""
        return 0

    def submit(self, pixels: np.ndarray) -> Future[np.ndarray]:
        """Compute the logits of a batch; the future is done."""
        future: Future[np.ndarray] = Future()
        future.set_result(self.logits(pixels))
        return future

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, H, W, C]` uint8 pixels, N >= 1.

        Raises `ResourceError` when the device's memory does not hold even one picture.
        """
        import torch

        assert len(pixels) > 0, "an empty batch has no logits"
        if self.runtime.device != "cpu" and os.getpid() != self._made_in:
            raise UsageError(
                f"a model on {self.runtime.device} does not live through a fork: load it in each worker, or start "
                "workers with multiprocessing's spawn"
            )
        done: list[np.ndarray] = []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + (self.largest_batch or len(pixels))]
            try:
                done.append(self._forward(batch))
            except torch.OutOfMemoryError:
                self._halve(len(batch))
                continue
            start += len(batch)
        return np.concatenate(done)

    def _forward(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        from resnetkit.data.batches import normalise

        with torch.inference_mode(), self.runtime.autocast(), self._full_precision():
            # torch warns about arrays it may not write to, such as memory-mapped ones: those are copied.
            on_device = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.runtime.device)
            images = normalise(on_device, self.preprocess, memory_format=self.runtime.memory_format())
            return self.network(images).float().cpu().numpy()

    def _full_precision(self) -> contextlib.AbstractContextManager[None]:
        """Keep cuDNN from using TF32 under `fp32`: its 10-bit mantissa makes results depend on the batch."""
        import torch

        if self.runtime.dtype != "fp32" or not self.runtime.device.startswith("cuda"):
            return contextlib.nullcontext()
        return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)

    def _halve(self, size: int) -> None:
        """Remember half of a batch size that did not fit."""
        if size == 1:
            raise ResourceError(
                f"the memory of {self.runtime.device} does not hold one picture of {self.preprocess.sides} pixels and "
                "the network: close other programs that use it, or use --device cpu"
            )
        self.largest_batch = size // 2
