"""Faster R-CNN and Mask R-CNN with a feature pyramid, on the ResNet of this package, by torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import batched_nms, remove_small_boxes
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from resnetkit.errors import UsageError
from resnetkit.models.detection.found import MASK_SIDE
from resnetkit.models.detection.losses import (
    box_losses,
    generators,
    mask_loss,
    nothing_of,
    outlined,
    proposal_losses,
    sampled_regions,
)
from resnetkit.models.detection.pooling import RegionPool
from resnetkit.models.detection.spec import BODY, DetectorSpec
from resnetkit.models.detection.targets import Placed
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import FeatureInfo

_BOX_SIDE = 7
# Boxes that are as good as empty, in pixels: proposals and objects, as in torchvision.
_LEAST_PROPOSAL, _LEAST_OBJECT = 1e-3, 1e-2


class AtAnchors(NamedTuple):
    """Of each level `[N, A]` objectness and `[N, A, 4]` offsets, both float32, and the `[A, 4]` anchors."""

    objectness: list[Tensor]
    offsets: list[Tensor]
    anchors: list[Tensor]


class Pyramid(nn.Module):
    """A ResNet and the feature pyramid on it (https://arxiv.org/abs/1612.03144): levels of as many channels each."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.levels = spec.levels
        self.body = ResNet(spec.backbone)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = spec.epsilon
        self.fpn = FeaturePyramidNetwork(
            [stage.channels for stage in spec.feature_info if stage.name in spec.levels],
            spec.channels,
            extra_blocks=LastLevelMaxPool() if spec.extra else None,
            norm_layer=_norm(spec),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map `[N, C, H, W]` to `[N, channels, H / stride, W / stride]` of each level, the finest first."""
        stages = self.body.features(images)
        return self.fpn({str(number): stages[name] for number, name in enumerate(self.levels)})


class Detector(nn.Module):
    """The network a `DetectorSpec` describes, with torchvision's parameter names.

    Objects have the numbers of their class from 0; background, torchvision's class 0, stays inside.
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Pyramid(spec)
        self.rpn = _rpn(spec)
        self.roi_heads = _heads(spec)

    @property
    def body(self) -> ResNet:
        """The ResNet under the pyramid."""
        return self.backbone.body

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """Name, stride and channels of each stage of `features`."""
        return self.spec.feature_info

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Map images to the output of each stage of the ResNet, by its name."""
        return self.body.features(images)

    def depths(self) -> dict[str, int]:
        """Return how deep each parameter lies: 0 in the stem, 1, 2, ... in the stages, then pyramid, then heads."""
        stages, inside = len(self.spec.backbone.blocks), self.body.depths()
        depth = {"backbone": stages + 1, "rpn": stages + 2, "roi_heads": stages + 2}
        return {
            name: inside[name.removeprefix(BODY)] if name.startswith(BODY) else depth[name.split(".")[0]]
            for name, _ in self.named_parameters()
        }

    def forward(self, images: Tensor, targets: Sequence[Placed] | None = None) -> Tensor | dict[str, Tensor]:
        """Map normalised images `[N, C, H, W]` of one frame to the objects on them; in training, to named losses `[N]`.

        Objects: float32 `[N, detections, 6 (+ 784)]`: left, top, right, bottom in pixels of the frame, score, class,
        and the probabilities of a mask of 28 x 28 within the box; the surest first. Rows of no object are 0, their
        class -1. Losses: `loss_objectness`, `loss_rpn_box_reg`, `loss_classifier`, `loss_box_reg` (and `loss_mask`).
        """
        if not self.training:
            return self._objects(images)
        if targets is None or len(targets) != len(images):
            raise UsageError("a detector in training reads the objects of each picture beside it: network.eval()?")
        return self._losses(images, targets)

    def _losses(self, images: Tensor, placed: Sequence[Placed]) -> dict[str, Tensor]:
        features = self.backbone(images)
        given = self._at_anchors(features)
        draws, heads = generators(placed), self.roi_heads
        objectness, offsets = torch.cat(given.objectness, dim=1), torch.cat(given.offsets, dim=1)
        found = proposal_losses(self.rpn, objectness, offsets, torch.cat(given.anchors), placed, draws)
        losses = dict(zip(("loss_objectness", "loss_rpn_box_reg"), found, strict=True))
        whole = _frame(images)
        inside = [whole if each.inside is None else whole.new_tensor(each.inside) for each in placed]
        with torch.no_grad():
            proposals = self._proposals(given, inside)
            regions = sampled_regions(heads, proposals, placed, draws)
        found = box_losses(*self._classified(features, [each.boxes for each in regions]), regions)
        losses |= zip(("loss_classifier", "loss_box_reg"), found, strict=True)
        if self.spec.masks:
            shown = outlined(regions, placed)
            if sum(len(each.labels) for each in shown):
                losses["loss_mask"] = mask_loss(self._masked(features, [each.boxes for each in shown]), shown, placed)
            else:
                nothing = nothing_of(heads.mask_head, images.float()) + nothing_of(heads.mask_predictor, images.float())
                losses["loss_mask"] = nothing.expand(len(images))
        return losses

    def _objects(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        frame = _frame(images)
        proposals = self._proposals(self._at_anchors(features), [frame] * len(images))
        logits, offsets = self._classified(features, proposals)
        boxes = self.roi_heads.box_coder.decode_single(offsets, torch.cat(proposals))
        boxes, scores = boxes.reshape(-1, logits.shape[1], 4), logits.softmax(dim=1)
        counts = [each.shape[0] for each in proposals]
        kept = [self._kept(*one, frame) for one in zip(boxes.split(counts), scores.split(counts), strict=True)]
        rows = [torch.cat([where, sure[:, None], label[:, None].to(where)], dim=1) for where, sure, label in kept]
        if self.spec.masks:
            masks = self._masked(features, [where for where, _, _ in kept]).sigmoid()
            labels = torch.cat([label for *_, label in kept])
            own = masks.flatten(2).gather(1, (labels + 1)[:, None, None].expand(-1, 1, MASK_SIDE**2))[:, 0]
            rows = [
                torch.cat(each, dim=1) for each in zip(rows, own.split([row.shape[0] for row in rows]), strict=True)
            ]
        return torch.stack([self._filled(each) for each in rows])

    def _at_anchors(self, features: dict[str, Tensor]) -> AtAnchors:
        levels = list(features.values())
        objectness, offsets = self.rpn.head(levels)
        num, per_place = levels[0].shape[0], self.spec.num_anchors
        generator = self.rpn.anchor_generator
        generator.set_cell_anchors(torch.float32, levels[0].device)
        strides = [[stride, stride] for stride in self.spec.strides]
        # The order is torchvision's: rows, columns, anchors at a place.
        return AtAnchors(
            [each.permute(0, 2, 3, 1).reshape(num, -1).float() for each in objectness],
            [each.unflatten(1, (per_place, 4)).permute(0, 3, 4, 1, 2).reshape(num, -1, 4).float() for each in offsets],
            generator.grid_anchors([each.shape[-2:] for each in levels], strides),
        )

    def _proposals(self, given: AtAnchors, inside: Sequence[Tensor]) -> list[Tensor]:
        """Return boxes that may hold an object, `[P, 4]` of each picture, the surest first."""
        when = 0 if self.training else 1
        before, after = self.spec.proposals_before[when], self.spec.proposals_after[when]
        parts = []
        for number, (objectness, offsets, anchors) in enumerate(zip(*given, strict=True)):
            objectness, places = objectness.detach().topk(_at_most(before, objectness.shape[1]), dim=1)
            moved = offsets.detach().gather(1, places[:, :, None].expand(-1, -1, 4))
            parts.append((objectness, moved, anchors[places], torch.full_like(places, number)))
        proposals = []
        for sure, moved, where, level, limits in zip(*(torch.cat(part, dim=1) for part in zip(*parts)), inside):  # noqa: B905
            boxes = _clipped(self.rpn.box_coder.decode_single(moved, where), limits)
            kept = remove_small_boxes(boxes, _LEAST_PROPOSAL)
            boxes, scores = boxes[kept], sure[kept].sigmoid()
            proposals.append(boxes[batched_nms(boxes, scores, level[kept], self.spec.proposal_overlap)[:after]])
        return proposals

    def _classified(self, features: dict[str, Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits `[R, 1 + K]` and offsets `[R, 4 * (1 + K)]` of all pictures' boxes, float32."""
        heads = self.roi_heads
        logits, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, boxes)))
        return logits.float(), offsets.float()

    def _masked(self, features: dict[str, Tensor], boxes: list[Tensor]) -> Tensor:
        """Return the logits of masks of all pictures' boxes, `[R, 1 + K, 28, 28]` float32."""
        heads = self.roi_heads
        return heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes))).float()

    def _kept(self, boxes: Tensor, scores: Tensor, frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, scores and classes of what of one picture's `[P, 1 + K]` scores is sure and not there twice."""
        num_classes = scores.shape[1] - 1
        labels = torch.arange(num_classes, device=scores.device).expand(scores.shape[0], -1).reshape(-1)
        boxes, scores = _clipped(boxes[:, 1:].reshape(-1, 4), frame), scores[:, 1:].reshape(-1)
        kept = torch.where(scores > self.spec.least_score)[0]
        kept = kept[remove_small_boxes(boxes[kept], _LEAST_OBJECT)]
        kept = kept[batched_nms(boxes[kept], scores[kept], labels[kept], self.spec.overlap)[: self.spec.detections]]
        return boxes[kept], scores[kept], labels[kept]

    def _filled(self, rows: Tensor) -> Tensor:
        """Return as many rows as there may be objects, those that follow the objects without a class."""
        empty = rows.new_zeros(self.spec.detections, self.spec.num_outputs)
        empty[:, 5] = -1
        return torch.cat([rows, empty])[: self.spec.detections]


def _rpn(spec: DetectorSpec) -> RegionProposalNetwork:
    depth = 2 if spec.version == "v2" else 1
    return RegionProposalNetwork(
        AnchorGenerator(spec.anchor_sizes, (spec.aspect_ratios,) * spec.num_levels),
        RPNHead(spec.channels, spec.num_anchors, conv_depth=depth),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=spec.rpn_samples,
        positive_fraction=0.5,
        pre_nms_top_n=dict(zip(("training", "testing"), spec.proposals_before, strict=True)),
        post_nms_top_n=dict(zip(("training", "testing"), spec.proposals_after, strict=True)),
        nms_thresh=spec.proposal_overlap,
    )


def _heads(spec: DetectorSpec) -> RoIHeads:
    channels, classes = spec.channels, 1 + spec.num_classes
    if spec.version == "v2":
        box_head: nn.Module = FastRCNNConvFCHead(
            (channels, _BOX_SIDE, _BOX_SIDE), [channels] * 4, [spec.box_width], norm_layer=_norm(spec)
        )
    else:
        box_head = TwoMLPHead(channels * _BOX_SIDE**2, spec.box_width)
    heads = RoIHeads(
        RegionPool(spec.strides[: len(spec.levels)], _BOX_SIDE),
        box_head,
        FastRCNNPredictor(spec.box_width, classes),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=spec.box_samples,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=spec.least_score,
        nms_thresh=spec.overlap,
        detections_per_img=spec.detections,
    )
    if spec.masks:
        layers = [spec.mask_channels] * spec.mask_layers
        heads.mask_roi_pool = RegionPool(spec.strides[: len(spec.levels)], MASK_SIDE // 2)
        heads.mask_head = MaskRCNNHeads(channels, layers, 1, norm_layer=_norm(spec))
        heads.mask_predictor = MaskRCNNPredictor(spec.mask_channels, spec.mask_channels, classes)
    return heads


def _norm(spec: DetectorSpec) -> type[nn.Module] | None:
    return nn.BatchNorm2d if spec.version == "v2" else None


def _frame(images: Tensor) -> Tensor:
    """Return the box of the whole frame; its size is read from the images when the network is traced, too."""
    height, width = (torch.as_tensor(side, device=images.device) for side in images.shape[-2:])
    return torch.stack([torch.zeros_like(width), torch.zeros_like(width), width, height]).float()


def _at_most(count: int, there: int) -> int:
    """Return the smaller of the two; while the network is traced, `there` is a tensor, and so is what is returned."""
    if not torch.jit.is_tracing():
        return min(count, there)
    return torch.tensor(count).minimum(torch.as_tensor(there))  # type: ignore[return-value]


def _clipped(boxes: Tensor, limits: Tensor) -> Tensor:
    """Return the parts of boxes `[B, 4]` within a box `[4]`."""
    return boxes.maximum(limits[:2].repeat(2)).minimum(limits[2:].repeat(2))
