"""Run exported weights in torchvision's own network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from resnetkit.exporting.standalone.resizing import images_of, probabilities_of


def opened(folder: Path, record: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a `[H, W, C]` uint8 picture to `[K]` probabilities."""
    network = getattr(torchvision.models, record["torchvision"])(num_classes=len(record["header"]["classes"]))
    network.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    network.eval()
    temperature = record["header"]["decision"].get("temperature", 1.0)
    preprocess = record["header"]["preprocess"]

    def run(picture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.from_numpy(images_of(picture, preprocess)))
        return probabilities_of(logits.numpy(), temperature)

    return run
