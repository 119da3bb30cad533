from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resnetkit.data.batches import Batches
from resnetkit.errors import InterruptedRun
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import split
from resnetkit.runtime import Runtime
from resnetkit.training import loop as loops
from resnetkit.training.loop import Loop
from resnetkit.training.steps import recounting
from resnetkit.training.steps.augmenter import build_augmenter
from resnetkit.training.steps.recounting import recount
from resnetkit.training.stopping import StopRequest
from tests.training.conftest import PREPROCESS, RECIPE, SPEC, make_part
from tests.training.test_loop import assert_same_bits

MakeLoop = Callable[..., Loop]
RUNTIME = Runtime(dtype="fp32", threads=1)


def batches_of(count: int) -> Batches:
    augment = build_augmenter(RECIPE.augment, PREPROCESS, device="cpu")
    return Batches(make_part(count), preprocess=PREPROCESS, augment=augment, batch_size=8, seed=3, runtime=RUNTIME)


def test_statistics_are_the_mean_of_those_of_the_batches_that_were_learnt_from() -> None:
    torch.manual_seed(0)
    network, batches = ResNet(SPEC), batches_of(50)
    recount(network, batches, recipe=RECIPE, epoch=1)
    with torch.inference_mode():
        seen = [network.conv1(batches.get(batches.indices(1, step), 1, step).images) for step in range(7)]
    means, variances = (torch.stack([how(one, (0, 2, 3)) for one in seen]).mean(0) for how in (torch.mean, torch.var))
    torch.testing.assert_close(network.bn1.running_mean, means, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(network.bn1.running_var, variances, atol=1e-5, rtol=1e-4)
    assert not network.training
    assert not network.bn1.training
    assert network.bn1.momentum == 0.1


def test_whole_batches_are_counted_until_there_are_enough_pictures() -> None:
    for count in (1, 2, 63, 65, 129, 256, 1000):
        lengths = [len(batch) for batch in recounting._counted(batches_of(count), 0)]
        assert min(count, 256) <= sum(lengths) < min(count, 256) + 8
        assert max(lengths) <= 8


def test_layers_that_do_not_learn_keep_their_statistics() -> None:
    network = ResNet(SPEC)
    frozen, _ = split(network, "layer2")
    frozen[0].weight.data.mul_(3)
    recount(network, batches_of(30), recipe=RECIPE.changed(train="layer2"), epoch=0)
    assert network.bn1.running_mean is not None
    assert not network.bn1.running_mean.any()
    assert network.layer2[0].bn1.running_mean.any()


def test_stored_views_give_the_statistics_of_the_same_pictures(make_loop: MakeLoop, tmp_path: Path) -> None:
    runtime, found = Runtime(dtype="fp32", threads=1), []
    for views in (0, 2):
        loop = make_loop(folder=tmp_path / str(views), runtime=runtime, train="layer2", views=views)
        loop.batches.prepare(0, lambda: None)
        recount(loop.network, loop.batches, recipe=loop.recipe, epoch=0)
        found.append(loop.network.layer2[0].bn1.running_mean.clone())
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)  # views are stored in 16 bits


def test_a_check_that_raises_leaves_the_network_as_it_was() -> None:
    network, calls = ResNet(SPEC), iter(range(2))

    def check() -> None:
        if next(calls):
            raise KeyboardInterrupt

    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        recount(network, batches_of(100), recipe=RECIPE, epoch=0, check=check)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(module.momentum == 0.1 for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_a_run_learns_the_same_and_answers_by_the_counted_statistics(make_loop: MakeLoop, tmp_path: Path) -> None:
    with StopRequest() as stop:
        batch = make_loop(folder=tmp_path / "a").run(stop)
        loop = make_loop(folder=tmp_path / "b", batchnorm="recounted")
        counted = loop.run(stop)
    for name, tensor in batch.model.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, counted.model[name]), name
    assert not torch.equal(batch.model["bn1.running_mean"], counted.model["bn1.running_mean"])
    again = ResNet(SPEC)
    again.load_state_dict(counted.model)
    recount(again, loop.batches, recipe=loop.recipe, epoch=loop.recipe.epochs - 1)
    torch.testing.assert_close(again.bn1.running_mean, counted.model["bn1.running_mean"])
    assert [row["train_loss"] for row in batch.rows] == [row["train_loss"] for row in counted.rows]


def test_an_average_of_the_weights_gets_statistics_of_its_own(make_loop: MakeLoop) -> None:
    with StopRequest() as stop:
        state = make_loop(batchnorm="recounted", ema=0.9).run(stop)
    assert not torch.equal(state.ema["layer1.0.bn1.running_mean"], state.model["layer1.0.bn1.running_mean"])


def test_interrupted_while_it_counts_a_run_ends_with_the_same_bits(
    make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StopRequest() as stop:
        whole = make_loop(folder=tmp_path / "a", batchnorm="recounted").run(stop)
    calls = iter(range(100))
    with StopRequest() as stop, monkeypatch.context() as patched:

        def stopped(*given: object, **how: object) -> None:
            if next(calls) == 1:
                stop.signal_number = 15
            recount(*given, **how)  # type: ignore[arg-type]

        patched.setattr(loops, "recount", stopped)
        with pytest.raises(InterruptedRun):
            make_loop(folder=tmp_path / "b", batchnorm="recounted").run(stop)
    with StopRequest() as stop:
        assert_same_bits(make_loop(folder=tmp_path / "b", fresh=False, batchnorm="recounted").run(stop), whole)
