"""Run exported weights in torchvision's own network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck

from resnetkit.exporting.standalone.resizing import answer_of, images_of


def opened(folder: Path, record: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a `[H, W, C]` uint8 picture to `[K]` probabilities."""
    spec = record["header"]["spec"]
    block = {"basic": BasicBlock, "bottleneck": Bottleneck}[spec["block"]]
    network = torchvision.models.ResNet(
        block, spec["blocks"], num_classes=spec["num_classes"], width_per_group=64 * spec["widening"]
    )
    network.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    network.eval()
    header = record["header"]
    preprocess = header["preprocess"]

    def run(picture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.from_numpy(images_of(picture, preprocess)))
        return answer_of(logits.numpy(), picture, header)

    return run
