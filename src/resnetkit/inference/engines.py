"""What computes the logits: PyTorch on any device. An engine knows pixels and numbers, no files and no names."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import ResourceError
from resnetkit.runtime import Runtime

if TYPE_CHECKING:
    import torch


class Engine(Protocol):
    """Turns preprocessed pixels into logits; the result for a picture does not depend on its batch."""

    @property
    def batch_size(self) -> int:
        """The number of pictures that are computed fastest at once."""
        ...

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, S, S, C]` uint8 pixels, as `Preprocess.pixels` makes them."""
        ...


# resnet18 in bf16 on two cores of a Xeon with AMX, 128 photos decoded alongside, best of 3: 138, 161, 177, 173 pictures
# per second for 4, 8, 16, 32 at once; resnet50 in fp32, network alone: 28, 30, 27, 22.
_BATCH_ON_CPU = 16
_BATCH_ON_GPU = 128


class TorchEngine:
    """Runs a `torch.nn.Module` that maps `[N, C, S, S] float32` to `[N, K]` logits.

    The network is moved to the runtime's device and memory layout and set to evaluation mode. When a GPU's memory
    does not hold a batch, it is halved, and later batches stay at the size that fitted.
    """

    def __init__(self, network: torch.nn.Module, preprocess: Preprocess, runtime: Runtime) -> None:
        self.preprocess = preprocess
        self.runtime = runtime
        self.network = network.eval().to(runtime.device).to(memory_format=runtime.memory_format())
        self.largest_batch: int | None = None

    @property
    def batch_size(self) -> int:
        """The number of pictures that are computed fastest at once, as far as the memory holds them."""
        preferred = _BATCH_ON_CPU if self.runtime.device == "cpu" else _BATCH_ON_GPU
        return min(preferred, self.largest_batch or preferred)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` logits of `[N, S, S, C]` uint8 pixels, N >= 1.

        Raises `ResourceError` when the device's memory does not hold even one picture.
        """
        import torch

        assert len(pixels) > 0, "an empty batch has no logits"
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
            side = self.preprocess.size
            raise ResourceError(
                f"the memory of {self.runtime.device} does not hold one {side}x{side} picture and the network: "
                "close other programs that use it, or use --device cpu"
            )
        self.largest_batch = size // 2
