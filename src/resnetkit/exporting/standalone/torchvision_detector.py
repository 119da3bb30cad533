"""Run exported weights in torchvision's own detector."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from resnetkit.exporting.standalone.resizing import images_of, objects_on


class Anchors(AnchorGenerator):
    """Anchors that lie as far apart as the strides say; torchvision guesses that from the pictures' sizes."""

    def forward(self, image_list: Any, feature_maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the anchors of each picture."""
        self.set_cell_anchors(torch.float32, torch.device("cpu"))
        strides = [[4 * 2**level] * 2 for level in range(len(feature_maps))]
        anchors = torch.cat(self.grid_anchors([each.shape[-2:] for each in feature_maps], strides))
        return [anchors] * len(image_list.image_sizes)


def network_of(name: str, spec: dict[str, Any], frame: tuple[int, int]) -> torch.nn.Module:
    """Return torchvision's detector of that name, for normalised images of the frame."""
    classes = 1 + spec["num_classes"]
    if hasattr(detection, name):
        network = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
    else:
        kind, _, trunk = name.removesuffix("_fpn").partition("_")
        body = resnet_fpn_backbone(
            backbone_name=trunk, weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5
        )
        network = {"fasterrcnn": detection.FasterRCNN, "maskrcnn": detection.MaskRCNN}[kind](body, classes)
    sizes = tuple(tuple(level) for level in spec["anchor_sizes"])
    network.rpn.anchor_generator = Anchors(sizes, (tuple(spec["aspect_ratios"]),) * len(sizes))
    network.transform = GeneralizedRCNNTransform(min(frame), max(frame), [0.0] * 3, [1.0] * 3, size_divisible=1)
    return network.eval()


def opened(folder: Path, record: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a `[H, W, C]` uint8 picture to rows of objects; their masks are left out."""
    header = record["header"]
    preprocess = header["preprocess"]
    frame = preprocess["size"], preprocess.get("width") or preprocess["size"]
    network = network_of(record["torchvision"], header["spec"], frame)
    network.load_state_dict(torch.load(folder / "model.pth", weights_only=True))

    def run(picture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            [found] = network(list(torch.from_numpy(images_of(picture, preprocess))))
        # Their class 0 is background.
        rows = [found["boxes"], found["scores"][:, None], found["labels"][:, None] - 1]
        return objects_on(torch.cat(rows, dim=1).numpy(), picture, preprocess)

    return run
