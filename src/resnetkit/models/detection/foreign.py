"""State dicts of torchvision's detectors that other programs saved: their names, and which detector they fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from resnetkit.errors import DataError
from resnetkit.models.detection.spec import BODY, COCO_SIZES, DetectorSpec
from resnetkit.models.foreign import State, infer_spec, read_tensors

_PROPOSING, _DECIDING = "rpn.head.cls_logits.weight", "roi_heads.box_predictor.cls_score.weight"
_ANCHORS = 3  # at a place, in torchvision's networks
_MASKING = "roi_heads.mask_predictor.mask_fcn_logits.weight"
# Names before torchvision 0.13 (its modules' `_load_from_state_dict` know them too).
_OLDER = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)
_OLDER_MASKS = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)")


def detector_in(tensors: Mapping[str, Tensor]) -> State | None:
    """Return the tensors of the detector in a file under torchvision's names of today, None where there is none.

    What stands before its names (`module.`, `model.`, ...) is stripped.
    """
    for name in tensors:
        start = name.removesuffix(_PROPOSING)
        if start != name and start + _DECIDING in tensors and (not start or start.endswith(".")):
            inner = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
            return {_modern(key): value for key, value in inner.items()}
    return None


def read_detector(path: str | Path) -> State:
    """Return the tensors of the detector in a file, as `detector_in` does; raises `DataError` where there is none."""
    found = detector_in(read_tensors(path))
    if found is None:
        raise DataError(f"{path}: no Faster R-CNN or Mask R-CNN by its names: {_PROPOSING} is missing")
    return found


def infer_detector(state: Mapping[str, Tensor]) -> DetectorSpec:
    """Return the detector whose parameters have the names and shapes of `state`.

    What leaves no trace there is torchvision's: anchors, thresholds, counts of proposals. Raises `DataError` where it
    is no detector of ours.
    """
    backbone = infer_spec({name.removeprefix(BODY): value for name, value in state.items() if name.startswith(BODY)})
    num_levels = sum(re.fullmatch(r"backbone\.fpn\.inner_blocks\.\d+\.0\.weight", name) is not None for name in state)
    if not 1 <= num_levels <= len(backbone.blocks):
        raise DataError(f"no feature pyramid of ours: it has {num_levels} levels on {len(backbone.blocks)} stages")
    num_anchors, channels = state[_PROPOSING].shape[:2]
    if num_anchors != _ANCHORS:
        raise DataError(
            f"its anchors cannot be known: {num_anchors} at a place, and torchvision's networks have {_ANCHORS}"
        )
    classes, box_width = state[_DECIDING].shape
    masks = state.get(_MASKING)
    mask_layers = sum(re.fullmatch(r"roi_heads\.mask_head\.\d+\.0\.weight", name) is not None for name in state)
    spec = DetectorSpec(
        backbone=backbone,
        num_classes=classes - 1,
        masks=masks is not None,
        version="v2" if "backbone.fpn.inner_blocks.0.1.weight" in state else "v1",
        channels=channels,
        levels=tuple(stage.name for stage in backbone.feature_info[-num_levels:]),
        anchor_sizes=COCO_SIZES[-num_levels - 1 :],
        box_width=box_width,
    )
    return spec if masks is None else spec.changed(mask_channels=masks.shape[1], mask_layers=mask_layers)


def _modern(name: str) -> str:
    for older, today in _OLDER:
        if found := older.fullmatch(name):
            return found.expand(today)
    if found := _OLDER_MASKS.fullmatch(name):
        return f"roi_heads.mask_head.{int(found[1]) - 1}.0.{found[2]}"
    return name
