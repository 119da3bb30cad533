"""OpenVINO on the processor: one stream that uses all cores for a single picture, several for many."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResourceError
from resnetkit.inference import prepared
from resnetkit.inference.engines import Answer, Engine
from resnetkit.inference.graph_layers import LOGITS
from resnetkit.inference.openvino_library import begins_to_compute, core, leave_to_parent, library, stranded
from resnetkit.inference.prepared import Converted
from resnetkit.inference.resizing import RESIZED
from resnetkit.models.checkpoint import Header
from resnetkit.runtime import Runtime, refuse_forked

if TYPE_CHECKING:
    import openvino

_HINTS = {"fp32": "f32", "bf16": "bf16"}
# Sizes that are tried, as far as a batch has no more pixels than 16 photos: small pictures want many at once.
_BATCH_SIZES, _MOST_PIXELS = (1, 4, 16, 64), 16 * 224**2
_TIMED_S = 0.2


def prepare(key: str, name: str, header: Header, tensors: Mapping[str, np.ndarray]) -> Converted:
    """Convert the network `name` that `header` describes, with its state dict, and keep it under `key`.

    Raises `DataError` for tensors that are not those of the network, `ResourceError` where the cache takes no files.
    """
    from resnetkit.inference.graph import network_graph

    try:
        graph = network_graph(header.spec, tensors, header.preprocess, reads="pixels").SerializeToString()
        model = core().read_model(graph)
    except (KeyError, RuntimeError) as error:
        raise DataError("its tensors are not those it describes; fetch or make it again") from error
    return prepared.keep(key, name, header, lambda path: _save(model, path), graph=graph)


def _save(model: openvino.Model, path: Path) -> None:
    try:
        library().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's word for a disk that is full
        raise OSError(errno.EIO, " ".join(str(error).split())[-200:]) from error


def prepare_exported(key: str, name: str, header: Header, model: Path) -> Converted:
    """Keep under `key` the part from pixels to logits of a graph that `network_graph` wrote, whatever it reads.

    The pixels then come from Pillow, whose bytes those of the graph are. Raises `DataError` for another graph.
    """
    try:
        whole = read_model(model)
        reads = whole.inputs[0].get_any_name()
        outputs = {name: out for node in whole.get_ops() for out in node.outputs() for name in out.get_names()}
        begin, end = outputs[RESIZED] if reads == "picture" else whole.inputs[0], outputs[LOGITS]
    except (KeyError, RuntimeError) as error:
        raise DataError(f"{model}: this or its .bin is not what resnetkit exported; export it again") from error
    part = _from_pixels(begin, end, header.preprocess) if reads == "picture" else _normalising(whole, header.preprocess)
    return prepared.keep(key, name, header, lambda path: _save(part, path))


def read_model(path: Path) -> openvino.Model:
    """Read a graph of OpenVINO or ONNX; raises `RuntimeError` for any other file.

    What is no XML is not shown to OpenVINO: it would try every reader it has, and they complain on stderr.
    """
    if path.suffix == ".xml" and not path.read_bytes().startswith(b"<?xml"):
        raise RuntimeError("no graph of OpenVINO")
    return core().read_model(path)


def _from_pixels(begin: openvino.Output, end: openvino.Output, preprocess: Preprocess) -> openvino.Model:
    """Return what lies between the resized picture and the logits."""
    openvino = library()
    shape = [-1, *preprocess.frame, preprocess.channels]
    pixels = openvino.opset13.parameter(shape, np.uint8, name="pixels")
    for reader in begin.get_target_inputs():
        reader.replace_source_output(pixels.output(0))
    return openvino.Model([openvino.opset13.result(end)], [pixels])


def _normalising(bare: openvino.Model, preprocess: Preprocess) -> openvino.Model:
    """Return the bare network with (x / 255 - mean) / std before it."""
    openvino = library()
    steps = openvino.preprocess.PrePostProcessor(bare)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    means, scales = ([255 * value for value in values] for values in (preprocess.mean, preprocess.std))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(means).scale(scales)
    return steps.build()


class OpenVINOEngine:
    """Runs a prepared network in `runtime.dtype` on `runtime.threads` cores.

    One picture gets all cores. Of many, several requests of `batch_size` run side by side, which is faster. What a
    picture gets does not depend on the others. `instead` makes the engine that answers in a forked process, where
    OpenVINO cannot (`openvino_library`).
    """

    def __init__(
        self, model: Converted, runtime: Runtime, *, instead: Callable[[], Engine] | None = None,
        headless: bool = False,
    ) -> None:  # fmt: skip
        self.prepared, self.runtime, self._instead, self._headless = model, runtime, instead, headless
        self._begin()

    def without_head(self, *, instead: Callable[[], Engine]) -> OpenVINOEngine:
        """Return the engine of a classifier that gives what its head reads, `[N, features]`, in place of logits."""
        return OpenVINOEngine(self.prepared, self.runtime, instead=instead, headless=True)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._other: Engine | None = None
        self._under_way: deque[_Part] = deque()
        self._batch_size: int | None = None
        self._single: openvino.InferRequest | None = None
        self._idle: list[openvino.InferRequest] | None = None
        # Requests that nobody waits for any more would write into memory that is gone, also when the process ends.
        self._at_the_end = weakref.finalize(self, _wait_for, self._under_way)
        _ENGINES.add(self)

    def begin_anew(self) -> None:
        """Forget what the process computes with that this one was forked from: its threads stayed there."""
        self._at_the_end.detach()
        leave_to_parent(self.__dict__.copy())
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        carried = {"model": self.prepared.carried(), "runtime": self.runtime}
        return carried | {"instead": self._instead, "headless": self._headless}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.prepared, self.runtime = state["model"].unpacked(), state["runtime"]
        self._instead, self._headless = state["instead"], state["headless"]
        self._begin()

    def _stand_in(self) -> Engine | None:
        """Return what answers in place of OpenVINO, None where it can compute itself."""
        if self._other is None and stranded() and self._instead is not None:
            with self._lock:
                self._other = self._other or self._instead()
        return self._other

    @property
    def batch_size(self) -> int:
        """The number of pictures in a request: measured the first time many are asked for, and kept with the model."""
        if other := self._stand_in():
            return other.batch_size
        with self._lock:
            if self._batch_size is None:
                computing = f"{self.runtime.dtype} {self.runtime.threads}"
                known = prepared.batch_sizes(self.prepared)
                if computing not in known:
                    known = known | {computing: self._fastest_batch_size()}
                    prepared.keep_batch_sizes(self.prepared, known)
                self._batch_size = known[computing]
            return self._batch_size

    @property
    def ahead(self) -> int:
        """Batches that are best under way at once, besides the one that is waited for."""
        if other := self._stand_in():
            return other.ahead
        with self._lock:
            return len(self._requests()) + len(self._under_way)

    def submit(self, pixels: np.ndarray) -> Answer:
        """Begin with a batch; the answer's `result` is what `logits` gives. Waits while all requests are busy."""
        if other := self._stand_in():
            return other.submit(pixels)
        starts = range(0, len(pixels), self.batch_size)
        answer = _Answer(self, parts=len(starts))
        for start in starts:
            some = pixels[start : start + self.batch_size]
            with self._lock:
                idle = self._requests()
                if not idle:
                    self._finish_oldest()
                part = _Part(answer.parts, len(some), _filled(some, self.batch_size), idle.pop())
                part.request.start_async({0: part.batch}, share_inputs=True)
                self._under_way.append(part)
        return answer

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, S, S, C]` uint8 pixels, N >= 1."""
        if other := self._stand_in():
            return other.logits(pixels)
        if len(pixels) > 1:
            return self.submit(pixels).result()
        with self._lock:
            if self._single is None:
                self._single = self._compiled(1, hint="LATENCY").create_infer_request()
            return self._single.infer({0: pixels}, share_inputs=True)[0].copy()

    def _requests(self) -> list[openvino.InferRequest]:
        """Return the requests that have nothing to do; as many as OpenVINO thinks best run side by side."""
        if self._idle is None:
            compiled = self._compiled(self.batch_size, hint="THROUGHPUT")
            count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            self._idle = [compiled.create_infer_request() for _ in range(count)]
        return self._idle

    def _finish_oldest(self) -> None:
        """Wait for the request that began first, and keep its logits.

        OpenVINO's threads run none of our code: one that waited for Python while the process ends would abort it.
        """
        part = self._under_way.popleft()
        try:
            part.request.wait()
            part.answer.append(part.request.get_output_tensor(0).data[: part.count].copy())
        finally:
            self._requests().append(part.request)

    def _fastest_batch_size(self) -> int:
        """Time a few sizes; the smallest that is within a twentieth of the fastest."""
        speeds = {}
        pixels = math.prod(self.prepared.header.preprocess.frame)
        for size in _BATCH_SIZES:
            if size * pixels > _MOST_PIXELS and size > 1:
                break
            queue = library().AsyncInferQueue(self._compiled(size, hint="THROUGHPUT", kept=False))
            speeds[size] = size * requests_per_second(queue)
        return min(size for size, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))

    def _compiled(self, batch_size: int, *, hint: str, kept: bool = True) -> openvino.CompiledModel:
        """Compile for a batch size, or take what an earlier process compiled."""
        model = _without_head(_graph(self.prepared)) if self._headless else _graph(self.prepared)
        model.reshape([batch_size, *model.inputs[0].partial_shape[1:]])
        # The precision is always stated: OpenVINO's own choice is bf16 where the processor has it.
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.runtime.dtype],
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": self.runtime.threads,
            # The threads that decode need cores too.
            "ENABLE_CPU_PINNING": False,
        }
        begins_to_compute()
        if kept and (folder := self.prepared.compiled) is not None:
            with contextlib.suppress(RuntimeError):  # a disk that is full: what was compiled is not kept
                return core().compile_model(model, "CPU", settings | {"CACHE_DIR": str(folder)})
        return core().compile_model(model, "CPU", settings)


def _graph(model: Converted) -> openvino.Model:
    """Read the graph from its folder, or from its bytes where it has none."""
    try:
        return core().read_model(*model.graph) if model.folder is None else read_model(model.network)
    except RuntimeError as error:
        raise ResourceError(
            f"{model.folder}: the prepared model is damaged: resnetkit cache clear, then try again"
        ) from error


def _without_head(model: openvino.Model) -> openvino.Model:
    """Return the graph up to what its last matrix product reads: the head of a classifier."""
    openvino = library()
    node = model.outputs[0].get_node()
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    return openvino.Model([openvino.opset13.result(node.input_value(0))], model.get_parameters())


def requests_per_second(queue: openvino.AsyncInferQueue) -> float:
    """Return the speed of a queue whose requests hold zeros, after one round to warm up."""
    begun, finished = 0.0, 0
    for number in itertools.count():
        if number == len(queue):
            queue.wait_all()
            begun = time.monotonic()
        if number > 2 * len(queue) and time.monotonic() - begun > _TIMED_S:
            finished = number - len(queue)
            break
        queue.start_async()
    queue.wait_all()
    return finished / (time.monotonic() - begun)


class _Answer:
    """The logits of pictures that went to several requests."""

    def __init__(self, engine: OpenVINOEngine, *, parts: int) -> None:
        self.engine, self.expected, self.begun_in = engine, parts, os.getpid()
        self.parts: list[np.ndarray] = []

    def result(self) -> np.ndarray:
        """Wait for the logits, float32 `[N, K]`."""
        refuse_forked(self.begun_in)
        with self.engine._lock:
            while len(self.parts) < self.expected:
                self.engine._finish_oldest()
        return np.concatenate(self.parts)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one request is at; OpenVINO reads the batch where it lies and does not keep it alive."""

    answer: list[np.ndarray]
    count: int
    batch: np.ndarray
    request: openvino.InferRequest


# Those of this process; a fork begins each of them anew.
_ENGINES: weakref.WeakSet[OpenVINOEngine] = weakref.WeakSet()


def _begin_anew() -> None:
    for engine in list(_ENGINES):
        engine.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _wait_for(parts: deque[_Part]) -> None:
    for part in parts:
        part.request.wait()


def _filled(pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Return a whole batch: the last one of a set is filled up with black, whose answers nobody reads."""
    if len(pixels) == batch_size:
        return np.ascontiguousarray(pixels)
    whole = np.zeros((batch_size, *pixels.shape[1:]), pixels.dtype)
    whole[: len(pixels)] = pixels
    return whole
