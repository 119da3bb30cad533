"""What frozen stages make of the training pictures, computed once and stored: epochs then cost what is left to learn.

Of each picture there are several views, each with its own random changes. A view is computed when an epoch first needs
it: all pictures in their order, in batches of one length, so that its bits depend on the network, the pictures and the
seed alone. A run that is resumed computes it again, with the same bits.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from resnetkit import runtime as machine
from resnetkit.data.batches import Batch, Batches, normalise
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResourceError
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.surgery import split
from resnetkit.runtime import Runtime
from resnetkit.training.recipe import Recipe
from resnetkit.watcher import Watcher

_AT_ONCE = 64  # pictures that pass the frozen stages together
_MOST_MEMORY = 0.25  # of what is free: views that take more lie in a file
_MOST_DISK = 0.9  # of what is free


def precision_stored(runtime: Runtime) -> torch.dtype:
    """Return how views are stored, in two bytes: bfloat16 as it was computed, or float16 of what fp32 gave.

    Float16 has three more bits of mantissa than bfloat16.
    """
    return torch.bfloat16 if runtime.dtype == "bf16" else torch.float16


def check_room(spec: ResNetSpec, recipe: Recipe, *, frame: tuple[int, int], count: int) -> None:
    """Raise `ResourceError` where neither memory nor disk has the room for the views of `count` pictures."""
    needed = recipe.stored_bytes(spec, frame=frame, count=count)
    if _fits_memory(needed):
        return
    folder, free = _disk()
    if needed > _MOST_DISK * free:
        fits = int(recipe.views * _MOST_DISK * free / needed)
        fewer = f"--set views={fits} fits, " if fits else ""
        raise ResourceError(
            f"{recipe.views} stored views of {count:,} pictures take {needed / 1e9:.1f} GB, too much for the free "
            f"memory, and {folder} has {free / 1e9:.1f} GB free: {fewer}--set views=0 stores none, or set "
            "RESNETKIT_CACHE to a folder with more room"
        )


def _fits_memory(num_bytes: int) -> bool:
    free = machine.available_memory()
    return free is None or num_bytes <= _MOST_MEMORY * free


def _disk() -> tuple[Path, int]:
    folder = machine.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder, shutil.disk_usage(folder).free
    except OSError:
        return folder, 0


class StoredBatches:
    """The training batches of `batches`, as the stages that learn read them; nothing else about them changes.

    `frozen`: the layers before those, `[N, C, S, S]` to activations; `shape`: of one picture's.
    """

    def __init__(
        self, batches: Batches, frozen: nn.Module, *, shape: tuple[int, ...], num_stored: int, watch: Watcher
    ) -> None:
        assert batches.views, "without views each epoch is new"
        assert batches.mix is None, "check_plan refuses mixed pictures"
        self.batches, self.frozen, self.watch = batches, frozen, watch
        self.num_images, self.steps_per_epoch = batches.num_images, batches.steps_per_epoch
        self.num_before, self.indices, self.sources = batches.num_before, batches.indices, batches.sources
        runtime = self.runtime = batches.runtime
        self._channels_last = runtime.channels_last and len(shape) == 3
        if self._channels_last:
            shape = (*shape[1:], shape[0])
        self._stored = _empty((num_stored, self.num_images, *shape), precision_stored(runtime), watch)
        self._done: set[int] = set()

    def prepare(self, epoch: int, check: Callable[[], None]) -> None:
        """Compute the view of an epoch, where that is not there yet; calls `check` between batches.

        Raises `DataError` for activations that float16 cannot hold, `ResourceError` where a GPU lacks the memory.
        """
        view = self.batches.view(epoch)
        if view in self._done:
            return
        self.frozen.eval()
        total = self.num_images
        with self.watch.counting(f"view {view + 1} of {len(self._stored)}", " pictures") as progress:
            for start in range(0, total, _AT_ONCE):
                check()
                where = np.arange(start, min(start + _AT_ONCE, total))
                self._stored[view, start : start + len(where)] = self._computed(where, view)
                progress(start + len(where), total)
        self._done.add(view)

    @torch.no_grad()
    def _computed(self, where: np.ndarray, view: int) -> torch.Tensor:
        images = self.batches.get(where, view, 0).images
        try:
            with self.runtime.autocast():
                activations = self.frozen(images)
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"the memory of {self.runtime.device} does not hold {len(where)} pictures in the frozen stages: use a "
                "smaller --image-size, or --set views=0"
            ) from error
        kept = activations.to(self._stored.dtype)
        if not torch.isfinite(kept).all():
            raise DataError(
                "the frozen stages answer with numbers that are not finite or too large to be stored: use other "
                "weights, or --set views=0"
            )
        return kept.permute(0, 2, 3, 1).cpu() if self._channels_last else kept.cpu()

    def get(self, indices: np.ndarray, epoch: int, step: int, *, share: slice = slice(None)) -> Batch:
        """Return `[N, C, H, W]` activations (`[N, C]` before the head) and `[N] int64` targets, on the device.

        Activations are float32, or bfloat16 where the run computes so. The view must be there (`prepare`).
        """
        view = self.batches.view(epoch)
        assert view in self._done, "the view of this epoch was not computed"
        where, device = self.batches.positions(indices[share]), self.runtime.device
        rows = self._stored[view].index_select(0, torch.from_numpy(where))
        rows = (rows.pin_memory() if device == "cuda" else rows).to(device, non_blocking=True)
        rows = rows.permute(0, 3, 1, 2) if self._channels_last else rows
        targets = torch.from_numpy(self.batches.part.targets[where]).to(device, non_blocking=True)
        return Batch(rows if self.runtime.dtype == "bf16" else rows.float(), targets)


def stored(batches: Batches, network: ResNet, *, recipe: Recipe, watch: Watcher) -> Batches | StoredBatches:
    """Return the batches that the recipe's learning stages read: stored ones where it has `views`, else as they are."""
    if not recipe.views:
        return batches
    return StoredBatches(
        batches, split(network, recipe.train)[0], watch=watch, num_stored=min(recipe.views, recipe.epochs),
        shape=network.spec.shape_before(recipe.train, batches.preprocess.frame),
    )  # fmt: skip


class StoredScoring:
    """The logits of pictures that are scored after each epoch; what is frozen before `stage` sees them once.

    Its outputs are kept as they were computed, and in the batches they were computed in, so that the logits are those
    of the whole network bit for bit. Where a share of the memory does not hold them, the whole network computes.
    """

    def __init__(self, stage: str, *, preprocess: Preprocess, runtime: Runtime) -> None:
        self.stage, self.preprocess, self.runtime = stage, preprocess, runtime
        self._kept: dict[int, torch.Tensor] = {}
        self._keeps: bool | None = None

    def logits(self, network: ResNet, part: Part, where: np.ndarray) -> np.ndarray:
        """Return `[N, K]` float32 of the pictures `where` of a part; a batch is known by the first of them."""
        if self._keeps is None:
            shape = network.spec.shape_before(self.stage, self.preprocess.frame)
            bytes_each = 2 if self.runtime.dtype == "bf16" else 4
            self._keeps = self.runtime.device == "cpu" and _fits_memory(bytes_each * len(part) * math.prod(shape))
        if not self._keeps:
            return TorchEngine(network, self.preprocess, self.runtime).logits(pixels_of(part, where))
        frozen, learning = split(network.eval(), self.stage)
        with torch.inference_mode(), self.runtime.autocast():
            kept = self._kept.get(int(where[0]))
            if kept is None:
                pixels = torch.from_numpy(np.require(pixels_of(part, where), requirements=["C", "W"]))
                images = normalise(pixels, self.preprocess, memory_format=self.runtime.memory_format())
                kept = self._kept[int(where[0])] = frozen(images)
            return learning(kept).float().numpy()


def stored_scoring(recipe: Recipe, *, preprocess: Preprocess, runtime: Runtime) -> StoredScoring | None:
    """Return what scores held-out pictures where layers are frozen, None where all learn."""
    if recipe.train == "all":
        return None
    return StoredScoring(recipe.train, preprocess=preprocess, runtime=runtime)


def pixels_of(part: Part, where: np.ndarray) -> np.ndarray:
    """Return `[N, S, S, C]` uint8 of pictures of a part that is scored."""
    pixels = part.pixels.take(where)
    assert isinstance(pixels, np.ndarray), "Preprocess.pixels makes all pictures of validation one shape"
    return pixels


def _empty(shape: tuple[int, ...], dtype: torch.dtype, watch: Watcher) -> torch.Tensor:
    """Return memory for what is stored, or a file without a name that ends with the process."""
    num_bytes = 2 * math.prod(shape)
    if _fits_memory(num_bytes):
        return torch.empty(shape, dtype=dtype)
    folder, _ = _disk()
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="views-") as file:
            _reserve(file.fileno(), num_bytes)
            mapped = np.memmap(file, np.int16, mode="r+", shape=shape)
    except OSError as error:
        raise ResourceError(
            f"{folder}: {num_bytes / 1e9:.1f} GB of stored views cannot be written ({error.strerror or error}): free "
            "some space, or use fewer with --set views=N (0: none)"
        ) from error
    watch.note(f"stored views lie in a temporary file in {folder}: {num_bytes / 1e9:.1f} GB, much for the free memory")
    return torch.from_numpy(mapped).view(dtype)


def _reserve(file: int, num_bytes: int) -> None:
    """Give a file its length and its room on the disk; a page that finds none later would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
        return
    zeros = bytes(1 << 20)
    for start in range(0, num_bytes, len(zeros)):
        os.write(file, zeros[: num_bytes - start])
