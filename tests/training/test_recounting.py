from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from resnetkit.data.batches import normalise
from resnetkit.data.batches.augment import centre
from resnetkit.errors import InterruptedRun
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import split
from resnetkit.runtime import Runtime
from resnetkit.training.loop import Loop
from resnetkit.training.steps import recounting
from resnetkit.training.steps.recounting import recount
from resnetkit.training.stopping import StopRequest
from tests.training.conftest import PREPROCESS, SPEC, make_part
from tests.training.test_loop import assert_same_bits

MakeLoop = Callable[..., Loop]
RUNTIME = Runtime(dtype="fp32", threads=1)


def recounted(network: ResNet, count: int) -> None:
    recount(network, make_part(count), learning=network, preprocess=PREPROCESS, runtime=RUNTIME)


def test_statistics_of_one_batch_are_those_of_its_pictures() -> None:
    torch.manual_seed(0)
    network, part = ResNet(SPEC), make_part(50)
    recounted(network, 50)
    pixels = centre([torch.from_numpy(picture) for picture in part.pixels.take(np.arange(50))], preprocess=PREPROCESS)
    with torch.inference_mode():
        seen = network.conv1(normalise(pixels, PREPROCESS, memory_format=torch.contiguous_format))
    torch.testing.assert_close(network.bn1.running_mean, seen.mean((0, 2, 3)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(network.bn1.running_var, seen.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert not network.training
    assert not network.bn1.training
    assert network.bn1.momentum == 0.1


def test_batches_hold_each_picture_once_and_reach_over_the_whole_part() -> None:
    for count in (1, 2, 63, 65, 129, 256, 1000, 50_000):
        batches = recounting._batches(count)
        places = np.concatenate(batches)
        assert len(places) == len(set(places.tolist())) == min(count, 256)
        assert max(map(len, batches)) - min(map(len, batches)) <= 1
        for batch in batches:
            assert len(batch) <= 64
            assert batch[0] < max(8, count / 32)
            assert batch[-1] > count - 1 - max(8, count / 32)


def test_layers_that_do_not_learn_keep_their_statistics() -> None:
    network = ResNet(SPEC)
    frozen, learning = split(network, "layer2")
    frozen[0].weight.data.mul_(3)
    recount(network, make_part(30), learning=learning, preprocess=PREPROCESS, runtime=RUNTIME)
    assert network.bn1.running_mean is not None
    assert not network.bn1.running_mean.any()
    assert network.layer2[0].bn1.running_mean.any()


def test_a_check_that_raises_leaves_a_network_that_can_be_trained() -> None:
    network, calls = ResNet(SPEC), iter(range(2))

    def check() -> None:
        if next(calls):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recount(
            network, make_part(100), learning=network, preprocess=PREPROCESS, runtime=RUNTIME, check=check
        )  # fmt: skip
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
    recount(again, make_part(37), learning=again, preprocess=PREPROCESS, runtime=loop.runtime)
    torch.testing.assert_close(again.bn1.running_mean, counted.model["bn1.running_mean"])
    assert [row["train_loss"] for row in batch.rows] == [row["train_loss"] for row in counted.rows]


def test_an_average_of_the_weights_gets_statistics_of_its_own(make_loop: MakeLoop) -> None:
    with StopRequest() as stop:
        state = make_loop(batchnorm="recounted", ema=0.9).run(stop)
    assert not torch.equal(state.ema["layer1.0.bn1.running_mean"], state.model["layer1.0.bn1.running_mean"])


def test_interrupted_while_it_counts_a_run_ends_with_the_same_bits(make_loop: MakeLoop, tmp_path: Path) -> None:
    with StopRequest() as stop:
        whole = make_loop(folder=tmp_path / "a", batchnorm="recounted").run(stop)
    loop, calls = make_loop(folder=tmp_path / "b", batchnorm="recounted"), iter(range(100))
    with StopRequest() as stop:
        counting = loop.task.recount

        def stopped(network: ResNet, check: Callable[[], None]) -> None:
            if next(calls) == 1:
                stop.signal_number = 15
            counting(network, check)

        object.__setattr__(loop.task, "recount", stopped)
        with pytest.raises(InterruptedRun):
            loop.run(stop)
    with StopRequest() as stop:
        assert_same_bits(make_loop(folder=tmp_path / "b", fresh=False, batchnorm="recounted").run(stop), whole)
