"""Detectors in files: our checkpoints, torchvision's published weights, state dicts of other programs."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model_weights

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models import catalog, checkpoint, published, weights
from resnetkit.models.building import build
from resnetkit.models.checkpoint import DETECTION, Header
from resnetkit.models.detection.foreign import detector_in, infer_detector
from resnetkit.models.detection.network import Detector
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.weights import load_weights, open_detector

TINY = ResNetSpec(blocks=(1, 1, 1, 1), width=8, num_classes=0)
CLASSES = ("ant", "bee", "cow")


def spec(**changes: Any) -> DetectorSpec:
    small: dict[str, Any] = {
        "backbone": TINY,
        "channels": 8,
        "box_width": 16,
        "mask_channels": 8,
        "masks": True,
        "num_classes": 3,
    }
    return DetectorSpec(**small | changes)


def header(of: DetectorSpec, **changes: Any) -> Header:
    decision = Sureness(at=(0.3, 0.4, 0.5), goal="recall 0.95")
    made = Header(task=DETECTION, spec=of, classes=CLASSES, preprocess=Preprocess.for_size(96), decision=decision)
    return replace(made, **changes)


def same(network: Detector, state: dict[str, Tensor]) -> bool:
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())


@pytest.fixture
def network() -> Detector:
    torch.manual_seed(0)
    return Detector(spec())


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("masks", [False, True])
def test_a_checkpoint_brings_the_detector_back(tmp_path: Path, version: str, masks: bool) -> None:
    torch.manual_seed(1)
    network = Detector(
        spec(version=version, masks=masks, levels=("layer3", "layer4"), anchor_sizes=((32,), (64,), (96,)))
    )
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, network, header(network.spec))
    again, found = checkpoint.load(path)
    assert isinstance(again, Detector)
    assert found == header(network.spec)
    assert found.decision == Sureness(at=(0.3, 0.4, 0.5), goal="recall 0.95")
    assert same(again, network.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(again(images), network.eval()(images))
    copy = tmp_path / "copy.safetensors"
    checkpoint.save_copy(path, copy, header(network.spec, decision=Sureness()))
    assert open_detector(copy)[1].decision == Sureness()


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 16}, {"box_width": 32}, {"mask_channels": 16}, {"mask_layers": 3}, {"masks": False},
        {"version": "v2"}, {"aspect_ratios": (1.0,)}, {"backbone": TINY.changed(width=16)},
        {"backbone": TINY.changed(blocks=(1, 1, 1, 2))},
        {"levels": ("layer2", "layer3", "layer4"), "anchor_sizes": ((8,), (16,), (32,), (64,))},
    ],
)  # fmt: skip
def test_a_checkpoint_that_describes_another_detector_is_refused(
    tmp_path: Path, network: Detector, changes: dict[str, Any]
) -> None:
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, network, header(spec(**changes)))
    with pytest.raises(DataError, match="its tensors are not those it describes"):
        checkpoint.load(path)


def test_false_sizes_are_refused_before_a_network_is_built(tmp_path: Path, network: Detector) -> None:
    path = tmp_path / "best.safetensors"
    for changes in ({"box_width": 99_999}, {"mask_layers": 99_999}, {"channels": 99_999}):
        checkpoint.save(path, network, header(spec(**changes)))
        with pytest.raises(DataError, match="its tensors are not those it describes"):
            checkpoint.load(path)


def test_the_task_and_the_network_of_a_header_must_agree(tmp_path: Path, network: Detector) -> None:
    with pytest.raises(DataError, match="its task is classification, and its network is one for another task"):
        Header(spec=spec(), classes=CLASSES, preprocess=Preprocess.for_size(96))
    with pytest.raises(DataError, match="its task is detection, and its network is one for another task"):
        Header(task=DETECTION, spec=TINY, classes=(), preprocess=Preprocess.for_size(96))
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, network, header(spec()))
    data = path.read_bytes()
    described = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    said = json.loads(described["__metadata__"]["resnetkit"]) | {"spec": 3}
    described["__metadata__"]["resnetkit"] = json.dumps(said)
    text = json.dumps(described).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + struct.unpack("<Q", data[:8])[0] :])
    with pytest.raises(DataError):
        checkpoint.load(path)


def older(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as torchvision saved it before 0.13, with frozen statistics, which have no counters."""
    names = {}
    for name in state:
        old = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        for block in ("inner_blocks", "layer_blocks"):
            for level in range(4):
                old = old.replace(f"{block}.{level}.0.", f"{block}.{level}.")
        for layer in range(4):
            old = old.replace(f"mask_head.{layer}.0.", f"mask_head.mask_fcn{layer + 1}.")
        names[name] = old
    return {names[name]: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "older": older,
    "a training script's": lambda state: {"epoch": 3, "model": state, "optimizer": {"param_groups": []}},
    "distributed": lambda state: {f"module.{name}": value for name, value in state.items()},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_torchvisions_state_dicts_load_however_they_are_wrapped(tmp_path: Path, network: Detector, name: str) -> None:
    path = tmp_path / "w.pth"
    torch.save(WRAPPINGS[name](network.state_dict()), path)
    opened, found = open_detector(path)
    assert same(opened, network.state_dict())
    assert opened.spec == spec()
    assert found.classes == ("class 1", "class 2", "class 3")
    target = Detector(spec())
    assert load_weights(target, path) == ()
    assert same(target, network.state_dict())
    assert load_weights(target, network.state_dict()) == ()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("masks", [False, True])
def test_the_detector_is_known_by_its_tensors(version: Any, masks: bool) -> None:
    for levels, sizes in ((("layer3", "layer4"), 3), (("layer1", "layer2", "layer3", "layer4"), 5)):
        wanted = spec(
            version=version, masks=masks, levels=levels, anchor_sizes=DetectorSpec(backbone=TINY).anchor_sizes[-sizes:]
        )
        if not masks:
            wanted = wanted.changed(mask_channels=256)
        assert infer_detector(Detector(wanted).state_dict()) == wanted


def test_weights_of_another_detector_are_refused_with_what_would_mend_it(tmp_path: Path, network: Detector) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DataError, match="do not fit the network") as refused:
        load_weights(network, Detector(spec(num_classes=5)).state_dict())
    assert "roi_heads.box_predictor.cls_score.weight 6x16, network 4x16" in str(refused.value)
    assert str(refused.value).endswith("to fix it: build the network with num_classes=5")
    with pytest.raises(DataError, match=r"these are the weights of a Faster R-CNN v1 with a pyramid of 8 on"):
        load_weights(network, Detector(spec(masks=False)).state_dict())
    with pytest.raises(DataError, match="no weights of a Faster R-CNN or Mask R-CNN"):
        load_weights(network, ResNet(TINY).state_dict())
    path = tmp_path / "w.pth"
    torch.save(ResNet(TINY).state_dict(), path)
    with pytest.raises(DataError, match="no Faster R-CNN or Mask R-CNN by its names"):
        open_detector(path)
    torch.save(Detector(spec(aspect_ratios=(0.5, 2.0))).state_dict(), path)
    with pytest.raises(DataError, match="its anchors cannot be known: 2 at a place"):
        open_detector(path)
    assert same(network, before)


def test_a_classifiers_checkpoint_is_no_detector(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, ResNet(TINY), Header(spec=TINY, classes=(), preprocess=Preprocess.for_size(96)))
    with pytest.raises(DataError, match="finds no objects; as a backbone it works"):
        open_detector(path)


def test_the_records_of_detectors_are_torchvisions() -> None:
    assert [each.name for each in catalog.detectors()] == [f"{arch}.coco_v1" for arch in published.DETECTORS]
    for each in catalog.detectors():
        (theirs,) = get_model_weights(each.arch)
        assert each.url == theirs.url
        assert each.checksum == f"sha256:{theirs.url[-12:-4]}"
        assert catalog.record(each.name) == catalog.default_record(each.arch, purpose="transfer") == each
        for name, value in theirs.meta["_metrics"]["COCO-val2017"].items():
            assert each.metrics[name] == pytest.approx(value / 100)
        found = catalog.published_header(each)
        assert found.task == DETECTION
        assert catalog.called(found.spec) == each.arch
        assert len(found.classes) == found.spec.num_classes == len(theirs.meta["categories"]) - 1
        assert found.classes[0] == "person"
        assert all(ours in (name, f"no category {number}") for number, (ours, name) in
                   enumerate(zip(found.classes, theirs.meta["categories"][1:], strict=True), start=1))  # fmt: skip
        with torch.device("meta"):
            network = build(found.spec)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        if each.name in published.WITHOUT_EPSILON:  # their BatchNorm is frozen and counts as none
            num_params -= sum(
                p.numel() for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()
            )
        assert num_params == each.num_params == theirs.meta["num_params"]


@pytest.mark.parametrize(("name", "says"), [
    ("fasterrcnn_resnet50_fpn.coco_v9", "did you mean 'fasterrcnn_resnet50_fpn.coco_v1'"),
    ("maskrcnn_resnet18_fpn.coco_v1", "no weights are published for 'maskrcnn_resnet18_fpn'"),
    ("fasterrcnn_resnt50_fpn.coco_v1", "no network is called 'resnt50'"),
])  # fmt: skip
def test_an_unknown_record_of_a_detector_is_refused(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        catalog.record(name)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_a_published_file_opens_as_the_detector_of_its_record(
    tmp_path: Path, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = catalog.record(f"{arch}.coco_v1")
    first = record.name in published.WITHOUT_EPSILON
    torch.manual_seed(0)
    theirs = getattr(detection, arch)(weights=None, weights_backbone=None)
    path = tmp_path / "published.pth"
    torch.save(older(theirs.state_dict()) if first else theirs.state_dict(), path)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    monkeypatch.setattr(catalog, "detectors", lambda: (replace(record, checksum=digest),))
    for network, found in (weights.open_published(record, path), open_detector(path)):
        assert isinstance(network, Detector)
        assert found == catalog.published_header(record)
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert network.body.bn1.eps == (0 if first else 1e-5)
        assert detector_in(network.state_dict()) is not None


def test_published_detectors_are_listed_with_what_they_reach(resnetkit: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = resnetkit("models")
    [boxes] = [line for line in out.splitlines() if line.startswith("fasterrcnn_resnet50_fpn.coco_v1")]
    [masks] = [line for line in out.splitlines() if line.startswith("maskrcnn_resnet50_fpn_v2.coco_v1")]
    assert code == 0
    assert boxes.split()[1:] == ["37.0", "%", "-", "41.8", "M", "168", "MB"]
    assert masks.split()[1:] == ["47.4", "%", "41.8", "%", "46.4", "M", "186", "MB"]
    told = json.loads(resnetkit("models", "--format", "json")[1])["detectors"]
    assert [each["name"] for each in told] == [each.name for each in catalog.detectors()]
    assert told[0]["box_map"] == 0.37
