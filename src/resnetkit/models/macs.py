"""How much a network computes, from its description alone. Needs no torch."""

from __future__ import annotations

from math import ceil, prod

from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import Convolution, ResNetSpec

Frame = tuple[int, int]


def num_macs(spec: ResNetSpec | DetectorSpec, frame: Frame) -> int:
    """Return the multiply-adds of one image of (height, width) through all convolutions and the classifier.

    Of a detector with the heads, for as many proposals and objects as there may be.

    >>> from resnetkit.models.catalog import spec_of
    >>> [round(num_macs(spec_of(name), (224, 224)) / 1e9, 2) for name in ("resnet18", "resnet50")]
    [1.81, 4.09]
    """
    return sum(macs_by_stage(spec, frame).values())


def macs_by_stage(spec: ResNetSpec | DetectorSpec, frame: Frame) -> dict[str, int]:
    """Return what `num_macs` does for the stem, each stage and the head, by their names and in their order.

    >>> list(macs_by_stage(ResNetSpec(blocks=(1, 1)), (32, 32)))
    ['stem', 'layer1', 'layer2', 'head']
    """
    if isinstance(spec, DetectorSpec):
        stages = macs_by_stage(spec.backbone, frame)
        del stages["head"]
        return stages | _of_detector(spec, frame)
    num, frame = _convolved(spec.stem_convolution, frame)
    found = {"stem": num}
    for number, blocks in enumerate(spec.stages, start=1):
        total = 0
        for block in blocks:
            if block.shortcut == "projected":
                total += _convolved(block.projection, frame)[0]
            for each in block.convolutions:
                num, frame = _convolved(each, frame)
                total += num
        found[f"layer{number}"] = total
    return found | {"head": spec.num_features * spec.num_classes}


def _of_detector(spec: DetectorSpec, frame: Frame) -> dict[str, int]:
    """Return the multiply-adds of the pyramid and of all heads."""
    channels, classes, v2 = spec.channels, 1 + spec.num_classes, spec.version == "v2"
    places = [ceil(frame[0] / stride) * ceil(frame[1] / stride) for stride in spec.strides]
    stages = [stage.channels for stage in spec.feature_info if stage.name in spec.levels]
    pyramid = sum(each * channels * (wide + 9 * channels) for each, wide in zip(places, stages, strict=False))
    proposing = sum(places) * channels * (9 * channels * (1 + v2) + 5 * spec.num_anchors)
    pooled = 49 * channels
    box = pooled * 9 * channels * 4 + pooled * spec.box_width if v2 else (pooled + spec.box_width) * spec.box_width
    heads = spec.proposals_after[1] * (box + 5 * classes * spec.box_width)
    if spec.masks:
        wide = spec.mask_channels
        layers = 14**2 * 9 * wide * (channels + wide * (spec.mask_layers - 1))
        heads += spec.detections * (layers + 28**2 * wide * (wide + classes))
    return {"pyramid": pyramid, "head": proposing + heads}


def _convolved(given: Convolution, frame: Frame) -> tuple[int, Frame]:
    """Return the multiply-adds of a convolution and the sides of what it, or the pool after it, puts out."""
    out = given.filters.outputs(frame)
    num = given.filters.size**2 * given.in_channels * given.channels * prod(out)
    return num, given.pool.outputs(out) if given.pool else out
