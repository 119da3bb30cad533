"""How far pictures are from those of the weights, and what train makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnetkit.api.training import plan
from resnetkit.data.decoded.survey import survey
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.planning.nearness import distance

SPEC = ResNetSpec(blocks=(1, 1), width=8, num_classes=2)
PREPROCESS = Preprocess.for_size(32)


def write(folder: Path, *, brightness: int, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    for number in range(80):
        pixels = generator.integers(0, 60, (32, 32, 3), dtype=np.uint8) + np.uint8(brightness)
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("near")
    return {
        "same": write(place / "same", brightness=60),
        "alike": write(place / "alike", brightness=60, seed=1),
        "other": write(place / "other", brightness=180),
    }


@pytest.fixture(scope="module")
def network(folders: dict[str, Path]) -> ResNet:
    """A network whose BatchNorm keeps the statistics of the first folder."""
    torch.manual_seed(0)
    network = ResNet(SPEC).train()
    pixels = np.stack([PREPROCESS.pixels(Image.open(path)) for path in sorted(folders["same"].rglob("*.png"))])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    with torch.no_grad():
        for _ in range(60):
            network((images - mean) / std)
    return network.eval()


def measured(network: ResNet, folder: Path) -> float:
    dataset = open_data(str(folder))
    found = survey(dataset, threads=1)
    return distance(network, dataset, found, preprocess=PREPROCESS, runtime=Runtime(dtype="fp32", threads=1))


def test_pictures_like_those_of_the_weights_are_at_nearly_nothing(network: ResNet, folders: dict[str, Path]) -> None:
    same, alike, other = (measured(network, folders[name]) for name in ("same", "alike", "other"))
    assert 0 <= same < 1e-3
    assert alike < 0.02
    assert other > 1
    assert measured(network, folders["other"]) == other, "the same pictures give the same number"


def test_weights_and_statistics_stay_as_they_are(network: ResNet, folders: dict[str, Path]) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measured(network, folders["other"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_near_pictures_get_a_head_alone_and_far_ones_all_layers(
    network: ResNet, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    checkpoint.save(weights, network, Header(spec=SPEC, classes=("x", "y"), preprocess=PREPROCESS))

    def recipe(name: str, **options: Any) -> str:
        return plan(str(folders[name]), weights=str(weights), threads=1, **options)[0].recipe.name

    assert recipe("alike") == "probe"
    assert recipe("alike", settings=("val_share=0.3",)) == "probe"
    assert recipe("other") == "finetune"
    for asked in ({"epochs": 3}, {"recipe": "finetune"}, {"settings": ("optim.lr=0.1",)}, {"batch_size": 8}):
        assert recipe("alike", **asked) == "finetune", asked


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("alike", {"recipe": "finetune"}, 1e-4),
        ("alike", {"epochs": 3}, 1e-4),
        ("alike", {"settings": ("ema=0.9",)}, 1e-4),
        ("alike", {"recipe": "finetune", "settings": ("optim.lr=0.02",)}, 0.02),
        ("alike", {"recipe": "finetune", "settings": ("optim.weight_decay=0.1",)}, 1e-4),
        ("alike", {"recipe": "finetune", "settings": ("train=head",)}, 1e-3),
        ("alike", {"recipe": "scratch"}, 0.05),
        ("other", {"recipe": "finetune"}, 1e-3),
    ],
)
def test_all_layers_learn_at_a_tenth_of_the_rate_where_pictures_are_near(
    network: ResNet, folders: dict[str, Path], tmp_path: Path, name: str, options: dict[str, Any], rate: float
) -> None:
    weights = tmp_path / "w.safetensors"
    checkpoint.save(weights, network, Header(spec=SPEC, classes=("x", "y"), preprocess=PREPROCESS))
    decided = plan(str(folders[name]), weights=str(weights), threads=1, **options)[0]
    assert decided.recipe.optim.lr == pytest.approx(rate)
    assert any("a tenth of the rate" in reason for reason in decided.reasons) == (rate == 1e-4)
