"""What is checked inside the processes of a job; each function runs on every rank, see `small_torchrun.py`."""

from collections.abc import Callable

import numpy as np
import torch

from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, LostRankError, ToldByAnotherRank
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.tasks.classification.learning import score
from resnetkit.training.together.ranks import Ranks, joined

SPEC = ResNetSpec(blocks=(1,), width=4, stem="cifar", num_classes=3)


def part_of(count: int) -> Part:
    chance = np.random.default_rng(count)
    targets = chance.integers(0, 3, count)
    items = tuple(Item(f"{i}.png", ("abc"[target],), "val") for i, target in enumerate(targets))
    return Part(items=items, targets=targets, pixels=Pixels(chance.integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)))


def raised(kind: type[Exception], action: Callable[[], object]) -> Exception:
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def scores() -> None:
    """Shared scores are those of a process alone, for sets smaller and larger than the number of ranks."""
    torch.manual_seed(0)
    network = ResNet(SPEC)
    given = {"preprocess": Preprocess.for_size(8), "runtime": Runtime(), "num_classes": 3}
    with joined() as ranks:
        assert ranks.size > 1
        for count in range(1, 38):
            together = score(network, part_of(count), check=ranks.wait, ranks=ranks, **given)
            alone = score(network, part_of(count), check=lambda: None, ranks=Ranks(), **given)
            assert together.figures["val_top1"] == alone.figures["val_top1"], count
            assert together.figures["val_balanced_accuracy"] == alone.figures["val_balanced_accuracy"], count
            assert torch.equal(together.right, alone.right), count
            assert abs(together.figures["val_loss"] - alone.figures["val_loss"]) < 1e-6, count


def sums() -> None:
    """Gradients and statistics are the same bits on all ranks after a step, also where a share was empty."""
    with joined() as ranks:
        for images in (ranks.size - 1, 2 * ranks.size + 1):
            torch.manual_seed(0)
            network, batch = ResNet(SPEC).train(), torch.randn(images, 3, 8, 8)
            mine = batch[ranks.share(images)]
            loss = torch.zeros(())
            if len(mine):
                loss = network(mine).square().sum() / images
                loss.backward()
                loss = loss.detach()
            ranks.add_up_step(network, loss, weight=len(mine) / images)
            held = [p.grad for p in network.parameters()]
            held += [tensor for name, tensor in network.state_dict().items() if "running" in name]
            bits = torch.cat([tensor.reshape(-1) for tensor in [*held, loss] if tensor is not None]).view(torch.int32)
            sizes = [int(bits.long().sum()), int((bits.long() * torch.arange(len(bits))).sum() % 2**40)]
            largest, smallest = ranks.agree(*sizes), [-number for number in ranks.agree(*(-n for n in sizes))]
            assert largest == smallest


def errors() -> None:
    """An error that can be shared is one of all ranks; what the first makes, all get."""
    with joined() as ranks:

        def fails_on_the_last() -> None:
            with ranks.failing_together(torch.OutOfMemoryError):
                if ranks.rank == ranks.size - 1:
                    raise torch.OutOfMemoryError("here")

        raised(torch.OutOfMemoryError, fails_on_the_last)
        assert ranks.by_first(lambda: {"rank": ranks.rank}) == {"rank": 0}
        assert ranks.remembered("run") is None
        ranks.wait()
        if ranks.first:
            ranks.remember("run", "runs/a")
        ranks.wait()
        assert ranks.remembered("run") == "runs/a"


def one_fails() -> None:
    """The reason of a rank that stops by itself is told by the first of the others, with its exit code."""

    def together() -> None:
        with joined() as ranks:
            if ranks.rank == 1:
                raise DataError("b.zip: not a zip")
            ranks.wait()

    error = raised(Exception, together)
    assert isinstance(error, LostRankError | ToldByAnotherRank), error
    assert error.exit_code == 3
    print(type(error).__name__, error)
