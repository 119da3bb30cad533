"""OpenVINO on the processor: one stream that uses all cores for a single picture, several for many."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResourceError
from resnetkit.inference import prepared
from resnetkit.inference.graph import LOGITS
from resnetkit.inference.prepared import Prepared
from resnetkit.inference.resizing import RESIZED
from resnetkit.models.checkpoint import Header
from resnetkit.runtime import Runtime

if TYPE_CHECKING:
    import openvino

_HINTS = {"fp32": "f32", "bf16": "bf16"}
# Sizes that are tried, as far as a batch has no more pixels than 16 photos: small pictures want many at once.
_BATCH_SIZES, _MOST_PIXELS = (1, 4, 16, 64), 16 * 224**2
_TIMED_S = 0.2


@cache
def core() -> openvino.Core:
    """Return OpenVINO's entry, loaded without what reports its use."""
    with _without_telemetry():
        import openvino
    return openvino.Core()


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keep OpenVINO from loading what reports its use and writes into the home folder; it has a stand-in."""
    name = "openvino_telemetry"
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


def prepare(key: str, name: str, header: Header, tensors: Mapping[str, np.ndarray]) -> Prepared:
    """Convert the network `name` that `header` describes, with its state dict, and keep it under `key`.

    Raises `DataError` for tensors that are not those of the network, `ResourceError` where the cache takes no files.
    """
    from resnetkit.inference.graph import network_graph

    try:
        graph = network_graph(header.spec, tensors, header.preprocess, reads="pixels")
        model = core().read_model(graph.SerializeToString())
    except (KeyError, RuntimeError) as error:
        raise DataError("its tensors are not those it describes; fetch or make it again") from error
    import openvino

    return prepared.keep(key, name, header, lambda path: openvino.save_model(model, path, compress_to_fp16=False))


def prepare_exported(key: str, name: str, header: Header, model: Path) -> Prepared:
    """Keep under `key` the part from pixels to logits of a graph that `network_graph` wrote, whatever it reads.

    The pixels then come from Pillow, whose bytes those of the graph are. Raises `DataError` for another graph.
    """
    import openvino

    try:
        whole = read_model(model)
        reads = whole.inputs[0].get_any_name()
        outputs = {name: out for node in whole.get_ops() for out in node.outputs() for name in out.get_names()}
        begin, end = outputs[RESIZED] if reads == "picture" else whole.inputs[0], outputs[LOGITS]
    except (KeyError, RuntimeError) as error:
        raise DataError(f"{model}: this or its .bin is not what resnetkit exported; export it again") from error
    part = _from_pixels(begin, end, header.preprocess) if reads == "picture" else _normalising(whole, header.preprocess)
    return prepared.keep(key, name, header, lambda path: openvino.save_model(part, path, compress_to_fp16=False))


def read_model(path: Path) -> openvino.Model:
    """Read a graph of OpenVINO or ONNX; raises `RuntimeError` for any other file.

    What is no XML is not shown to OpenVINO: it would try every reader it has, and they complain on stderr.
    """
    if path.suffix == ".xml" and not path.read_bytes().startswith(b"<?xml"):
        raise RuntimeError("no graph of OpenVINO")
    return core().read_model(path)


def _from_pixels(begin: openvino.Output, end: openvino.Output, preprocess: Preprocess) -> openvino.Model:
    """Return what lies between the resized picture and the logits."""
    import openvino

    shape = [-1, preprocess.size, preprocess.size, preprocess.channels]
    pixels = openvino.opset13.parameter(shape, np.uint8, name="pixels")
    for reader in begin.get_target_inputs():
        reader.replace_source_output(pixels.output(0))
    return openvino.Model([openvino.opset13.result(end)], [pixels])


def _normalising(bare: openvino.Model, preprocess: Preprocess) -> openvino.Model:
    """Return the bare network with (x / 255 - mean) / std before it."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(bare)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    means, scales = ([255 * value for value in values] for values in (preprocess.mean, preprocess.std))
    steps.input().preprocess().convert_element_type(Type.f32).mean(means).scale(scales)
    return steps.build()


class OpenVINOEngine:
    """Runs a prepared network in `runtime.dtype` on `runtime.threads` cores.

    One picture gets all cores. Of many, several requests of `batch_size` run side by side, which is faster. What a
    picture gets does not depend on the others.
    """

    def __init__(self, model: Prepared, runtime: Runtime) -> None:
        self.prepared, self.runtime = model, runtime
        self._lock = threading.RLock()
        self._under_way: deque[_Part] = deque()

    @cached_property
    def batch_size(self) -> int:
        """The number of pictures in a request: measured the first time many are asked for, and kept with the model."""
        computing = f"{self.runtime.dtype} {self.runtime.threads}"
        known = prepared.batch_sizes(self.prepared)
        if computing not in known:
            known = known | {computing: self._fastest_batch_size()}
            prepared.keep_batch_sizes(self.prepared, known)
        return known[computing]

    @property
    def ahead(self) -> int:
        """Batches that are best under way at once, besides the one that is waited for."""
        with self._lock:
            return len(self._idle) + len(self._under_way)

    def submit(self, pixels: np.ndarray) -> _Answer:
        """Begin with a batch; the answer's `result` is what `logits` gives. Waits while all requests are busy."""
        starts = range(0, len(pixels), self.batch_size)
        answer = _Answer(self, parts=len(starts))
        for start in starts:
            some = pixels[start : start + self.batch_size]
            with self._lock:
                if not self._idle:
                    self._finish_oldest()
                part = _Part(answer.parts, len(some), _filled(some, self.batch_size), self._idle.pop())
                part.request.start_async({0: part.batch}, share_inputs=True)
                self._under_way.append(part)
        return answer

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, S, S, C]` uint8 pixels, N >= 1."""
        if len(pixels) > 1:
            return self.submit(pixels).result()
        with self._lock:
            return self._alone.infer({0: pixels}, share_inputs=True)[0].copy()

    @cached_property
    def _alone(self) -> openvino.InferRequest:
        return self._compiled(1, hint="LATENCY").create_infer_request()

    @cached_property
    def _idle(self) -> list[openvino.InferRequest]:
        """The requests that have nothing to do; as many as OpenVINO thinks best run side by side."""
        compiled = self._compiled(self.batch_size, hint="THROUGHPUT")
        # Requests that nobody waits for any more would write into memory that is gone, also when the process ends.
        weakref.finalize(self, _wait_for, self._under_way)
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        return [compiled.create_infer_request() for _ in range(count)]

    def _finish_oldest(self) -> None:
        """Wait for the request that began first, and keep its logits.

        OpenVINO's threads run none of our code: one that waited for Python while the process ends would abort it.
        """
        part = self._under_way.popleft()
        try:
            part.request.wait()
            part.answer.append(part.request.get_output_tensor(0).data[: part.count].copy())
        finally:
            self._idle.append(part.request)

    def _fastest_batch_size(self) -> int:
        """Time a few sizes; the smallest that is within a twentieth of the fastest."""
        import openvino

        speeds = {}
        side = self.prepared.header.preprocess.size
        for size in _BATCH_SIZES:
            if size * side**2 > _MOST_PIXELS and size > 1:
                break
            queue = openvino.AsyncInferQueue(self._compiled(size, hint="THROUGHPUT", kept=False))
            speeds[size] = size * requests_per_second(queue)
        return min(size for size, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))

    def _compiled(self, batch_size: int, *, hint: str, kept: bool = True) -> openvino.CompiledModel:
        """Compile for a batch size, or take what an earlier process compiled."""
        try:
            model = read_model(self.prepared.network)
        except RuntimeError as error:
            raise ResourceError(
                f"{self.prepared.folder}: the prepared model is damaged: resnetkit cache clear, then try again"
            ) from error
        model.reshape([batch_size, *model.inputs[0].partial_shape[1:]])
        # The precision is always stated: OpenVINO's own choice is bf16 where the processor has it.
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.runtime.dtype],
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": self.runtime.threads,
            # The threads that decode need cores too.
            "ENABLE_CPU_PINNING": False,
        }
        return core().compile_model(
            model, "CPU", settings | ({"CACHE_DIR": str(self.prepared.compiled)} if kept else {})
        )


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
        self.engine, self.expected = engine, parts
        self.parts: list[np.ndarray] = []

    def result(self) -> np.ndarray:
        """Wait for the logits, float32 `[N, K]`."""
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
