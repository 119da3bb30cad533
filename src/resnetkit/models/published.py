"""Makes published.json, the records of published weights, from torchvision's own.

`python -m resnetkit.models.published` writes it again. The package reads the file, so that naming the weights needs no
torch. WordNet ids are not in torchvision: the file's own are kept (ImageNet-1K numbers its classes in their order).
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("published.json")
ARCHITECTURES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
)
# torchvision gives these two classes one name; here a class is its name.
SAME_NAMES = {264: "Cardigan (dog)", 474: "cardigan (garment)"}
# V2 was trained with label smoothing, mixup and cutmix. Such regularisers raise ImageNet accuracy and make the features
# under the head "much worse for transfer learning" (Kornblith, Shlens, Le: Do Better ImageNet Models Transfer Better?
# CVPR 2019, https://arxiv.org/abs/1805.08974, abstract), and fine-tuning here starts from a head fitted on those
# features. See also https://github.com/pytorch/vision/issues/8382. Literature, not a measurement of this package.
TRANSFER_TAG = "imagenet1k_v1"
# torchvision's first detectors were trained by a BatchNorm that adds nothing to the variances (`overwrite_eps` there).
WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn.coco_v1", "maskrcnn_resnet50_fpn.coco_v1")
LICENSE = (
    "none stated by the publisher (torchvision: code BSD-3-Clause; its weights 'may have their own licenses or terms "
    "and conditions derived from the dataset used for training', here ImageNet, whose terms of access allow "
    "non-commercial research and education)"
)
COCO_LICENSE = (
    "none stated by the publisher (torchvision: code BSD-3-Clause; its weights 'may have their own licenses or terms "
    "and conditions derived from the dataset used for training', here COCO, whose annotations are CC BY 4.0 and whose "
    "pictures are under Flickr's terms of use, after weights of ImageNet)"
)


def torchvision_records(wordnet_ids: Iterable[str]) -> dict[str, Any]:
    """Return the content of published.json as the installed torchvision has it; 1000 `wordnet_ids` name its classes."""
    from torchvision.models import ResNet18_Weights, get_model_weights

    names = list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    for index, name in SAME_NAMES.items():
        names[index] = name
    records = [_record(name, weights, names) for name in ARCHITECTURES for weights in get_model_weights(name)]
    return {
        "license": LICENSE,
        "classes": dict(zip(wordnet_ids, names, strict=True)),
        "weights": {record.pop("name"): record for record in records},
        "coco_license": COCO_LICENSE,
        "coco_classes": _coco_classes(),
        "detectors": {record.pop("name"): record for record in map(_detector_record, DETECTORS)},
    }


def _coco_classes() -> list[str]:
    """Return COCO's categories by their numbers from 1 on; those that no category has get a name of their own."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
    return [f"no category {number}" if name == "N/A" else name for number, name in enumerate(names, start=1)]


def _detector_record(arch: str) -> dict[str, Any]:
    from torchvision.models import get_model_weights

    (weights,) = get_model_weights(arch)
    meta, metrics, name = weights.meta, weights.meta["_metrics"]["COCO-val2017"], f"{arch}.{weights.name.lower()}"
    return {
        "name": name,
        "url": weights.url,
        "checksum": _checksum(weights.url),
        "epsilon": 0.0 if name in WITHOUT_EPSILON else 1e-5,
        "metrics": {figure: round(value / 100, 5) for figure, value in metrics.items()},
        "num_params": meta["num_params"],
        "giga_macs": meta["_ops"],
        "megabytes": meta["_file_size"],
        "recipe": meta["recipe"],
    }


def _record(arch: str, weights: Any, names: list[str]) -> dict[str, Any]:
    meta, metrics, preset = weights.meta, weights.meta["_metrics"]["ImageNet-1K"], weights.transforms()
    assert len(meta["categories"]) == len(names)
    tag = weights.name.lower()
    return {
        "name": f"{arch}.{tag}",
        "url": weights.url,
        "checksum": _checksum(weights.url),
        "preprocess": {
            "resize": preset.resize_size[0],
            "size": preset.crop_size[0],
            "interpolation": preset.interpolation.value,
            "mean": list(preset.mean),
            "std": list(preset.std),
        },
        "top1": round(metrics["acc@1"] / 100, 5),
        "top5": round(metrics["acc@5"] / 100, 5),
        "num_params": meta["num_params"],
        "giga_macs": meta["_ops"],
        "megabytes": meta["_file_size"],
        "recipe": meta["recipe"],
        "best_for_transfer": tag == TRANSFER_TAG,
    }


def _checksum(url: str) -> str:
    prefix = re.search(r"-([0-9a-f]{8})\.pth$", url)
    assert prefix, f"{url} names no checksum"
    return f"sha256:{prefix[1]}"


def main() -> None:
    """Write published.json again."""
    ids = json.loads(FILE.read_text(encoding="utf-8"))["classes"]
    text = json.dumps(torchvision_records(ids), ensure_ascii=False, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
