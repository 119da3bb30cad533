"""What a detector is: the few numbers that fix every layer of it, and how it proposes and decides. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.models.detection.found import BOX, MASK_SIDE
from resnetkit.models.spec import FeatureInfo, ResNetSpec, Stem

Version = Literal["v1", "v2"]
Sizes = tuple[tuple[float, ...], ...]

BODY = "backbone.body."  # what the names of a detector's tensors begin with where they are those of its ResNet
# torchvision's own, for pictures whose shorter side is 800.
COCO_SIZES: Sizes = ((32,), (64,), (128,), (256,), (512,))
_COUNTS = ("num_classes", "channels", "rpn_samples", "box_samples", "box_width", "mask_channels", "mask_layers")
_SHARES = ("proposal_overlap", "least_score", "overlap", "epsilon")
DETECTIONS = 100  # of a picture at most, as COCO counts them
_MOST = 100_000  # proposals, samples and detections: more is a slip


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorSpec:
    """Fix every layer of a Faster R-CNN (https://arxiv.org/abs/1506.01497) with a feature pyramid on a ResNet.

    The defaults are torchvision's. `num_classes` counts what is to be found; background is the network's own business.

    - `backbone`: a ResNet with an ImageNet stem and no classifier. `masks`: Mask R-CNN
      (https://arxiv.org/abs/1703.06870). `version`: `v1`, or torchvision's `v2` (four convolutions and one layer as box
      head, two convolutions that propose, BatchNorm in pyramid and heads; https://arxiv.org/abs/2111.11429).
    - `levels`: stages that feed the pyramid of `channels`, to the last one in a row; `extra`: one more level, the last
      at half the size. Boxes are pooled from all but that one.
    - `anchor_sizes`: for each level the sides of its square anchors in pixels of the frame; `aspect_ratios`: height by
      width of the anchors of each size.
    - `proposals_before`, `proposals_after`: how many proposals of a level go into their suppression, and how many of a
      picture come out, in training and when predicting; `proposal_overlap`: of two that overlap more, one stays.
    - `rpn_samples`, `box_samples`: anchors and proposals of a picture that one training step learns from.
    - `box_width`: features of the box head; `mask_channels`, `mask_layers`: convolutions of the mask head.
    - `detections`: objects of a picture at most; `least_score`: less sure ones are left out; `overlap`: of two of one
      class that overlap more, one stays.
    - `epsilon`: what BatchNorm of the backbone adds to the variances (0 in weights whose variances hold it).
    """

    backbone: ResNetSpec
    num_classes: int = 90
    masks: bool = False
    version: Version = "v1"
    channels: int = 256
    levels: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    extra: bool = True
    anchor_sizes: Sizes = COCO_SIZES
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals_before: tuple[int, int] = (2000, 1000)
    proposals_after: tuple[int, int] = (2000, 1000)
    proposal_overlap: float = 0.7
    rpn_samples: int = 256
    box_samples: int = 512
    box_width: int = 1024
    mask_channels: int = 256
    mask_layers: int = 4
    detections: int = DETECTIONS
    least_score: float = 0.05
    overlap: float = 0.5
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("levels", "aspect_ratios", "proposals_before", "proposals_after"):
            object.__setattr__(self, name, _tuple(name, getattr(self, name)))
        sizes = tuple(_tuple("anchor_sizes", level) for level in _tuple("anchor_sizes", self.anchor_sizes))
        object.__setattr__(self, "anchor_sizes", sizes)
        if self.version not in get_args(Version):
            raise UsageError(f"unknown version {self.version!r}: choose {', '.join(get_args(Version))}")
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        for name in ("proposals_before", "proposals_after"):
            if len(getattr(self, name)) != 2:
                raise UsageError(f"{name} must be two counts, in training and when predicting: {getattr(self, name)!r}")
            for count in getattr(self, name):
                _check_count(name, count)
        _check_count("detections", self.detections, most=1000)
        for name in _SHARES:
            if not _is_number(value := getattr(self, name)) or not 0 <= value <= 1:
                raise UsageError(f"{name} must be a number between 0 and 1, not {value!r:.40}")
        for name in ("masks", "extra"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} must be true or false, not {getattr(self, name)!r:.40}")
        self._check_backbone()
        self._check_anchors()

    def _check_backbone(self) -> None:
        if self.backbone.stem != "imagenet":
            raise UsageError(
                f"a detector needs a network with an ImageNet stem, and this one has the stem {self.backbone.stem!r}: "
                "choose resnet18, resnet_2223 or another of that family"
            )
        if self.backbone.num_classes:
            raise UsageError(f"a detector's backbone has no classifier: num_classes=0, not {self.backbone.num_classes}")
        stages = tuple(stage.name for stage in self.backbone.feature_info[1:])
        if not self.levels or self.levels != stages[-len(self.levels) :]:
            raise UsageError(
                f"levels must be stages in a row up to {stages[-1]}, not {', '.join(map(str, self.levels))}"
            )

    def _check_anchors(self) -> None:
        if len(self.anchor_sizes) != self.num_levels:
            raise UsageError(f"anchor_sizes must be given for {self.num_levels} levels, not {len(self.anchor_sizes)}")
        if len({len(level) for level in self.anchor_sizes}) != 1 or not self.anchor_sizes[0] or not self.aspect_ratios:
            raise UsageError("each level must have as many anchor sizes as the others, one at least, and aspect ratios")
        for name, values in (("anchor_sizes", sum(self.anchor_sizes, ())), ("aspect_ratios", self.aspect_ratios)):
            for value in values:
                if not _is_number(value) or not 0 < value < _MOST:
                    raise UsageError(f"{name} must be numbers above 0, not {value!r:.40}")

    @classmethod
    def light(
        cls,
        backbone: ResNetSpec,
        *,
        num_classes: int,
        masks: bool = False,
        anchor_sizes: Sequence[Sequence[float]] | None = None,
        levels: Sequence[str] | None = None,
    ) -> DetectorSpec:
        """Return a detector that trains and predicts on a CPU: a pyramid of 128 channels, few proposals, small heads.

        Made for pictures of 320 to 416 pixels. `levels`: all stages, or without the finest one where no object is small
        (`anchors.for_boxes` chooses these and the sizes).
        """
        stages = [stage.name for stage in backbone.feature_info[1:]]
        levels = tuple(stages if levels is None else levels)
        if anchor_sizes is None:
            anchor_sizes = [[2.0 ** (2 + len(stages) - len(levels) + place) * 4] for place in range(len(levels) + 1)]
        return cls(
            backbone=backbone.changed(num_classes=0),
            num_classes=num_classes,
            masks=masks,
            channels=128,
            levels=levels,
            anchor_sizes=tuple(tuple(level) for level in anchor_sizes),
            proposals_before=(500, 500),
            proposals_after=(300, 300),
            box_samples=128,
            box_width=512,
            mask_channels=128,
        )

    @property
    def body(self) -> ResNetSpec:
        """The residual network under the pyramid."""
        return self.backbone

    @property
    def in_channels(self) -> int:
        """Channels of the pictures."""
        return self.backbone.in_channels

    @property
    def stem(self) -> Stem:
        """The stem of the backbone."""
        return self.backbone.stem

    @property
    def num_layers(self) -> int:
        """The number in the name of the backbone."""
        return self.backbone.num_layers

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """The stages of the backbone."""
        return self.backbone.feature_info

    @property
    def num_levels(self) -> int:
        """Levels that anchors lie on."""
        return len(self.levels) + self.extra

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the frame from one place to the next on each level.

        >>> DetectorSpec(backbone=ResNetSpec(num_classes=0)).strides
        (4, 8, 16, 32, 64)
        """
        strides = [stage.stride for stage in self.feature_info if stage.name in self.levels]
        return (*strides, *([2 * strides[-1]] if self.extra else []))

    @property
    def num_anchors(self) -> int:
        """Anchors at one place of a level."""
        return len(self.anchor_sizes[0]) * len(self.aspect_ratios)

    @property
    def num_outputs(self) -> int:
        """Numbers that say one object: left, top, right, bottom, score, class and the mask's probabilities."""
        return BOX + self.masks * MASK_SIDE**2

    @property
    def bound(self) -> Mapping[str, list[int] | None]:
        """Shapes of tensors beyond the backbone's that bind every size of the detector; None: there is no such one."""
        channels, classes, levels = self.channels, 1 + self.num_classes, len(self.levels)
        pyramid, masks = "backbone.fpn.inner_blocks", "roi_heads.mask_predictor.mask_fcn_logits.weight"
        last_mask = f"roi_heads.mask_head.{self.mask_layers - 1}.{1 if self.version == 'v2' else 0}.bias"
        return {
            f"{pyramid}.{levels - 1}.0.weight": [channels, self.backbone.num_features, 1, 1],
            f"{pyramid}.{levels}.0.weight": None,
            f"{pyramid}.0.1.weight": [channels] if self.version == "v2" else None,
            "rpn.head.cls_logits.weight": [self.num_anchors, channels, 1, 1],
            "roi_heads.box_predictor.cls_score.weight": [classes, self.box_width],
            masks: [classes, self.mask_channels, 1, 1] if self.masks else None,
            **({last_mask: [self.mask_channels]} if self.masks else {}),
        }

    def changed(self, **changes: Any) -> DetectorSpec:
        """Return a copy with some fields changed; raises `UsageError` for a field there is not."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise UsageError(
                    f"a detector has no setting {name!r}{near_miss(name, known)}; settings: {', '.join(known)}"
                )
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        plain = {name: _listed(value) for name, value in asdict(self).items()}
        return plain | {"backbone": self.backbone.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """Read what `to_json` wrote; raises `DataError` for fields this version does not know."""
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise DataError(
                f"the network's description has unknown fields {sorted(unknown)}: "
                "a newer version wrote it; upgrade resnetkit"
            )
        if not isinstance(values.get("backbone"), Mapping):
            raise DataError("the network's description has no backbone: make it again")
        return cls(**{**values, "backbone": ResNetSpec.from_json(dict(values["backbone"]))})


def _tuple(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{name} must be a list, not {value!r:.40}")
    return tuple(value)


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: object, *, most: int = _MOST) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise UsageError(f"{name} must be a whole number from 1 to {most}, not {value!r:.40}")


def trunk_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of the residual network in those of a detector, by its own names; none of another network."""
    return {name.removeprefix(BODY): value for name, value in state.items() if name.startswith(BODY)}
