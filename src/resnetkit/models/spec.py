"""What a residual network is: the few numbers that fix every layer of it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple, get_args

from resnetkit.errors import DataError, UsageError, near_miss

BlockName = Literal["basic", "bottleneck", "pooled"]
Stem = Literal["imagenet", "cifar", "whitening"]
Shortcut = Literal["B", "A", "none"]
StridePlacement = Literal["v1.5", "v1"]
Activation = Literal["relu", "gelu"]
Added = Literal["none", "identity", "projected", "padded"]

MAX_STAGES = 4
BOTTLENECK_EXPANSION = 4


class Window(NamedTuple):
    """What a filter or a pooling sees at once, `size` x `size` pixels, how far it moves, and the border around all."""

    size: int
    stride: int = 1
    padding: int = 0

    def outputs(self, frame: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of what comes out for pictures of (height, width).

        >>> Window(7, 2, 3).outputs((224, 33))
        (112, 17)
        """
        height, width = ((side + 2 * self.padding - self.size) // self.stride + 1 for side in frame)
        return height, width


class Convolution(NamedTuple):
    """A convolution, and the max-pool that follows it in some places."""

    in_channels: int
    channels: int
    filters: Window
    pool: Window | None = None


class Block(NamedTuple):
    """The convolutions of a block in order, and what is added: nothing, the input, or it with its shape changed.

    `projection` is the 1x1 convolution that changes it; a padded shortcut has its stride and channels.
    """

    convolutions: tuple[Convolution, ...]
    shortcut: Added
    projection: Convolution


_STEMS: Mapping[Stem, tuple[Window, Window | None]] = {
    "imagenet": (Window(7, 2, 3), Window(3, 2, 1)),
    "cifar": (Window(3, 1, 1), None),
    "whitening": (Window(2), None),
}
# What is added where a block changes the shape of what it reads.
_SHORTCUTS: Mapping[Shortcut, Added] = {"none": "none", "A": "padded", "B": "projected"}


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureInfo:
    """One named stage of `ResNet.features`: its output is `[N, channels, H / stride, W / stride]`, rounded up
    (pooled blocks: (H - 1) / stride, rounded down)."""

    name: str
    stride: int
    channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetSpec:
    """Fix every layer of a ResNet; https://arxiv.org/abs/1512.03385 is "the paper" below.

    - `block`: `basic` (two 3x3), `bottleneck` (1x1, 3x3, 1x1 with four times the channels at its end) or `pooled` (3x3,
      2x2 max-pool, then a 3x3 with the shortcut around it; every stage halves the size, the first as well).
    - `blocks`: blocks per stage, one to four stages; each stage after the first halves the size, doubles the channels.
    - `width`: channels of the stem and of the first stage. Stages of pooled blocks after the first all have four times
      as many, and the maximum before the classifier where the other networks have the mean (`stage_widths`, LOG.md).
    - `widening`: times the channels of a bottleneck's 3x3 (2 in the Wide-ResNets of torchvision).
    - `stem`: `imagenet` (7x7 stride 2, then max-pool), `cifar` (3x3) or `whitening` (2x2, fixed filters that make the
      training pictures' patches uncorrelated, each with its negative; https://arxiv.org/abs/2404.00498).
    - `shortcut`: `B` projects with a 1x1 where the shape changes; `A` subsamples by 2 and pads the new channels with
      zeros, half before and half after (section 4.2 of the paper), so it needs basic blocks; `none` is a plain network.
    - `stride`: a bottleneck halves the size in its 3x3 (`v1.5`, as torchvision) or in its first 1x1 (`v1`, as the
      paper); a basic block always does so in its first 3x3.
    - `activation`: `relu`, as the paper, or `gelu` (https://arxiv.org/abs/1606.08415, exact), everywhere.
    - `num_classes`: outputs of the classifier; 0 is a trunk, which has none and ends with the pooled features.
    """

    block: BlockName = "basic"
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    widening: int = 1
    stem: Stem = "imagenet"
    shortcut: Shortcut = "B"
    stride: StridePlacement = "v1.5"
    activation: Activation = "relu"
    in_channels: int = 3
    num_classes: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        _check_choice("block", self.block, get_args(BlockName))
        _check_choice("stem", self.stem, get_args(Stem))
        _check_choice("shortcut", self.shortcut, get_args(Shortcut))
        _check_choice("stride", self.stride, get_args(StridePlacement))
        _check_choice("activation", self.activation, get_args(Activation))
        for name in ("width", "widening", "in_channels"):
            _check_count(name, getattr(self, name))
        _check_count("num_classes", self.num_classes, least=0)
        if not 1 <= len(self.blocks) <= MAX_STAGES:
            raise UsageError(f"a network has 1 to {MAX_STAGES} stages, not {len(self.blocks)}: blocks={self.blocks}")
        for count in self.blocks:
            _check_count("blocks", count)
        self._check_block()

    def _check_block(self) -> None:
        if self.block != "basic" and self.shortcut == "A":
            raise UsageError("shortcut A needs basic blocks (a bottleneck's first stage adds channels): use shortcut B")
        if self.block != "bottleneck" and self.widening != 1:
            raise UsageError("widening is for bottleneck blocks: make a network of other blocks wider with width")
        if (self.block == "pooled") != (self.stem == "whitening"):
            raise UsageError("pooled blocks and the whitening stem go together: use both or neither")
        if self.block == "pooled" and set(self.blocks) != {1}:
            raise UsageError(f"a stage has one pooled block, not blocks={self.blocks}")

    @property
    def expansion(self) -> int:
        """Output channels of a block as a multiple of its stage's width."""
        return BOTTLENECK_EXPANSION if self.block == "bottleneck" else 1

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of each stage's 3x3 convolutions, before `widening`.

        >>> ResNetSpec().stage_widths, ResNetSpec(block="pooled", blocks=(1, 1, 1), stem="whitening").stage_widths
        ((64, 128, 256, 512), (64, 256, 256))
        """
        if self.block == "pooled":
            return (self.width, *(4 * self.width for _ in self.blocks[1:]))
        return tuple(self.width * 2**i for i in range(len(self.blocks)))

    @property
    def num_layers(self) -> int:
        """The number in the network's name: stem, the blocks' convolutions and the classifier.

        >>> ResNetSpec(block="bottleneck", blocks=(3, 4, 6, 3)).num_layers
        50
        """
        return 2 + sum(self.blocks) * (3 if self.block == "bottleneck" else 2)

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """The stages of `ResNet.features` in order: `stem` (before max-pool), `layer1`, `layer2`, ..."""
        halvings = 1 if self.stem == "imagenet" else 0
        before = 2 * halvings + (self.block == "pooled")
        stem = FeatureInfo(name="stem", stride=2**halvings, channels=self.stem_convolution.channels)
        stages = (
            FeatureInfo(
                name=f"layer{i + 1}",
                stride=2 ** (before + i),
                channels=width * self.expansion,
            )
            for i, width in enumerate(self.stage_widths)
        )
        return (stem, *stages)

    @property
    def stem_convolution(self) -> Convolution:
        """The first convolution: of `width` channels, or under `whitening` of two for each number in a 2x2 patch."""
        channels = 2 * 4 * self.in_channels if self.stem == "whitening" else self.width
        return Convolution(self.in_channels, channels, *_STEMS[self.stem])

    @property
    def stages(self) -> tuple[tuple[Block, ...], ...]:
        """The blocks of each stage.

        >>> [blocks[0].shortcut for blocks in ResNetSpec().stages], ResNetSpec().stages[1][0].convolutions[0].filters
        (['identity', 'projected', 'projected', 'projected'], Window(size=3, stride=2, padding=1))
        """
        stages, in_channels = [], self.stem_convolution.channels
        for stage, (num_blocks, width) in enumerate(zip(self.blocks, self.stage_widths, strict=True)):
            first = self._block(in_channels, width, stride=2 if stage else 1)
            in_channels = width * self.expansion
            stages.append((first, *[self._block(in_channels, width, stride=1)] * (num_blocks - 1)))
        return tuple(stages)

    def _block(self, in_channels: int, width: int, *, stride: int) -> Block:
        first, last = Convolution(in_channels, width, Window(3, stride, 1)), Convolution(width, width, Window(3, 1, 1))
        channels = width * self.expansion
        convolutions: tuple[Convolution, ...] = (first, last)
        if self.block == "bottleneck":
            inner, (stride1, stride2) = width * self.widening, (stride, 1) if self.stride == "v1" else (1, stride)
            convolutions = (
                Convolution(in_channels, inner, Window(1, stride1)),
                Convolution(inner, inner, Window(3, stride2, 1)),
                Convolution(inner, channels, Window(1)),
            )
        if self.block == "pooled":
            convolutions = (Convolution(in_channels, width, Window(3, 1, 1), pool=Window(2, 2)), last)
        kept = self.block == "pooled" or (stride == 1 and in_channels == channels)
        shortcut = "identity" if kept and self.shortcut != "none" else _SHORTCUTS[self.shortcut]
        return Block(convolutions, shortcut, Convolution(in_channels, channels, Window(1, stride)))

    @property
    def num_features(self) -> int:
        """Channels that the classifier reads."""
        return self.feature_info[-1].channels

    def last_side(self, size: int) -> int:
        """Pixels along a side of the last stage's output for pictures of `size` pixels along that side.

        >>> ResNetSpec().last_side(33), ResNetSpec(block="pooled", blocks=(1, 1, 1), stem="whitening").last_side(32)
        (2, 3)
        """
        return self._side(self.feature_info[-1], size)

    def _side(self, stage: FeatureInfo, size: int) -> int:
        return (size - 1) // stage.stride if self.block == "pooled" else -(-size // stage.stride)

    def shape_before(self, stage: str, frame: tuple[int, int]) -> tuple[int, ...]:
        """Return what a stage from `layer2` on reads of a picture: channels, height, width; the `head`: channels.

        >>> ResNetSpec().shape_before("layer4", (224, 224)), ResNetSpec().shape_before("head", (36, 96))
        ((256, 14, 14), (512,))
        """
        if stage == "head":
            return (self.num_features,)
        before = self.feature_info[int(stage.removeprefix("layer")) - 1]
        return (before.channels, *(self._side(before, side) for side in frame))

    @property
    def body(self) -> ResNetSpec:
        """The residual network in a network: here itself."""
        return self

    def changed(self, **changes: Any) -> ResNetSpec:
        """Return a copy with some fields changed; raises `UsageError` for a field there is not."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise UsageError(
                    f"a network has no setting {name!r}{near_miss(name, known)}; settings: {', '.join(known)}"
                )
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        return asdict(self) | {"blocks": list(self.blocks)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ResNetSpec:
        """Read what `to_json` wrote; raises `DataError` for fields this version does not know."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise DataError(
                f"the network's description has unknown fields {sorted(unknown)}: "
                "a newer version wrote it; upgrade resnetkit"
            )
        return cls(**values)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"unknown {name} {value!r}: choose {', '.join(choices)}")


def _check_count(name: str, value: object, *, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
