import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resnetkit.errors import DataError, UsageError
from resnetkit.models import catalog
from resnetkit.models.catalog import detector_of, spec_of
from resnetkit.models.detection.anchors import for_boxes
from resnetkit.models.detection.names import named
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.macs import macs_by_stage, num_macs
from resnetkit.models.spec import ResNetSpec

RESNET18 = spec_of("resnet18", num_classes=0)
STAGES = RESNET18.feature_info


@pytest.mark.parametrize("name", ["maskrcnn_resnet18_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_plain18_light"])
def test_a_spec_survives_its_json(name: str) -> None:
    spec = detector_of(name, num_classes=4, aspect_ratios=(0.2, 1, 5))
    assert DetectorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_spec_of_a_newer_version_is_refused() -> None:
    values = detector_of("fasterrcnn_resnet18_fpn").to_json()
    with pytest.raises(DataError, match=r"unknown fields \['neck'\]: a newer version wrote it"):
        DetectorSpec.from_json(values | {"neck": "pan"})
    with pytest.raises(DataError, match="has no backbone"):
        DetectorSpec.from_json(values | {"backbone": "resnet18"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number from 1"),
        ({"detections": 10**6}, "detections must be a whole number from 1 to 1000"),
        ({"channels": 2.5}, "channels must be a whole number"),
        ({"overlap": 1.5}, "overlap must be a number between 0 and 1"),
        ({"masks": "yes"}, "masks must be true or false"),
        ({"version": "v3"}, "unknown version 'v3': choose v1, v2"),
        ({"levels": ("layer1", "layer3", "layer4")}, "levels must be stages in a row up to layer4"),
        ({"levels": "layer4"}, "levels must be a list"),
        ({"anchor_sizes": ((32,),)}, "anchor_sizes must be given for 5 levels, not 1"),
        ({"anchor_sizes": ((8, 16), (32,), (64,), (128,), (256,))}, "each level must have as many anchor sizes"),
        ({"anchor_sizes": ((-8,), (32,), (64,), (128,), (256,))}, "anchor_sizes must be numbers above 0"),
        ({"aspect_ratios": ()}, "and aspect ratios"),
        ({"proposals_after": (100,)}, "proposals_after must be two counts"),
        ({"anchors": 3}, "a detector has no setting 'anchors'"),
        ({"backbone": RESNET18.changed(num_classes=10)}, "backbone has no classifier"),
    ],
)
def test_an_impossible_spec_is_refused_with_what_is_possible(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        detector_of("fasterrcnn_resnet18_fpn").changed(**changes)


@pytest.mark.parametrize("arch", ["resnet20", "resnet8_fast", "plain32"])
@pytest.mark.parametrize("form", ["fpn", "light"])
def test_a_network_without_an_imagenet_stem_is_refused_in_a_line(arch: str, form: str) -> None:
    with pytest.raises(UsageError, match=r"needs a network with an ImageNet stem.*choose resnet18") as refused:
        detector_of(f"fasterrcnn_{arch}_{form}")
    assert "\n" not in str(refused.value)


def test_a_pyramid_stands_on_networks_of_fewer_stages_too() -> None:
    spec = DetectorSpec.light(ResNetSpec(blocks=(1, 1)), num_classes=2)
    assert spec.levels == ("layer1", "layer2")
    assert spec.strides == (4, 8, 16)


def test_names_lead_to_specs_and_back() -> None:
    for arch in (
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "wide_resnet50_2",
        "resnet_2223",
        "plain34",
    ):
        for kind in ("fasterrcnn", "maskrcnn"):
            for form in ("fpn", "fpn_v2", "light"):
                name = f"{kind}_{arch}_{form}"
                spec = detector_of(name, num_classes=7)
                assert spec.backbone == spec_of(arch, num_classes=0)
                assert (spec.masks, spec.num_classes) == (kind == "maskrcnn", 7)
                assert catalog.called(spec) == name
                assert str(named(name)) == name
    without = detector_of("fasterrcnn_resnet18_light", levels=("layer2", "layer3", "layer4"),
                          anchor_sizes=((20,), (40,), (80,), (160,)))  # fmt: skip
    assert catalog.called(without) == "fasterrcnn_resnet18_light"
    assert catalog.called(without.changed(channels=96)) == "a Faster R-CNN v1 with a pyramid of 96 on resnet18"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fasterrcnn_resnet50", "no detector is called 'fasterrcnn_resnet50'; did you mean 'fasterrcnn_resnet50_fpn'?"),
        ("fasterrcnn_resnt50_fpn", "no network is called 'resnt50'; did you mean 'resnet50'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        detector_of(name)
    assert says in str(refused.value)


def test_a_detectors_name_is_no_networks() -> None:
    with pytest.raises(UsageError, match="finds objects and is no network by itself; the network in it is 'resnet50'"):
        spec_of("fasterrcnn_resnet50_fpn")


def boxes(sides: Any, *, ratio: float = 1.0) -> np.ndarray:
    sides = np.asarray(sides, float)
    width, height = sides / ratio**0.5, sides * ratio**0.5
    return np.stack([0 * width, 0 * width, width, height], axis=1)


def test_small_objects_keep_the_finest_stage_and_large_ones_leave_it_out() -> None:
    small = for_boxes(boxes(np.linspace(8, 100, 200)), STAGES)
    assert small.levels == ("layer1", "layer2", "layer3", "layer4")
    assert small.strides == (4, 8, 16, 32, 64)
    large = for_boxes(boxes(np.linspace(30, 200, 200)), STAGES)
    assert large.levels == ("layer2", "layer3", "layer4")
    assert large.strides == (8, 16, 32, 64)
    assert [len(found.sizes) for found in (small, large)] == [5, 4]


def test_anchors_span_the_objects_and_fit_most_of_them() -> None:
    sides = np.geomspace(20, 160, 500)
    found = for_boxes(boxes(sides), STAGES)
    flat = [size for level in found.sizes for size in level]
    assert flat == sorted(flat)
    assert flat[0] == pytest.approx(20, rel=0.2)
    assert flat[-1] == pytest.approx(160, rel=0.2)
    assert found.fitting > 0.99
    assert found.words == (
        "anchors of 21, 34, 57, 93, 153 pixels every 4 to 64 pixels, 0.5, 1, 2 times as high as wide: objects measure "
        "21 to 153 pixels, and 100.0% of 500 boxes overlap one by half"
    )


def test_anchors_of_long_objects_are_long() -> None:
    sides = np.geomspace(30, 90, 100)
    found = for_boxes(np.concatenate([boxes(sides, ratio=5), boxes(sides, ratio=1)]), STAGES)
    assert found.aspect_ratios == (0.2, 1.0, 5.0)
    assert found.fitting > 0.95


def test_anchors_do_not_depend_on_the_order_and_skip_empty_boxes() -> None:
    given = boxes(np.random.default_rng(0).uniform(10, 100, 300))
    empty = np.array([[5, 5, 5, 9], [9, 9, 3, 3]])
    assert for_boxes(given, STAGES) == for_boxes(np.concatenate([given[::-1], empty]), STAGES)
    assert for_boxes(given, STAGES) == for_boxes(given, STAGES[1:])


def test_without_boxes_there_are_anchors_too() -> None:
    found = for_boxes(np.empty((0, 4)), STAGES)
    assert found.levels == ("layer1", "layer2", "layer3", "layer4")
    assert "no boxes to fit" in found.words
    DetectorSpec.light(RESNET18, num_classes=1, anchor_sizes=found.sizes, levels=found.levels)


def test_multiply_adds_are_those_of_all_convolutions_and_layers_that_ran() -> None:
    import torch
    from torch import nn

    from resnetkit.models.building import build

    light = DetectorSpec.light(ResNetSpec(blocks=(1, 1, 1, 1), width=8), num_classes=2, masks=True)
    for spec in (light.changed(proposals_after=(20, 20)), light.changed(version="v2", proposals_after=(20, 20))):
        network, counted = build(spec.changed(least_score=0.0, overlap=1.0, proposal_overlap=1.0)).eval(), 0

        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal counted
            if isinstance(module, nn.ConvTranspose2d):  # each of its outputs is made of one input
                counted += module.in_channels * output.numel()
            else:
                counted += module.weight[0].numel() * output.numel()  # type: ignore[union-attr, index, operator]

        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                module.register_forward_hook(count)
        with torch.no_grad():
            found = network(torch.randn(1, 3, 128, 192))
        num_found = int((found[..., 5] >= 0).sum())
        assert num_macs(spec.changed(detections=num_found), (128, 192)) == counted
    assert list(macs_by_stage(light, (128, 192))) == ["stem", "layer1", "layer2", "layer3", "layer4", "pyramid", "head"]


def test_sureness_is_a_score_for_each_class_and_half_where_none_is_fitted() -> None:
    assert Sureness().of(3).tolist() == [0.5] * 3
    fitted = Sureness(at=(0.25, 0.75), goal="recall 0.95", unmet=("dog",), fitted_on=40, fitted_to="x")
    assert Sureness.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert Sureness().to_json() == {}
    assert fitted.temperature is None
    assert fitted.words == (
        "scores as they are and a least score for each class, fitted for recall 0.95, which 1 of 2 do not reach (dog)"
    )
    with pytest.raises(DataError, match="has 2 thresholds for 3 classes"):
        fitted.of(3)
    with pytest.raises(UsageError, match="numbers between 0 and 1"):
        Sureness(at=(2.0,))
    with pytest.raises(DataError, match="unknown fields"):
        Sureness.from_json({"nms": 1})


def test_sureness_keeps_how_scores_become_probabilities() -> None:
    platt = Platt(slope=0.5, offset=-1.0, boxes=200, right=90)
    fitted = Sureness(at=(0.25,), fitted_on=40, platt=platt)
    assert Sureness.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert fitted.words == "probabilities from 200 boxes and a least score for each class, fitted for f1"
    assert Sureness.from_json(json.loads(json.dumps(fitted.to_json()))).tracks is None
    more = replace(fitted, tracks=Platt(slope=0.75, offset=0.5, boxes=150, right=120))
    assert Sureness.from_json(json.loads(json.dumps(more.to_json()))) == more
    assert more.words.startswith("probabilities from 200 boxes, of tracks from 150, and a least score")
    with pytest.raises(DataError, match="of another kind"):
        Sureness.from_json({"tracks": {"slope": 1.0}})
    assert np.isfinite(platt.of(np.array([0.0, 1.0]))).all()
    assert (np.diff(platt.of(np.linspace(0, 1, 50))) >= 0).all()
    with pytest.raises(DataError, match="of another kind"):
        Sureness.from_json({"platt": {"slope": 1.0}})
    with pytest.raises(UsageError, match="the slope of probabilities must be 0 or more"):
        Platt(slope=-0.1, offset=0.0, boxes=200, right=90)
    with pytest.raises(UsageError, match="the offset of probabilities must be a number"):
        Platt(slope=1.0, offset=float("nan"), boxes=200, right=90)
