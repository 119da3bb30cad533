"""Several processes that train one network: launched by torchrun, each with a copy of it and a share of every batch.

Gradients are summed, not averaged: each rank's loss is the sum over its images divided by the size of the whole batch,
so shares of different length, and empty ones, are right. After each step all ranks hold the same bits, so that the
first can save and score for all. The sums run over flat pieces in a fixed order, after the backward pass; LOG.md says
why not in `DistributedDataParallel`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnetkit.errors import DataError, InterruptedRun, ResNetKitError, ToldByAnotherRank, signal_of
from resnetkit.runtime import Place, place
from resnetkit.training.together.heartbeat import Heartbeat, last_words

T = TypeVar("T")

# Elements of one flat piece of gradients: 25 MB of fp32, as DistributedDataParallel has it.
_PIECE = 25 * 2**20 // 4
# The heartbeat ends a wait for a rank that is gone; one that fits a head on a million photos takes its time.
_LONGEST_WAIT = timedelta(days=2)
_joined = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The processes that train together, seen by the one of number `rank`; alone without arguments.

    Methods that say "all ranks" must be called by each of them, in the same order.
    """

    rank: int = 0
    size: int = 1
    place: Place = field(default_factory=Place)
    store: dist.Store | None = None
    heartbeat: Heartbeat | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes, scores and speaks."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return which of `count` images are this rank's: every image is one rank's, shares differ by at most one.

        >>> [Ranks(rank=rank, size=3).share(7) for rank in range(3)]
        [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
        """
        each, longer = divmod(count, self.size)
        start = self.rank * each + min(self.rank, longer)
        return slice(start, start + each + (self.rank < longer))

    def longest_share(self, count: int) -> int:
        """Return the number of images of the largest share of `count`."""
        return -(-count // self.size)

    def agree(self, *numbers: int) -> list[int]:
        """Return the largest of each number over all ranks, so that they decide alike: on a signal, on a save."""
        if self.size == 1:
            return list(numbers)
        said = torch.tensor(numbers)
        with self._naming_the_lost():
            dist.all_reduce(said, dist.ReduceOp.MAX)
        return said.tolist()

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, in place; all have one dtype and device.

        Every rank gets the same bits, and the same again in the next run on as many ranks.
        """
        if self.size == 1:
            return
        with self._naming_the_lost():
            sent = []
            for piece in _pieces(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in piece])
                sent.append((piece, flat, dist.all_reduce(flat, async_op=True)))
            for piece, flat, work in sent:
                work.wait()
                for tensor, summed in zip(piece, flat.split([tensor.numel() for tensor in piece]), strict=True):
                    tensor.copy_(summed.view_as(tensor))

    def add_up_step(self, network: nn.Module, *figures: torch.Tensor, weight: float) -> None:
        """Sum gradients and `figures` (numbers) over all ranks, and average BatchNorm's statistics by `weight`.

        `weight`: this rank's share of the batch, in [0, 1]. A rank whose share is empty adds zeros.
        """
        if self.size == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        statistics = _own_statistics(network)
        for tensor in statistics:
            tensor.mul_(weight)
        self.add_up([*(p.grad for p in reversed(parameters) if p.grad is not None), *statistics, *figures])

    def wait(self) -> None:
        """Return when all ranks are here."""
        self.agree(0)

    @contextmanager
    def failing_together(self, kind: type[Exception]) -> Iterator[None]:
        """Raise an error of this kind on all ranks where it was raised on one of them."""
        failed: Exception | None = None
        try:
            yield
        except kind as error:
            failed = error
        if self.agree(failed is not None)[0]:
            raise failed or kind("on another rank")

    def by_first(self, make: Callable[[], T]) -> T:
        """Return what `make` returns on the first rank, on all ranks; there alone it is called.

        What it raises there ends the others too.
        """
        if self.size == 1:
            return make()
        made: list[Any] = [make() if self.first else None]
        with self._naming_the_lost():
            dist.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]

    def check_alike(self, text: str, *, what: str) -> None:
        """Raise `DataError` on a rank whose `text` is not that of the first; `what` it then has. All ranks."""
        if self.by_first(lambda: text) != text:
            raise DataError(f"rank {self.rank} reads {what} than rank 0: give every machine the same data")

    @contextmanager
    def one_first_on_each_machine(self) -> Iterator[None]:
        """Let one rank of each machine through the block, then the others, who find what it fetched. All ranks."""
        if self.place.local_rank > 0:
            self.wait()
        yield
        if self.place.local_rank == 0:
            self.wait()

    def remember(self, name: str, text: str) -> None:
        """Keep `text` for as long as torchrun lives, beyond a restart of its processes."""
        if self.store is not None:
            self.store.set(name, text)

    def remembered(self, name: str) -> str | None:
        """Return what was kept under `name` before torchrun restarted its processes, or None."""
        if self.store is None or not self.store.check([name]):
            return None
        return self.store.get(name).decode()

    @contextmanager
    def _naming_the_lost(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            loss = self.heartbeat and self.heartbeat.loss()
            if not loss:
                raise
            raise loss from error


def _pieces(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    piece: list[torch.Tensor] = []
    elements = 0
    for tensor in tensors:
        if piece and elements + tensor.numel() > _PIECE:
            yield piece
            piece, elements = [], 0
        piece.append(tensor)
        elements += tensor.numel()
    if piece:
        yield piece


def _own_statistics(network: nn.Module) -> list[torch.Tensor]:
    """Return the running means and variances that each rank takes from its own images."""
    learning = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm) and module.training
    ]
    return [tensor for m in learning for tensor in (m.running_mean, m.running_var) if tensor is not None]


class joined:  # noqa: N801 - read as a verb: `with joined() as ranks`
    """The context in which the processes of a torchrun job are connected; a process alone is alone in it.

    Where a rank fails or is lost, the others leave too, and one of them prints why. Each takes the GPU of its number
    on its machine. Raises `LostRankError` for ranks that do not come.
    """

    def __init__(self) -> None:
        self.place = place()
        self.ranks = Ranks()

    def __enter__(self) -> Ranks:
        if not self.place.launched:
            return self.ranks
        if self.place.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.place.local_rank)
        job, heartbeat = next(_joined), None
        # Keys of one start of the processes; what is remembered for the next start lies beside them.
        start = f"{job}/{os.environ['TORCHELASTIC_RESTART_COUNT']}/{self.place.size}"
        if self.place.size > 1:
            beats = dist.PrefixStore(f"beats/{start}", _store())
            heartbeat = Heartbeat(beats, rank=self.place.rank, size=self.place.size)
            heartbeat.start()
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=dist.PrefixStore(f"group/{start}", _store()),
                rank=self.place.rank, world_size=self.place.size, timeout=_LONGEST_WAIT,
            )  # fmt: skip
        self.ranks = Ranks(
            rank=self.place.rank, size=self.place.size, place=self.place, heartbeat=heartbeat,
            store=dist.PrefixStore(f"job/{job}", _store()),
        )  # fmt: skip
        return self.ranks

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        heartbeat = self.ranks.heartbeat
        if heartbeat is None:
            return
        if error is None or isinstance(error, InterruptedRun):
            dist.destroy_process_group()
        if error is None:
            heartbeat.stop()
        else:
            code = _exit_code(error)
            heartbeat.stop(last_words(str(error) or "interrupted", exit_code=code))
            # torchrun asks all to stop where one was lost; that one is the reason, not the signal.
            loss = heartbeat.loss() if isinstance(error, KeyboardInterrupt) else None
            if loss is not None and loss.exit_code < 128 and heartbeat.speaks():
                raise loss
        if isinstance(error, ResNetKitError | KeyboardInterrupt) and not heartbeat.speaks():
            raise ToldByAnotherRank(str(error), exit_code=_exit_code(error)) from error


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal_of(error)
    return error.exit_code if isinstance(error, ResNetKitError) else 1


def _store() -> dist.Store:
    """Return a connection of its own to the store that torchrun keeps for its processes."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(host, port, is_master=False, wait_for_workers=False)
