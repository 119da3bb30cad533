"""How much a network computes, from its description alone. Needs no torch."""

from __future__ import annotations

from math import prod

from resnetkit.models.spec import ResNetSpec

Frame = tuple[int, int]


def num_macs(spec: ResNetSpec, frame: Frame) -> int:
    """Return the multiply-adds of one image of (height, width) through all convolutions and the classifier.

    >>> from resnetkit.models.catalog import spec_of
    >>> [round(num_macs(spec_of(name), (224, 224)) / 1e9, 2) for name in ("resnet18", "resnet50")]
    [1.81, 4.09]
    """
    return sum(macs_by_stage(spec, frame).values())


def macs_by_stage(spec: ResNetSpec, frame: Frame) -> dict[str, int]:
    """Return what `num_macs` does for the stem, each stage and the head, by their names and in their order.

    >>> list(macs_by_stage(ResNetSpec(blocks=(1, 1)), (32, 32)))
    ['stem', 'layer1', 'layer2', 'head']
    """
    stem, sides = _stem(spec, frame)
    found, in_channels = {"stem": stem}, spec.stem_channels
    for stage, (num_blocks, width) in enumerate(zip(spec.blocks, spec.stage_widths, strict=True)):
        total = 0
        for block in range(num_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            count, sides = _block(spec, in_channels, width, sides, stride=stride)
            in_channels = width * spec.expansion
            total += count
        found[f"layer{stage + 1}"] = total
    return found | {"head": in_channels * spec.num_classes}


def _stem(spec: ResNetSpec, frame: Frame) -> tuple[int, Frame]:
    """Return the multiply-adds of the stem and the sides of what it puts out."""
    if spec.stem == "whitening":
        smaller = frame[0] - 1, frame[1] - 1
        return 4 * spec.in_channels * spec.stem_channels * prod(smaller), smaller
    if spec.stem == "cifar":
        return 9 * spec.in_channels * spec.width * prod(frame), frame
    half = _divided(frame, 2)
    return 49 * spec.in_channels * spec.width * prod(half), _divided(half, 2)


def _divided(frame: Frame, stride: int) -> Frame:
    return -(-frame[0] // stride), -(-frame[1] // stride)


def _block(spec: ResNetSpec, in_channels: int, width: int, frame: Frame, *, stride: int) -> tuple[int, Frame]:
    if spec.block == "pooled":
        half = frame[0] // 2, frame[1] // 2
        return 9 * in_channels * width * prod(frame) + 9 * width * width * prod(half), half
    out_channels, out = width * spec.expansion, _divided(frame, stride)
    area = prod(out)
    projected = spec.shortcut == "B" and (stride != 1 or in_channels != out_channels)
    shortcut = in_channels * out_channels * area if projected else 0
    if spec.block == "basic":
        return 9 * in_channels * width * area + 9 * width * width * area + shortcut, out
    inner, first = width * spec.widening, area if spec.stride == "v1" else prod(frame)
    convolutions = in_channels * inner * first + 9 * inner * inner * area + inner * out_channels * area
    return convolutions + shortcut, out
