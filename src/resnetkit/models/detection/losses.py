"""What a detector learns: the losses of Faster R-CNN and Mask R-CNN, one number for each picture.

They are torchvision's for a batch of one picture. Each is normalised within its picture and draws its samples from the
picture's own seed, so that batches, micro-batches and processes may be cut in any way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_area, roi_align

from resnetkit.models.detection.targets import Placed

_BETA = 1 / 9  # where the loss of boxes turns from squares to lines, as in torchvision
_IN_CROWD = 0.5  # from this share of its area in a crowd region on, a box is neither object nor background
_IGNORED = -1


class Regions(NamedTuple):
    """The proposals of one picture that a step learns from: boxes, classes (0 is background) and what they shall be.

    `objects`: the object that each is held against; `offsets` lead from the box to that.
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor
    offsets: Tensor


def generators(placed: Sequence[Placed]) -> list[torch.Generator]:
    """Return what draws the samples of each picture."""
    return [torch.Generator().manual_seed(each.seed) for each in placed]


def proposal_losses(
    rpn: RegionProposalNetwork,
    objectness: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    placed: Sequence[Placed],
    draws: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Return the losses of `[N, A]` objectness and `[N, A, 4]` offsets of `[A, 4]` anchors, two of `[N]`."""
    losses = []
    for number, (each, draw) in enumerate(zip(placed, draws, strict=True)):
        boxes = each.objects().boxes
        (labels,), (matched,) = rpn.assign_targets_to_anchors([anchors], [{"boxes": boxes}])
        _ignore_crowd(labels, anchors, each)
        positive, negative = _sample(
            labels, rpn.fg_bg_sampler.batch_size_per_image, rpn.fg_bg_sampler.positive_fraction, draw
        )
        sampled = torch.cat([positive, negative])
        wanted = rpn.box_coder.encode_single(matched[positive], anchors[positive])
        losses.append(
            (
                F.binary_cross_entropy_with_logits(objectness[number, sampled], labels[sampled], reduction="sum"),
                F.smooth_l1_loss(offsets[number, positive], wanted, beta=_BETA, reduction="sum"),
                len(sampled),
            )
        )
    return _per_picture([loss for loss, _, _ in losses], [count for *_, count in losses]), _per_picture(
        [loss for _, loss, _ in losses], [count for *_, count in losses]
    )


def sampled_regions(
    heads: RoIHeads, proposals: Sequence[Tensor], placed: Sequence[Placed], draws: Sequence[torch.Generator]
) -> list[Regions]:
    """Return the proposals of each picture, and its objects themselves, that the heads learn from."""
    regions = []
    for boxes, each, draw in zip(proposals, placed, draws, strict=True):
        objects = each.objects()
        boxes = torch.cat([boxes, objects.boxes])
        # to the heads class 0 is background
        (matched,), (labels,) = heads.assign_targets_to_proposals([boxes], [objects.boxes], [objects.labels + 1])
        _ignore_crowd(labels, boxes, each)
        sampler = heads.fg_bg_sampler
        kept = torch.cat(_sample(labels, sampler.batch_size_per_image, sampler.positive_fraction, draw)).sort().values
        boxes, labels, matched = boxes[kept], labels[kept], matched[kept]
        targets = objects.boxes[matched] if len(objects) else boxes
        regions.append(Regions(boxes, labels, matched, heads.box_coder.encode_single(targets, boxes)))
    return regions


def box_losses(logits: Tensor, offsets: Tensor, regions: Sequence[Regions]) -> tuple[Tensor, Tensor]:
    """Return the losses of `[R, 1 + K]` logits and `[R, 4 (1 + K)]` offsets of all pictures' regions, two of `[N]`."""
    counts = [len(each.labels) for each in regions]
    labels, wanted = torch.cat([each.labels for each in regions]), torch.cat([each.offsets for each in regions])
    classes = F.cross_entropy(logits, labels, reduction="none")
    own = offsets.reshape(*logits.shape, 4)[torch.arange(len(labels), device=labels.device), labels]
    boxes = F.smooth_l1_loss(own, wanted, beta=_BETA, reduction="none").sum(dim=1) * (labels > 0)
    return tuple(_per_picture([part.sum() for part in loss.split(counts)], counts) for loss in (classes, boxes))  # type: ignore[return-value]


def outlined(regions: Sequence[Regions], placed: Sequence[Placed]) -> list[Regions]:
    """Return the regions of each picture that show an object whose pixels are known: they teach masks."""
    found = []
    for each, where in zip(regions, placed, strict=True):
        kept = each.labels > 0
        if where.masks is None:
            kept = torch.zeros_like(kept)
        elif len(objects := where.objects()):
            kept &= objects.masks.flatten(1).any(dim=1)[each.objects]  # type: ignore[union-attr]
        found.append(Regions(*(part[kept] for part in each)))
    return found


def mask_loss(logits: Tensor, regions: Sequence[Regions], placed: Sequence[Placed]) -> Tensor:
    """Return the loss of `[R, 1 + K, 28, 28]` logits of all pictures' outlined regions, `[N]`."""
    losses, side = [], logits.shape[-1]
    for part, each, where in zip(logits.split([len(each.labels) for each in regions]), regions, placed, strict=True):
        if not len(each.labels):
            losses.append(part.sum())
            continue
        masks = where.objects().masks
        assert masks is not None
        rois = torch.cat([each.objects[:, None].to(each.boxes), each.boxes], dim=1)
        wanted = roi_align(masks[:, None].to(rois), rois, (side, side), 1.0)[:, 0]
        own = part[torch.arange(len(part), device=part.device), each.labels]
        losses.append(F.binary_cross_entropy_with_logits(own, wanted))
    return torch.stack(losses)


def nothing_of(module: nn.Module, like: Tensor) -> Tensor:
    """Return a loss of 0 that depends on all parameters of a module: each then has a gradient, as in other steps."""
    total = like.new_zeros(())
    for parameter in module.parameters():
        if parameter.requires_grad:
            total = total + 0.0 * parameter.sum()
    return total


def _sample(labels: Tensor, most: int, share: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return which of positive (1 and above) and negative (0) boxes are sampled, each in their order."""
    positive, negative = torch.where(labels >= 1)[0], torch.where(labels == 0)[0]
    num_positive = min(len(positive), int(most * share))
    num_negative = min(len(negative), most - num_positive)
    # Drawn on the CPU, so that every device draws the same.
    one, other = (torch.randperm(len(each), generator=draw) for each in (positive, negative))
    chosen = (one[:num_positive].sort().values, other[:num_negative].sort().values)
    return positive[chosen[0].to(labels.device)], negative[chosen[1].to(labels.device)]


def _ignore_crowd(labels: Tensor, boxes: Tensor, placed: Placed) -> None:
    """Mark boxes within a crowd region as neither object nor background, but for those that match an object."""
    if not placed.crowd.any():
        return
    crowd = placed.boxes[placed.crowd]
    low = torch.maximum(boxes[:, None, :2], crowd[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], crowd[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2) / box_area(boxes)[:, None]
    labels[(labels == 0) & (shared > _IN_CROWD).any(dim=1)] = _IGNORED


def _per_picture(sums: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    return torch.stack([total / max(count, 1) for total, count in zip(sums, counts, strict=True)])
