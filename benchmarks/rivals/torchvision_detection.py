"""torchvision's own way to a detector of blood cells: `FasterRCNN` with its defaults on the same trunk, 800 pixels.

    python benchmarks/rivals/torchvision_detection.py ../shared/data/bccd --trunk TRUNK.safetensors --minutes 20

After its tutorial "TorchVision Object Detection Finetuning" and its reference recipe: batches of two, SGD at 0.02 for
16 pictures (0.0025 for two; the tutorial's 0.005 for two with --rate 0.005), momentum 0.9, warm-up of 1,000 steps at
most one epoch, mirrored pictures, frozen statistics, stem and `layer1` frozen. It trains on `train` for so many
minutes, reading included, then prints mAP@.50 and mAP@.50:.95 on `test` (or `val`), how long a picture took, and how
many epochs the minutes were.
"""

import argparse
import time
from pathlib import Path

import torch
from network import residual_network
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms.functional import to_tensor

from resnetkit.data.marks import Truth
from resnetkit.data.sources import open_data
from resnetkit.evaluation.detection.metrics import map_of
from resnetkit.models.detection.found import Found
from resnetkit.runtime import cpu_name


class Cells(Dataset):
    """The pictures of one part with their boxes, mirrored by a coin in training."""

    def __init__(self, items, classes, *, training):
        self.items, self.classes, self.training = items, classes, training

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        item = self.items[number]
        truth = Truth.of(item.marks, self.classes)
        with Image.open(item.source) as opened:
            picture = to_tensor(opened.convert("RGB"))
        boxes = torch.from_numpy(truth.boxes)
        if self.training and torch.rand(()) < 0.5:
            picture, width = picture.flip(-1), picture.shape[-1]
            boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        return picture, {"boxes": boxes, "labels": torch.from_numpy(truth.labels) + 1}


def frozen(network):
    """Replace BatchNorm by the frozen one that torchvision's detectors have."""
    for name, module in network.named_children():
        if isinstance(module, torch.nn.BatchNorm2d):
            fixed = FrozenBatchNorm2d(module.num_features)
            fixed.load_state_dict({k: v for k, v in module.state_dict().items() if k != "num_batches_tracked"})
            setattr(network, name, fixed)
        else:
            frozen(module)
    return network


def train(detector, loader, *, minutes, rate):
    """Train for so many minutes; return steps and seconds."""
    chosen = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(chosen, lr=rate, momentum=0.9, weight_decay=1e-4)
    warm = min(1000, len(loader) - 1)
    begin, steps = time.monotonic(), 0
    detector.train()
    while True:
        for pictures, targets in loader:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, 1e-3 + steps / warm)
            loss = sum(detector(list(pictures), list(targets)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            passed = time.monotonic() - begin
            if steps % 20 == 0:
                print(f"  {passed / 60:5.1f} min  step {steps}  loss {loss.item():.3f}", flush=True)
            if passed > 60 * minutes:
                return steps, passed


@torch.inference_mode()
def score(detector, part, classes):
    """Return mAP@.50:.95 and mAP@.50 of a part."""
    detector.eval()
    truths, founds = [], []
    for item, (picture, _) in zip(part.items, part, strict=True):
        (found,) = detector([picture])
        truths.append(Truth.of(item.marks, classes))
        founds.append(
            Found(
                boxes=found["boxes"].numpy(), scores=found["scores"].numpy(), labels=found["labels"].numpy() - 1
            )
        )  # fmt: skip
    return map_of(truths, founds, num_classes=len(classes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--trunk", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=0.0025)
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", choices=["val", "test"], default="test")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    dataset = open_data(given.data)
    parts = {name: [item for item in dataset.items if item.split == name] for name in ("train", given.score)}
    body = frozen(residual_network(given.trunk))
    backbone = _resnet_fpn_extractor(body, 3)
    detector = FasterRCNN(backbone, num_classes=1 + len(dataset.classes), min_size=given.size)
    assert not any(p.requires_grad for p in detector.backbone.body.layer1.parameters())
    loader = DataLoader(
        Cells(parts["train"], dataset.classes, training=True), batch_size=2, shuffle=True,
        collate_fn=lambda batch: tuple(zip(*batch, strict=True)),
    )  # fmt: skip
    steps, seconds = train(detector, loader, minutes=given.minutes, rate=given.rate)
    whole, half = score(detector, Cells(parts[given.score], dataset.classes, training=False), dataset.classes)
    epochs, each = 2 * steps / len(parts["train"]), 1000 * seconds / (2 * steps)
    print(
        f"{cpu_name()}, {given.threads} threads, {seconds / 60:.1f} min, {epochs:.2f} epochs, {each:.0f} ms a picture"
    )
    print(f"{given.score}: mAP@.50 {100 * (half or 0):.1f} %, mAP@.50:.95 {100 * (whole or 0):.1f} %")


if __name__ == "__main__":
    main()
