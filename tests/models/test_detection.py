"""The detector networks, held against torchvision's own."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from resnetkit.errors import DataError, UsageError
from resnetkit.models import catalog
from resnetkit.models.building import without_values
from resnetkit.models.detection.losses import sampled_regions
from resnetkit.models.detection.network import Detector
from resnetkit.models.detection.pooling import RegionPool
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.targets import Placed
from resnetkit.models.detection.trunk import trunk_into
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec

TINY = ResNetSpec(blocks=(1, 1, 1, 1), width=8, num_classes=0)
HEIGHT, WIDTH = 96, 128
LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")


def unlikely(network: nn.Module) -> None:
    """Give a network other statistics than those it begins with, and scores with some objects among them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
    heads: Any = network.roi_heads
    heads.box_predictor.cls_score.weight.data.mul_(0.02)
    heads.box_predictor.bbox_pred.weight.data.mul_(0.1)


@pytest.fixture(scope="module")
def tiny() -> Callable[..., Detector]:
    def build(**changes: Any) -> Detector:
        torch.manual_seed(0)
        spec = DetectorSpec.light(TINY, num_classes=3, masks=changes.pop("masks", True)).changed(**changes)
        network = Detector(spec)
        unlikely(network)
        return network

    return build


def placed(seed: int = 3, **changes: Any) -> Placed:
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, 20:50, 12:40] = masks[1, 30:80, 70:110] = True
    whole = Placed(
        boxes=torch.tensor([[10.0, 12, 50, 60], [64, 20, 120, 90]]), labels=torch.tensor([0, 2]),
        crowd=torch.zeros(2, dtype=torch.bool), masks=masks, seed=seed,
    )  # fmt: skip
    return replace(whole, **changes)


def background(seed: int = 3) -> Placed:
    return Placed(
        boxes=torch.empty(0, 4), labels=torch.empty(0, dtype=torch.int64), crowd=torch.empty(0).bool(), seed=seed
    )


def frozen(network: Detector) -> Detector:
    """Return the network in training, with statistics as they are: pictures do not depend on each other then."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("maskrcnn", "fpn_v2"), pytest.param("fasterrcnn", "fpn", marks=pytest.mark.slow),
        pytest.param("fasterrcnn", "fpn_v2", marks=pytest.mark.slow),
        pytest.param("maskrcnn", "fpn", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_with_torchvisions_weights_it_finds_what_torchvision_finds(kind: str, form: str) -> None:
    torch.manual_seed(0)
    name = f"{kind}_resnet50_{form}"
    theirs = getattr(detection, name)(
        weights=None, weights_backbone=None, num_classes=6, rpn_post_nms_top_n_test=60, rpn_pre_nms_top_n_test=60
    ).eval()
    unlikely(theirs)
    ours = without_values(
        catalog.detector_of(name, num_classes=5, proposals_before=(2000, 60), proposals_after=(2000, 60))
    ).eval()
    state = theirs.state_dict()
    assert {key: value.shape for key, value in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    ours.load_state_dict(state, strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)

    images = torch.randn(2, 3, 128, 160)
    with torch.no_grad():
        features, frames = theirs.backbone(images), [(128, 160)] * 2
        proposals, _ = theirs.rpn(ImageList(images, frames), features)
        wanted, _ = theirs.roi_heads(features, proposals, frames)
        found = ours(images)
    assert found.dtype == torch.float32
    assert found.shape == (2, 100, 6 + 784 * (kind == "maskrcnn"))
    for rows, objects in zip(found, wanted, strict=True):
        num = len(objects["boxes"])
        assert 5 <= num <= 100
        assert torch.equal(rows[:num, :4], objects["boxes"])
        assert torch.equal(rows[:num, 4], objects["scores"])
        assert torch.equal(rows[:num, 5] + 1, objects["labels"].float())
        assert (rows[num:, 5] == -1).all()
        assert not rows[num:, :5].any()
        if kind == "maskrcnn":
            assert torch.equal(rows[:num, 6:], objects["masks"].flatten(1))


def torchvision_losses(network: Detector, images: Tensor, target: Placed) -> dict[str, Tensor]:
    """Return what torchvision's own code makes of one picture, with the same parts and draws."""
    network = copy.deepcopy(network)
    for name in ("box_roi_pool", "mask_roi_pool"):
        setattr(network.roi_heads, name, getattr(network.roi_heads, name).pool)
    said = [{"boxes": target.boxes, "labels": target.labels + 1, "masks": target.masks}]
    features, frames = network.backbone(images), [(HEIGHT, WIDTH)]
    torch.manual_seed(target.seed)
    proposals, losses = network.rpn(ImageList(images, frames), features, said)
    _, more = network.roi_heads(features, proposals, frames, said)
    return losses | more


def test_the_losses_of_a_picture_are_torchvisions(tiny: Callable[..., Detector]) -> None:
    network, images = frozen(tiny()), torch.randn(1, 3, HEIGHT, WIDTH)
    losses = network(images, [placed()])
    assert set(losses) == {*LOSSES, "loss_mask"}
    for name, wanted in torchvision_losses(network, images, placed()).items():
        assert losses[name].shape == (1,)
        assert losses[name][0].item() == pytest.approx(wanted.item(), rel=1e-5), name
        assert wanted > 0


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_losses_of_a_picture_do_not_depend_on_the_others_beside_it(
    tiny: Callable[..., Detector], version: str
) -> None:
    network, images = frozen(tiny(version=version)), torch.randn(3, 3, HEIGHT, WIDTH)
    targets = [placed(1), background(2), placed(5, labels=torch.tensor([1, 1]))]
    torch.manual_seed(17)  # draws elsewhere change nothing
    together = network(images, targets)
    torch.manual_seed(18)
    alone = [network(images[one : one + 1], targets[one : one + 1]) for one in range(3)]
    for name, losses in together.items():
        torch.testing.assert_close(losses, torch.cat([each[name] for each in alone]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [7, 14])
def test_boxes_are_cut_out_in_training_as_torchvision_cuts_them(side: int) -> None:
    pool = RegionPool((4, 8, 16), side).train()
    torch.manual_seed(1)
    sizes = [(70, 100), (35, 50), (18, 25), (9, 13)]
    features = {str(place): torch.randn(2, 4, *size, requires_grad=True) for place, size in enumerate(sizes)}
    corners = torch.rand(60, 2) * torch.tensor([390.0, 270.0])
    drawn = torch.cat([corners, (corners + torch.rand(60, 2) ** 3 * 400).minimum(torch.tensor([400.0, 280.0]))], dim=1)
    edges = torch.tensor([[0.0, 0, 400, 280], [399.5, 279.5, 400, 280], [0, 0, 0.1, 0.1], [-90, -90, -80, -80]])
    boxes = [torch.cat([drawn[:40], edges]), drawn[40:]]
    assert set(pool.pool.map_levels(boxes).tolist()) == {0, 1, 2}
    wanted, found = pool.eval()(features, boxes), pool.train()(features, boxes)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    weight, used = torch.randn_like(wanted), [features[str(place)] for place in range(3)]
    for ours, theirs in zip(
        torch.autograd.grad(found, used, weight), torch.autograd.grad(wanted, used, weight), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert pool(features, [boxes[0][:0]] * 2).shape == (0, 4, side, side)


def test_another_seed_draws_other_samples(tiny: Callable[..., Detector]) -> None:
    network, images = frozen(tiny(box_samples=8)), torch.randn(1, 3, HEIGHT, WIDTH)
    one, same, other = (network(images, [placed(seed)])["loss_classifier"].item() for seed in (1, 1, 2))
    assert one == same != other


def test_a_picture_without_objects_is_background(tiny: Callable[..., Detector]) -> None:
    network = frozen(tiny())
    losses = network(torch.randn(2, 3, HEIGHT, WIDTH), [background(1), background(2)])
    total = sum(loss.sum() for loss in losses.values())
    total.backward()
    assert (losses["loss_objectness"] > 0).all()
    assert (losses["loss_classifier"] > 0).all()
    for name in ("loss_rpn_box_reg", "loss_box_reg", "loss_mask"):
        assert not losses[name].any(), name
    # Processes that share a batch exchange the gradients of all parameters.
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_picture_without_outlines_teaches_no_mask(tiny: Callable[..., Detector]) -> None:
    network, images = frozen(tiny()), torch.randn(2, 3, HEIGHT, WIDTH)
    losses = network(images, [placed(1), placed(1, masks=None)])
    assert losses["loss_mask"][0] > 0
    assert losses["loss_mask"][1] == 0
    half = placed(1)
    assert half.masks is not None
    half.masks[0] = False  # not drawn: it is not taught as empty
    first = network(images[:1], [half])["loss_mask"]
    alone = placed(1, boxes=half.boxes[1:], labels=half.labels[1:], crowd=half.crowd[1:], masks=half.masks[1:])
    # the same regions are around the second object, whatever was sampled of the first
    assert first > 0
    assert network(images[:1], [alone])["loss_mask"] > 0


def test_proposals_are_clipped_to_the_picture_within_its_bars(tiny: Callable[..., Detector]) -> None:
    network, images = frozen(tiny()), torch.randn(1, 3, HEIGHT, WIDTH)
    kept: list[Tensor] = []
    inside = (16.0, 8.0, 112.0, 88.0)
    original = network._proposals
    network._proposals = lambda *given: kept.extend(original(*given)) or kept  # type: ignore[assignment, method-assign]
    network(images, [placed(inside=inside)])
    (boxes,) = kept
    assert len(boxes) > 10
    assert boxes[:, 0].min() == 16
    assert boxes[:, 1].min() == 8
    assert boxes[:, 2].max() == 112
    assert boxes[:, 3].max() == 88


def test_what_lies_in_a_crowd_is_neither_object_nor_background(tiny: Callable[..., Detector]) -> None:
    network = frozen(tiny())
    target = placed(crowd=torch.tensor([False, True]))
    inside, beside = torch.tensor([[70.0, 30, 90, 60]]), torch.tensor([[40.0, 70, 60, 90]])
    (regions,) = sampled_regions(
        network.roi_heads, [torch.cat([inside, beside])], [target], [torch.Generator().manual_seed(0)]
    )
    # what is beside it, and the object itself
    assert regions.boxes.tolist() == [*beside.tolist(), target.boxes[0].tolist()]
    assert regions.labels.tolist() == [0, 1]
    images = torch.randn(1, 3, HEIGHT, WIDTH)
    crowded = network(images, [target])
    single = network(images, [placed(boxes=target.boxes[:1], labels=target.labels[:1], crowd=target.crowd[:1],
                                     masks=target.masks[:1])])  # type: ignore[index]  # fmt: skip
    assert crowded["loss_rpn_box_reg"] > 0
    assert crowded["loss_objectness"] != single["loss_objectness"]  # fewer negatives to draw from


def test_a_picture_that_is_one_crowd_teaches_nothing(tiny: Callable[..., Detector]) -> None:
    whole = Placed(boxes=torch.tensor([[-999.0, -999, 999, 999]]), labels=torch.tensor([0]), crowd=torch.tensor([True]))
    losses = frozen(tiny())(torch.randn(1, 3, HEIGHT, WIDTH), [whole])
    assert all(loss.item() == 0 for loss in losses.values())


@pytest.mark.slow  # where a processor has no bf16 it is emulated
def test_in_bf16_losses_and_objects_are_float32(tiny: Callable[..., Detector]) -> None:
    network, images = frozen(tiny()), torch.randn(1, 3, HEIGHT, WIDTH)
    exact = network(images, [placed()])
    with torch.autocast("cpu", torch.bfloat16):
        losses = network(images, [placed()])
        network.eval()
        with torch.no_grad():
            found = network(images)
    assert found.dtype == torch.float32
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.2), name


def test_parts_that_are_frozen_get_no_gradient_and_the_rest_does(tiny: Callable[..., Detector]) -> None:
    network = frozen(tiny())
    depths = network.depths()
    assert set(depths) == {name for name, _ in network.named_parameters()}
    assert depths["backbone.body.conv1.weight"] == 0
    assert depths["backbone.body.layer4.0.conv1.weight"] == 4
    assert depths["backbone.fpn.inner_blocks.0.0.weight"] == 5
    assert depths["rpn.head.cls_logits.bias"] == depths["roi_heads.mask_head.0.0.weight"] == 6
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(depths[name] > 2)
    sum(loss.sum() for loss in network(torch.randn(1, 3, HEIGHT, WIDTH), [placed()]).values()).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == (depths[name] > 2), name


def test_the_finest_stage_can_be_left_out_of_the_pyramid(tiny: Callable[..., Detector]) -> None:
    network = tiny(levels=("layer2", "layer3", "layer4"), anchor_sizes=((16,), (32,), (64,), (96,)))
    features = network.backbone(torch.randn(1, 3, HEIGHT, WIDTH))
    assert [tuple(each.shape[2:]) for each in features.values()] == [(12, 16), (6, 8), (3, 4), (2, 2)]
    anchors = torch.cat(network._at_anchors(features).anchors)
    assert len(anchors) == 3 * (12 * 16 + 6 * 8 + 3 * 4 + 2 * 2)
    losses = frozen(network)(torch.randn(1, 3, HEIGHT, WIDTH), [placed()])
    assert all(loss.isfinite().all() for loss in losses.values())


def test_anchors_lie_by_the_strides_of_the_network_whatever_the_size(tiny: Callable[..., Detector]) -> None:
    network = tiny()
    at = network._at_anchors(network.backbone(torch.randn(1, 3, 90, 100)))
    for anchors, stride in zip(at.anchors, (4, 8, 16, 32, 64), strict=True):
        middles = (anchors[:, :2] + anchors[:, 2:]) / 2
        assert set((middles % stride).flatten().tolist()) <= {0.0, 0.5, stride - 0.5}


@pytest.mark.slow
def test_a_traced_network_finds_the_same_on_pictures_of_other_sizes(tiny: Callable[..., Detector]) -> None:
    network = tiny().eval()
    with torch.no_grad(), torch.jit.optimized_execution(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.randn(1, 3, HEIGHT, WIDTH), check_trace=False)
        for height, width in ((HEIGHT, WIDTH), (64, 160), (40, 50)):
            images = torch.randn(1, 3, height, width)
            torch.testing.assert_close(traced(images), network(images))
        network.roi_heads.box_predictor.cls_score.bias.data[0] = 1e4
        nothing = network(images)
        assert (nothing[..., 5] == -1).all()
        assert torch.equal(traced(images), nothing)


def test_a_detector_in_training_needs_the_objects(tiny: Callable[..., Detector]) -> None:
    with pytest.raises(UsageError, match=r"reads the objects of each picture beside it"):
        tiny().train()(torch.randn(2, 3, HEIGHT, WIDTH), [placed()])


def test_a_classifiers_trunk_comes_along_and_is_told(tiny: Callable[..., Detector]) -> None:
    torch.manual_seed(5)
    classifier = ResNet(TINY.changed(num_classes=10))
    network = tiny()
    brought = trunk_into(network, classifier.state_dict())
    state = network.body.state_dict()
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in state.items())
    assert set(brought.taken) == set(state)
    assert brought.left == ("fc.weight", "fc.bias")
    assert brought.words == (
        f"stem, layer1, layer2, layer3 and layer4 came along ({len(state)} tensors), fc stayed behind; "
        "pyramid and heads are new"
    )
    images = torch.randn(1, 3, 64, 64)
    theirs = classifier.eval().features(images)
    for name, output in network.eval().features(images).items():
        torch.testing.assert_close(output, theirs[name])
    other = tiny()
    torch.nn.init.normal_(other.body.conv1.weight)
    again = trunk_into(other, network.state_dict())
    assert torch.equal(other.body.conv1.weight, classifier.conv1.weight)
    assert "rpn.head.cls_logits.weight" in again.left


def test_another_networks_trunk_is_refused_and_changes_nothing(tiny: Callable[..., Detector]) -> None:
    network = tiny()
    before = network.body.conv1.weight.clone()
    for spec in (TINY.changed(width=16), TINY.changed(blocks=(1, 1, 1)), TINY.changed(blocks=(1, 1, 1, 2))):
        with pytest.raises(DataError, match="not those of the detector's backbone"):
            trunk_into(network, ResNet(spec).state_dict())
    assert torch.equal(network.body.conv1.weight, before)
