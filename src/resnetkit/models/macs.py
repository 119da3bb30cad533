"""How much a network computes, from its description alone. Needs no torch."""

from __future__ import annotations

from resnetkit.models.spec import ResNetSpec


def num_macs(spec: ResNetSpec, size: int) -> int:
    """Return the multiply-adds of one `size` x `size` image through all convolutions and the classifier.

    >>> from resnetkit.models.catalog import spec_of
    >>> [round(num_macs(spec_of(name), 224) / 1e9, 2) for name in ("resnet18", "resnet50")]
    [1.81, 4.09]
    """
    return sum(macs_by_stage(spec, size).values())


def macs_by_stage(spec: ResNetSpec, size: int) -> dict[str, int]:
    """Return what `num_macs` does for the stem, each stage and the head, by their names and in their order.

    >>> list(macs_by_stage(ResNetSpec(blocks=(1, 1)), 32))
    ['stem', 'layer1', 'layer2', 'head']
    """
    stem, side = _stem(spec, size)
    found, in_channels = {"stem": stem}, spec.stem_channels
    for stage, (num_blocks, width) in enumerate(zip(spec.blocks, spec.stage_widths, strict=True)):
        total = 0
        for block in range(num_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            count, side = _block(spec, in_channels, width, side, stride=stride)
            in_channels = width * spec.expansion
            total += count
        found[f"layer{stage + 1}"] = total
    return found | {"head": in_channels * spec.num_classes}


def _stem(spec: ResNetSpec, size: int) -> tuple[int, int]:
    """Return the multiply-adds of the stem and the side of what it puts out."""
    if spec.stem == "whitening":
        return 4 * spec.in_channels * spec.stem_channels * (size - 1) ** 2, size - 1
    if spec.stem == "cifar":
        return 9 * spec.in_channels * spec.width * size**2, size
    side = -(-size // 2)
    return 49 * spec.in_channels * spec.width * side**2, -(-side // 2)


def _block(spec: ResNetSpec, in_channels: int, width: int, side: int, *, stride: int) -> tuple[int, int]:
    if spec.block == "pooled":
        half = side // 2
        return 9 * in_channels * width * side**2 + 9 * width * width * half**2, half
    out_channels, out = width * spec.expansion, -(-side // stride)
    projected = spec.shortcut == "B" and (stride != 1 or in_channels != out_channels)
    shortcut = in_channels * out_channels * out**2 if projected else 0
    if spec.block == "basic":
        return 9 * in_channels * width * out**2 + 9 * width * width * out**2 + shortcut, out
    inner, first = width * spec.widening, out if spec.stride == "v1" else side
    convolutions = in_channels * inner * first**2 + 9 * inner * inner * out**2 + inner * out_channels * out**2
    return convolutions + shortcut, out
