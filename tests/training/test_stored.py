import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnetkit import runtime as machine
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, InterruptedRun, ResourceError, UsageError
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.catalog import spec_of
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.surgery import split
from resnetkit.runtime import Runtime
from resnetkit.training.loop import Loop
from resnetkit.training.planning.checks import check_plan
from resnetkit.training.planning.plan import Plan
from resnetkit.training.recipe import Augment, Optim, Recipe
from resnetkit.training.steps.stored import StoredBatches, StoredScoring, check_room, pixels_of
from resnetkit.training.stopping import StopRequest
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Count, Watcher
from tests.training.conftest import PREPROCESS, make_part
from tests.training.test_loop import Interrupting, assert_same_bits

MakeLoop = Callable[..., Loop]
POOLED = ResNetSpec(block="pooled", blocks=(1, 1, 1), stem="whitening", width=8, activation="gelu", num_classes=3)
SPECS = {
    "basic": ResNetSpec(blocks=(1, 1, 1, 1), width=8, stem="cifar", num_classes=3),
    "bottleneck": ResNetSpec(block="bottleneck", blocks=(1, 2), width=8, num_classes=3),
    "A": ResNetSpec(blocks=(1, 1), width=8, stem="cifar", shortcut="A", num_classes=3),
    "pooled": POOLED,
}


@pytest.mark.parametrize("name", SPECS)
def test_the_two_parts_of_a_network_are_the_network(name: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[name]
    network, images = ResNet(spec).eval(), torch.randn(3, 3, 33, 33)
    for stage in [*(info.name for info in spec.feature_info[2:]), "head"]:
        before, since = split(network, stage)
        activations = before(images)
        assert tuple(activations.shape[1:]) == spec.shape_before(stage, (33, 33)), stage
        assert torch.equal(since(activations), network(images)), stage
        assert len(list(before.parameters())) + len(list(since.parameters())) == len(list(network.parameters()))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("train", ["layer2", "head"])
def test_stored_views_are_what_the_frozen_layers_make_of_the_first_epochs(
    make_loop: MakeLoop, dtype: Any, train: str
) -> None:
    loop = make_loop(train=train, views=2, epochs=3, runtime=Runtime(dtype=dtype, threads=1))
    batches, frozen = loop.batches, split(loop.network, train)[0].eval()
    assert isinstance(batches, StoredBatches)
    for epoch in range(3):
        batches.prepare(epoch, lambda: None)
        indices = batches.indices(epoch, 1)
        stored = batches.get(indices, epoch, 1, share=slice(2, 7))
        plain, rows = batches.batches.get(indices[2:7], epoch % 2, 1), stored.images
        with torch.no_grad(), loop.runtime.autocast():
            computed = frozen(plain.images)
        assert torch.equal(stored.targets, plain.targets)
        assert rows.dtype == (torch.bfloat16 if dtype == "bf16" else torch.float32)
        assert rows.stride() == computed.stride()
        again = batches.get(indices + batches.num_images, epoch, 1, share=slice(2, 7))
        assert torch.equal(again.images, rows), "one that comes again in an epoch is stored once"
        assert torch.equal(again.targets, plain.targets)
        torch.testing.assert_close(rows.float(), computed.float(), rtol=1e-3 if dtype == "fp32" else 1e-2, atol=1e-4)


def test_an_epoch_of_stored_views_is_one_of_the_whole_network(make_loop: MakeLoop, tmp_path: Path) -> None:
    ends = []
    for views in (0, 1):
        loop = make_loop(folder=tmp_path / str(views), train="layer2", views=views, epochs=1)
        before = {name: tensor.clone() for name, tensor in loop.network.state_dict().items()}
        with StopRequest() as stop:
            after = loop.run(stop).model
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"layer2", "fc"}  # statistics of frozen stages too stay as they were
        ends.append(after)
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=0.02, rtol=0.05)


STORED = Recipe(epochs=5, batch_size=8, ema=0.9, micro_batch=5, train="layer2", views=2).for_pictures(
    median_side=8, size=8
)


class Storing(Watcher):
    """Sends a signal in the middle of a view, or counts the views that are computed."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.views = at, 0

    @contextmanager
    def counting(self, what: str, unit: str = "") -> Iterator[Count]:
        if self.views == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        self.views += 1
        yield lambda done, total: None


@pytest.mark.parametrize("watch", [Interrupting(8), Interrupting(23), Interrupting(28), Storing(0), Storing(1)])
def test_a_resumed_run_computes_the_views_again_and_ends_with_the_same_bits(
    make_loop: MakeLoop, tmp_path: Path, watch: Watcher
) -> None:
    counted = Storing()
    with StopRequest() as stop:
        whole = make_loop(STORED, folder=tmp_path / "whole", watch=counted).run(stop)
    assert counted.views == 2
    with StopRequest() as stop, pytest.raises(InterruptedRun):
        make_loop(STORED, folder=tmp_path / "stopped", watch=watch).run(stop)
    with StopRequest() as stop:
        resumed = make_loop(STORED, folder=tmp_path / "stopped", fresh=False).run(stop)
    assert_same_bits(whole, resumed)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["basic", "bottleneck", "A"])
def test_held_out_pictures_that_pass_the_frozen_layers_once_are_scored_to_the_bit(name: str, dtype: Any) -> None:
    torch.manual_seed(0)
    runtime, part = Runtime(dtype=dtype, threads=1), make_part(20)
    network = ResNet(SPECS[name]).to(memory_format=torch.channels_last).eval()
    given = {"preprocess": PREPROCESS, "runtime": runtime}
    whole, passed = TorchEngine(network, PREPROCESS, runtime), []
    for stage in ("layer2", "head"):
        stored = StoredScoring(stage, **given)
        handle = network.conv1.register_forward_hook(lambda *args: passed.append(1))
        for _ in range(2):
            with torch.no_grad():
                network.fc.weight.add_(0.1)  # an epoch later
            for where in (np.arange(15), np.arange(15, 20)):
                assert np.array_equal(stored.logits(network, part, where), whole.logits(pixels_of(part, where)))
        handle.remove()
    assert len(passed) == 2 * (4 + 2)  # the engine each time, the frozen layers in the first epoch


def test_views_in_a_file_have_the_bits_of_those_in_memory(
    make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))
    held, said = [], []
    for free in (None, 1):
        monkeypatch.setattr(machine, "available_memory", lambda free=free: free)
        watch = Watcher()
        watch.note = said.append  # type: ignore[method-assign]
        batches = make_loop(STORED, folder=tmp_path / str(free), watch=watch).batches
        for epoch in range(2):
            batches.prepare(epoch, lambda: None)
        held.append([batches.get(np.arange(37), epoch, 0).images for epoch in range(2)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*held, strict=True))
    assert not torch.equal(*held[0])
    assert said == [f"stored views lie in a temporary file in {tmp_path / 'cache'}: 0.0 GB, much for the free memory"]
    assert list((tmp_path / "cache").iterdir()) == []  # it has no name, so that nothing stays behind


def test_views_that_fit_nowhere_are_refused_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=12, train="layer4", views=6)
    needed = recipe.stored_bytes(spec_of("resnet18"), frame=(224, 224), count=1000)
    assert needed == 6 * 1000 * 2 * 256 * 14 * 14
    monkeypatch.setattr(machine, "available_memory", lambda: 4 * needed)
    check_room(spec_of("resnet18"), recipe, frame=(224, 224), count=1000)
    monkeypatch.setattr(machine, "available_memory", lambda: 2 * needed)
    check_room(spec_of("resnet18"), recipe, frame=(224, 224), count=1000)
    with pytest.raises(ResourceError, match=r"6 stored views of 10,000,000,000 pictures .* --set views=0 .*"):
        check_room(spec_of("resnet18"), recipe, frame=(224, 224), count=10**10)


def test_activations_that_float16_cannot_hold_end_the_run(make_loop: MakeLoop) -> None:
    loop = make_loop(train="layer2", views=1, runtime=Runtime(threads=1))
    with torch.no_grad():
        loop.network.bn1.weight.fill_(1e9)
    with pytest.raises(DataError, match="--set views=0"):
        loop.batches.prepare(0, lambda: None)


def plan_of(recipe: Recipe, model: str = "resnet20") -> Plan:
    return Plan(spec=spec_of(model), preprocess=Preprocess.for_size(32), recipe=recipe, weights=None, reasons=())


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            Recipe(train="layer4"),
            "train=layer4: this network has 3 stages: use --set train=layer3, layer2, all or head",
        ),
        (Recipe(views=4), "views=4 stores .* train=all freezes none: add --set train=layer3, or leave views out"),
        (Recipe(views=4, train="layer3", augment=Augment(cutmix=1.0)), "views=4 stores what was made of single"),
        (Recipe(head_last=True, select="loss"), "select=loss may choose another: leave one of them out"),
        (Recipe(train="layer3", batchnorm="frozen", optim=Optim(name="muon")), "optim.name=sgd"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_one_line(recipe: Recipe, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        check_plan(plan_of(recipe), holds_out=True, runtime=Runtime(), ranks=Ranks())
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
