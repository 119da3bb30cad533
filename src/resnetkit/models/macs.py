"""How much a network computes, from its description alone. Needs no torch."""

from __future__ import annotations

from math import prod

from resnetkit.models.spec import Convolution, ResNetSpec

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


def _convolved(given: Convolution, frame: Frame) -> tuple[int, Frame]:
    """Return the multiply-adds of a convolution and the sides of what it, or the pool after it, puts out."""
    out = given.filters.outputs(frame)
    num = given.filters.size**2 * given.in_channels * given.channels * prod(out)
    return num, given.pool.outputs(out) if given.pool else out
