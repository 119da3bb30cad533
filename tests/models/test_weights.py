import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, NetworkError, ResNetKitError, UsageError
from resnetkit.models import catalog, checkpoint
from resnetkit.models.catalog import build, spec_of
from resnetkit.models.foreign import clean, infer_spec
from resnetkit.models.hub import fetch_weights, hub_folder
from resnetkit.models.resnet import ResNet, without_values
from resnetkit.models.weights import load_weights, open_weights, published

SMALL = {"width": 8, "num_classes": 5}


def same(network: nn.Module, state: dict[str, Tensor]) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[key], value) for key, value in state.items())


@pytest.fixture
def source() -> ResNet:
    torch.manual_seed(0)
    return build("resnet18", **SMALL)


@pytest.fixture
def target() -> ResNet:
    torch.manual_seed(1)
    return build("resnet18", **SMALL)


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "state_dict of a training script": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {}},
    "model": lambda state: {"model": state},
    "nested": lambda state: {"model": {"state_dict": state}},
    "net": lambda state: {"net": state, "acc": 93.0},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "model.": lambda state: {f"model.{key}": value for key, value in state.items()},
    "compiled and distributed": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in state.items()}},
    "linear.": lambda state: {key.replace("fc.", "linear."): value for key, value in state.items()},
    "half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    "without counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("name", WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_load_however_they_are_wrapped(
    tmp_path: Path, source: ResNet, target: ResNet, name: str, legacy: bool
) -> None:
    state = source.state_dict()
    path = tmp_path / "w.pth"
    torch.save(WRAPPINGS[name](state), path, _use_new_zipfile_serialization=not legacy)
    assert load_weights(target, path) == ()
    expected = {k: v.half().float() if v.is_floating_point() else v for k, v in state.items()}
    assert same(target, expected if name == "half" else state)


def test_safetensors_of_other_programs_load(tmp_path: Path, source: ResNet, target: ResNet) -> None:
    save_file(source.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    load_weights(target, tmp_path / "model.safetensors")
    assert same(target, source.state_dict())


def test_a_state_dict_loads_as_well_as_a_file(source: ResNet, target: ResNet) -> None:
    load_weights(target, source.state_dict())
    assert same(target, source.state_dict())


def test_a_head_can_be_left_out_and_the_networks_own_stays(source: ResNet) -> None:
    for num_classes in (3, 5):
        network = build("resnet18", width=8, num_classes=num_classes)
        own = network.fc.weight.clone()
        left_out = load_weights(network, source.state_dict(), head="replace")
        assert left_out == ("fc.weight", "fc.bias")
        assert torch.equal(network.fc.weight, own)
        assert torch.equal(network.layer1[0].conv1.weight, source.layer1[0].conv1.weight)  # type: ignore[index,union-attr]


def test_a_head_of_several_layers_is_left_out_too(source: ResNet, target: ResNet) -> None:
    state = {key.replace("fc.", "fc.1."): value for key, value in source.state_dict().items()}
    with pytest.raises(DataError, match=r'no head `fc.weight`.*head="replace"'):
        load_weights(target, state)
    assert load_weights(target, state, head="replace") == ("fc.1.weight", "fc.1.bias")


def test_a_mismatch_shows_every_key_and_changes_nothing(source: ResNet, target: ResNet) -> None:
    state = source.state_dict()
    del state["bn1.bias"], state["layer4.1.bn2.weight"]
    state |= {"extra.weight": torch.zeros(2, 3), "fc.weight": torch.zeros(7, 64), "fc.bias": torch.zeros(7)}
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(DataError) as raised:
        load_weights(target, state)
    assert str(raised.value).split("\n") == [
        "the state dict: these weights do not fit the network",
        "  missing in the file (2):",
        "    bn1.bias 8",
        "    layer4.1.bn2.weight 64",
        "  unexpected in the file (1):",
        "    extra.weight 2x3",
        "  differently shaped, in the file (2):",
        "    fc.weight 7x64, network 5x64",
        "    fc.bias 7, network 5",
        "  to fix it: build the network with num_classes=7, or keep its own new head for 5 classes with "
        'head="replace" (what fine-tuning does)',
    ]
    assert same(target, before)


@pytest.mark.parametrize(
    ("made", "wanted", "fix"),
    [
        ({"arch": "resnet34"}, {}, "these are the weights of resnet34; choose that network"),
        ({"arch": "resnet50"}, {}, "these are the weights of resnet50; choose that network"),
        ({"arch": "wide_resnet50_2"}, {"arch": "resnet50"}, "weights of wide_resnet50_2; choose"),
        ({"stem": "cifar"}, {}, r"stem='cifar' \(--set model.stem=cifar\)"),
        ({"in_channels": 1}, {}, "in_channels=1"),
        ({"num_classes": 9}, {}, "num_classes=9"),
        ({"arch": "resnet20"}, {"arch": "resnet20", "num_classes": 3}, "num_classes=10"),
        ({"arch": "plain32"}, {"arch": "plain20"}, "weights of plain32"),
        ({"shortcut": "none"}, {"shortcut": "B"}, "shortcut A and a plain network have the same parameters"),
        ({"width": 16}, {"width": 8}, "ResNet of 18 layers .basic blocks 2-2-2-2, width 16."),
    ],
)
def test_a_mismatch_says_what_would_mend_it(made: dict[str, Any], wanted: dict[str, Any], fix: str) -> None:
    def network(arch: str = "resnet18", **changes: Any) -> ResNet:
        return without_values(spec_of(arch, **changes))

    with pytest.raises(DataError, match=fix):
        load_weights(network(**wanted), network(**made).state_dict())


TUTORIALS = {
    "left": lambda key: key.replace(".conv1.", ".left.0.").replace(".downsample.", ".shortcut."),
    "shortcut": lambda key: key.replace(".downsample.", ".shortcut."),
    "pytorch-cifar100": lambda key: key.replace("conv1.weight", "conv1.0.weight").replace("layer1", "conv2_x"),
    "residual_function": lambda key: key.replace(".conv2.", ".residual_function.3."),
    "blocks": lambda key: key.replace("layer1.", "blocks.0."),
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_names_of_hand_written_networks_are_recognised(source: ResNet, target: ResNet, name: str) -> None:
    state = {TUTORIALS[name](key): value for key, value in source.state_dict().items()}
    with pytest.raises(DataError, match="come from a hand-written tutorial network"):
        load_weights(target, state)


def test_the_deep_stem_of_timm_is_recognised(source: ResNet, target: ResNet) -> None:
    state = source.state_dict()
    stem = state.pop("conv1.weight")
    state |= {f"conv1.{i}.weight": stem for i in (0, 3, 6)}
    with pytest.raises(DataError, match="three convolutions"):
        load_weights(target, state)


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path, source: ResNet, target: ResNet) -> None:
    torch.save(source, tmp_path / "whole.pth")
    with pytest.raises(DataError, match=r"whole.pth: holds more than tensors .*state_dict"):
        load_weights(target, tmp_path / "whole.pth")


@pytest.mark.parametrize("share", [0, 1, 50, 99])
def test_a_file_cut_short_is_told(tmp_path: Path, source: ResNet, target: ResNet, share: int) -> None:
    for legacy in (False, True):
        path = tmp_path / "cut.pth"
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=not legacy)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 100])
        with pytest.raises(DataError, match=r"cut.pth: ") as raised:
            load_weights(target, path)
        assert "\n" not in str(raised.value)


def test_what_is_no_state_dict_is_told(tmp_path: Path, target: ResNet) -> None:
    for content, says in (([1, 2], "holds list"), ({"epoch": 3}, "no tensors"), (torch.zeros(2), "holds Tensor")):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(DataError, match=says):
            load_weights(target, tmp_path / "x.pth")
    (tmp_path / "x.pth").write_text("<html>")
    with pytest.raises(DataError, match="a web page"):
        load_weights(target, tmp_path / "x.pth")
    with pytest.raises(UsageError, match="no such file"):
        load_weights(target, tmp_path / "none.pth")


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "meta": lambda value: value.to("meta"),
    "sparse": lambda value: value.to_sparse(),
    "quantised": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "complex": lambda value: value.to(torch.complex64),
}


@pytest.mark.filterwarnings("ignore:.*(TypedStorage|quantize)")  # from saving them
@pytest.mark.parametrize("kind", ODD)
def test_tensors_without_plain_values_are_named_and_nothing_else_is_said(
    tmp_path: Path, source: ResNet, target: ResNet, kind: str
) -> None:
    state = source.state_dict()
    torch.save({"state_dict": state | {"fc.weight": ODD[kind](state["fc.weight"])}}, tmp_path / "w.pth")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(DataError, match=rf"w.pth: fc.weight is a {kind}.* tensor: save"):
            load_weights(target, tmp_path / "w.pth")
    assert told == []


def test_weights_of_whole_numbers_are_named(source: ResNet, target: ResNet) -> None:
    state = source.state_dict()
    with pytest.raises(DataError, match=r"the state dict: fc.bias holds torch.int32: floating-point"):
        load_weights(target, state | {"fc.bias": state["fc.bias"].int()})


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"]
)
def test_the_spec_is_worked_out_from_the_shapes(name: str) -> None:
    for changes in ({}, {"stem": "cifar", "in_channels": 1, "num_classes": 7, "width": 8}):
        with torch.device("meta"):
            state = ResNet(spec_of(name, **changes)).state_dict()
        assert infer_spec(state) == spec_of(name, **changes)


def test_shapes_that_are_no_resnet_are_told() -> None:
    state = torchvision.models.mobilenet_v3_small().state_dict()
    with pytest.raises(DataError, match="not a ResNet by its names"):
        infer_spec(state)
    odd = build("resnet18", **SMALL).state_dict() | {"conv1.weight": torch.zeros(8, 3)}
    with pytest.raises(DataError, match="not a ResNet by its shapes"):
        infer_spec(odd)
    with pytest.raises(ResNetKitError):
        load_weights(build("resnet18", **SMALL), odd)


# --- files of any origin ---


def test_our_checkpoint_opens_with_its_own_header(tmp_path: Path, source: ResNet) -> None:
    header = checkpoint.Header(spec=source.spec, classes=tuple("abcde"), preprocess=Preprocess.for_size(64))
    checkpoint.save(tmp_path / "w.safetensors", source, header)
    network, opened, _ = open_weights(tmp_path / "w.safetensors")
    assert opened == header
    assert same(network, source.state_dict())


def test_a_bare_file_opens_as_the_network_its_shapes_say(tmp_path: Path, source: ResNet) -> None:
    torch.save(source.state_dict(), tmp_path / "w.pth")
    network, header, _ = open_weights(tmp_path / "w.pth")
    assert network.spec == header.spec == source.spec
    assert not network.training
    assert header.classes[:2] == ("class 0", "class 1")
    assert same(network, source.state_dict())


HEADS: dict[str, Callable[[str], str]] = {
    "fc.1.": lambda key: key.replace("fc.", "fc.1."),
    "backbone.": lambda key: f"head.{key}" if key.startswith("fc.") else f"backbone.{key}",
    "encoder_q.": lambda key: f"module.encoder_q.{key.replace('fc.', 'fc.0.')}",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_bare_file_with_a_head_of_other_names_opens_as_its_trunk(tmp_path: Path, source: ResNet, name: str) -> None:
    torch.save({HEADS[name](key): value for key, value in source.state_dict().items()}, tmp_path / "w.pth")
    network, header, beside = open_weights(tmp_path / "w.pth")
    assert header.classes == ()
    assert beside.startswith(HEADS[name]("fc.weight").removeprefix("module."))
    assert beside.endswith("(a head of 5)")
    assert same(network, {key: value for key, value in source.state_dict().items() if not key.startswith("fc.")})


def test_class_names_beside_the_weights_are_taken_where_they_fit(tmp_path: Path, source: ResNet) -> None:
    names = {"wasp": 1, "bee": 0, "ant": 2, "fly": 4, "bug": 3}
    for extra, expected in (
        (names, ("bee", "wasp", "ant", "bug", "fly")),
        ({"bee": 0}, None),
        ({"a": 0, "b": 5}, None),
    ):
        torch.save({"model_state_dict": source.state_dict(), "class_to_idx": extra}, tmp_path / "w.pth")
        assert open_weights(tmp_path / "w.pth")[1].classes == (expected or tuple(f"class {i}" for i in range(5)))


def test_of_two_encoders_the_trained_one_opens_and_the_other_is_named(
    source: ResNet, target: ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = {f"module.encoder_q.{key}": value for key, value in source.state_dict().items()}
    both |= {f"module.encoder_k.{key}": value for key, value in target.state_dict().items()}
    torch.save({"state_dict": both, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}}, "w.pth")
    network, _, beside = open_weights("w.pth")
    assert same(network, source.state_dict())
    assert beside == (
        "encoder_q.fc.weight 5x64, encoder_q.fc.bias 5 (a head of 5); encoder_k, another network of "
        f"{len(target.state_dict())} tensors (FILE::encoder_k is that)"
    )
    assert same(open_weights("w.pth", part="encoder_k").network, target.state_dict())
    with pytest.raises(UsageError, match=r"w.pth: no network in it is called 'encoder_x'; did you mean 'encoder_"):
        open_weights("w.pth", part="encoder_x")


def test_one_network_under_two_names_is_one(tmp_path: Path, source: ResNet) -> None:
    state = source.state_dict()
    torch.save(
        {f"{start}.{key}": value for start in ("one", "two") for key, value in state.items()}, tmp_path / "w.pth"
    )
    network, header, beside = open_weights(tmp_path / "w.pth")
    assert same(network, state)
    assert (len(header.classes), "two" in beside) == (5, False)


def test_children_in_a_sequential_are_the_trunk_they_were(tmp_path: Path) -> None:
    reference = torchvision.models.resnet18(num_classes=3)
    body = nn.Sequential(*list(reference.children())[:-1])
    torch.save(nn.Sequential(body, nn.Flatten(), nn.Linear(512, 3)).state_dict(), tmp_path / "w.pth")
    network, header, beside = open_weights(tmp_path / "w.pth")
    assert header.spec == spec_of("resnet18", num_classes=0)
    assert beside == "2.weight 3x512, 2.bias 3 (a head of 3)"
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(network.features(images)["layer4"].mean((2, 3)), body.eval()(images).flatten(1))


def test_a_network_of_other_depths_needs_no_name(tmp_path: Path) -> None:
    made = build("resnet18", blocks=(2, 2, 2, 3), width=8, num_classes=0)
    torch.save(made.state_dict(), tmp_path / "w.pth")
    assert open_weights(tmp_path / "w.pth").header.spec == made.spec


def test_what_no_name_tells_is_said(tmp_path: Path) -> None:
    made = build("resnet50", width=4, num_classes=2, stride="v1", activation="gelu")
    torch.save(made.state_dict(), tmp_path / "w.pth")
    assert open_weights(tmp_path / "w.pth", fields={"stride": "v1", "activation": "gelu"}).header.spec == made.spec
    assert open_weights(tmp_path / "w.pth", asked=made.spec).header.spec == made.spec
    with pytest.raises(DataError, match=r"w.pth: shortcut=none is not what its tensors say: shortcut B"):
        open_weights(tmp_path / "w.pth", fields={"shortcut": "none"})


@pytest.mark.parametrize("arch", [None, "resnet18"])
def test_a_bare_file_without_classes_or_with_odd_channels_is_named(
    tmp_path: Path, source: ResNet, arch: str | None
) -> None:
    for key, value in (("fc.weight", torch.zeros(0, 64)), ("conv1.weight", torch.zeros(8, 65, 7, 7))):
        torch.save(source.state_dict() | {key: value}, tmp_path / "w.pth")
        with pytest.raises(DataError, match=r"w.pth: (num_classes|channels) must be"):
            open_weights(tmp_path / "w.pth", arch=arch)
    torch.save(source.state_dict() | {"fc.weight": torch.zeros(())}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w.pth: "):
        open_weights(tmp_path / "w.pth", arch=arch)


def test_a_bare_file_opens_as_the_network_that_was_named(tmp_path: Path) -> None:
    plain = build("plain20", num_classes=4, in_channels=1)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w.pth: .*name the network"):
        open_weights(tmp_path / "w.pth")
    network, header, _ = open_weights(tmp_path / "w.pth", arch="plain20")
    assert network.spec == plain.spec
    assert header.preprocess.size == 32
    with pytest.raises(DataError, match=r"w.pth: these weights do not fit"):
        open_weights(tmp_path / "w.pth", arch="resnet18")


def test_a_checkpoint_of_another_network_than_the_one_named_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    spec = spec_of("resnet8", num_classes=4, in_channels=1, stem="imagenet")
    header = checkpoint.Header(spec=spec, classes=tuple("abcd"), preprocess=Preprocess.for_size(64, channels=1))
    checkpoint.save(path, without_values(spec), header)
    assert open_weights(path, arch="resnet8")[1] == header
    for arch in ("resnet20", "plain8", "resnet50"):
        with pytest.raises(DataError, match=rf"w.safetensors: these are the weights of resnet8, not of {arch}: "):
            open_weights(path, arch=arch)
    with pytest.raises(UsageError, match="no network is called 'resnet9'"):
        open_weights(path, arch="resnet9")


# --- published weights, from a mirror on this disk ---


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A published ResNet-18 with a digest of its own, in a folder that stands for the host."""
    reference = torchvision.models.resnet18()
    (tmp_path / "host" / "models").mkdir(parents=True)
    torch.save(reference.state_dict(), tmp_path / "host" / "models" / "made.pth")
    digest = hashlib.sha256((tmp_path / "host" / "models" / "made.pth").read_bytes()).hexdigest()
    name = "resnet18.imagenet1k_v1"
    made = replace(
        catalog.record(name), url="https://download.pytorch.org/models/made.pth", checksum=f"sha256:{digest[:8]}"
    )
    monkeypatch.setattr(catalog, "_records", lambda: {name: made})
    monkeypatch.setenv("RESNETKIT_MIRROR", (tmp_path / "host").as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("RESNETKIT_OFFLINE", raising=False)
    return reference


def test_published_weights_come_into_the_hub_cache_and_say_what_they_are(mirror: nn.Module, tmp_path: Path) -> None:
    network, header = published("resnet18")
    assert same(network, mirror.state_dict())
    assert not network.training
    assert header.classes[0] == "tench"
    assert header.preprocess == Preprocess()
    assert header.metrics["top1"] == pytest.approx(0.69758)
    path = tmp_path / "torch" / "hub" / "checkpoints" / "made.pth"
    assert path.is_file()
    for arch in (None, "resnet18"):
        again, opened, _ = open_weights(path, arch=arch)
        assert opened == header
        assert same(again, mirror.state_dict())
    with pytest.raises(DataError, match=r"made.pth: these are the weights of resnet18, not of resnet34"):
        open_weights(path, arch="resnet34")


def test_offline_the_ways_out_are_named(mirror: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETKIT_OFFLINE", "1")
    with pytest.raises(NetworkError) as raised:
        fetch_weights(catalog.record("resnet18.imagenet1k_v1"), purpose="transfer")
    for way in ("resnetkit download resnet18.imagenet1k_v1 --output FILE", "--weights FILE", "--weights none"):
        assert way in str(raised.value)


def test_what_is_not_published_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no weights are published for 'resnet110'"):
        published("resnet110")


def test_the_cache_is_where_torch_hub_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in ({"TORCH_HOME": str(tmp_path)}, {"XDG_CACHE_HOME": str(tmp_path)}, {}):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert hub_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_cleaning_keeps_what_is_ours_already(source: ResNet) -> None:
    assert list(clean(source.state_dict(), name="x")) == list(source.state_dict())
