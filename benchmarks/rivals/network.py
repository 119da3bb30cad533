"""What the other programs share: their arguments, the trunk in torchvision's network, and the row after each epoch."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models.resnet import BasicBlock, ResNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path, help="a folder with train/ and val/, each with a folder per class")
    parser.add_argument("--trunk", type=Path, required=True, help="weights of blocks 2-2-2-3 with torchvision's names")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.csv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=224, help="pixels of a side, smaller to try the program out")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    given.output.mkdir(parents=True)
    (given.output / "results.csv").write_text("epoch,val_top1,evaluating\n")
    return given


def residual_network(trunk: Path, *, num_classes: int = 1000) -> ResNet:
    """Return torchvision's ResNet of blocks 2-2-2-3 with the trunk's weights and a new head."""
    network = ResNet(BasicBlock, [2, 2, 2, 3], num_classes=num_classes)
    missing, left_over = network.load_state_dict(load_file(trunk), strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}, missing
    assert not left_over, left_over
    return network


def write_row(output: Path, *, epoch: int, accuracy: float, evaluating: float) -> None:
    """Add the held-out accuracy (a share) of an epoch and the seconds that its evaluation took."""
    with open(output / "results.csv", "a") as file:
        file.write(f"{epoch},{accuracy},{evaluating:.3f}\n")


def evaluate(network: nn.Module, loader: DataLoader) -> tuple[float, float]:
    """Return the share of right answers and the seconds that it took."""
    begin, right, count = time.monotonic(), 0, 0
    network.eval()
    with torch.no_grad():
        for images, labels in loader:
            right += (network(images).argmax(1) == labels).sum().item()
            count += len(labels)
    return right / count, time.monotonic() - begin


def train_epoch(
    network: nn.Module,
    loader: DataLoader,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> None:
    """Take one step per batch; the scheduler, where there is one, moves with each step."""
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss_of(network(images), labels).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
