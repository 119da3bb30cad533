"""What a GPU does as a CPU does: the same answers, the same bits again, runs that go on (marker `gpu`).

`GPU_TESTS_ON=cpu` runs them on a CPU, to see that they work before a GPU is at hand.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import resnetkit as rk
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import InterruptedRun
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.catalog import build
from resnetkit.runtime import Runtime
from resnetkit.training import state as states
from resnetkit.watcher import Step, Watcher

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device() -> str:
    device = os.environ.get("GPU_TESTS_ON", "cuda")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    return device


def train(device: str, place: Path, *settings: str, watcher: Watcher | None = None) -> rk.Run:
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = generator.integers(0, 120, (96, 16, 16, 3))
    images[np.arange(96), :, :, labels] += 120
    return rk.train(
        (images.astype(np.uint8), labels), model="resnet8", epochs=3, batch_size=16, device=device, threads=1,
        output=place, settings=settings, watcher=watcher or Watcher(),
    )  # fmt: skip


def bits(run: rk.Run) -> dict[str, torch.Tensor]:
    return states.newest(run.folder.state).model


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_same_command_gives_the_same_bits_and_learns(device: str, tmp_path: Path) -> None:
    runs = [train(device, tmp_path / name) for name in "ab"]
    assert_same(*map(bits, runs))
    assert runs[0].metrics is not None
    assert runs[0].metrics["top1"] > 0.8


class Interrupts(Watcher):
    def step(self, step: Step) -> None:
        if (step.epoch, step.step) == (2, 2):
            os.kill(os.getpid(), 15)


def test_an_interrupted_run_ends_with_the_same_bits(device: str, tmp_path: Path) -> None:
    whole = train(device, tmp_path / "whole", "ema=0.9")
    with pytest.raises(InterruptedRun):
        train(device, tmp_path / "stopped", "ema=0.9", watcher=Interrupts())
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = generator.integers(0, 120, (96, 16, 16, 3))
    images[np.arange(96), :, :, labels] += 120
    resumed = rk.resume(tmp_path / "stopped", data=(images.astype(np.uint8), labels), watcher=Watcher())
    assert_same(bits(whole), bits(resumed))


def test_fp32_answers_are_those_of_a_cpu_whatever_the_batch(device: str) -> None:
    torch.manual_seed(0)
    network, size = build("resnet18", num_classes=10), Preprocess.for_size(64)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    expected = TorchEngine(network, size, Runtime(threads=1)).logits(pixels)
    engine = TorchEngine(network, size, Runtime(device=device, threads=1))
    np.testing.assert_allclose(engine.logits(pixels), expected, atol=2e-4 * np.abs(expected).max())
    singly = np.concatenate([engine.logits(picture[None]) for picture in pixels])
    np.testing.assert_allclose(singly, expected, atol=2e-4 * np.abs(expected).max())


def test_muon_random_crops_and_mixtures_train_there(device: str, tmp_path: Path) -> None:
    settings = ("optim.name=muon", "optim.lr=0.02", "augment.crop=random_resized", "augment.cutmix=1", "tta=flip")
    run = train(device, tmp_path / "run", *settings)
    assert all(np.isfinite(float(row["train_loss"])) for row in run.history)


def test_a_head_is_fitted_and_finetuned_there(device: str, tmp_path: Path) -> None:
    begun = train(device, tmp_path / "first")
    labels = np.arange(60) % 2
    images = np.random.default_rng(1).integers(0, 120, (60, 16, 16, 3))
    images[np.arange(60), :8] += 120 * labels[:, None, None, None]
    tuned = rk.train(
        (images.astype(np.uint8), labels), weights=str(begun.folder.best), epochs=2, device=device, threads=1,
        output=tmp_path / "tuned", watcher=Watcher(),
    )  # fmt: skip
    assert [int(row["epoch"]) for row in tuned.history] == [0, 1, 2]
    assert float(tuned.history[0]["val_top1"]) > 0.8


def test_a_loss_that_is_not_finite_ends_the_run(device: str, tmp_path: Path) -> None:
    from resnetkit.errors import DivergedError

    with pytest.raises(DivergedError, match="not finite"):
        train(device, tmp_path / "run", "optim.lr=1e30", "schedule.warmup_epochs=0")
