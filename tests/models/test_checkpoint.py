import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResourceError, UsageError
from resnetkit.models.checkpoint import (
    METADATA_KEY,
    Header,
    is_checkpoint,
    load,
    load_tensors,
    read_description,
    read_header,
    save,
)  # fmt: skip
from resnetkit.models.decision import Decision
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.surgery import replace_head

SPEC = ResNetSpec(blocks=(1, 1), width=8, stem="cifar", num_classes=3)
HEADER = Header(
    spec=SPEC,
    classes=("개미", "נמלה", "ant"),
    aliases={"n02219486": "ant"},
    preprocess=Preprocess.for_size(32),
    metrics={"split": "test", "count": 31, "top1": 0.9},
    decision=Decision(temperature=1.2, threshold=0.5),
    recipe={"name": "finetune", "epochs": 3},
    data={"count": 244, "fingerprint": "ab"},
    license="CC0-1.0",
    version="0.1.0",
)


PREPROCESS = HEADER.preprocess.to_json()
TABLES = ("aliases", "metrics", "decision", "recipe", "data")


@pytest.fixture
def network() -> ResNet:
    torch.manual_seed(0)
    return ResNet(SPEC).eval()


@pytest.fixture
def path(tmp_path: Path, network: ResNet) -> Path:
    save(tmp_path / "new folder" / "best.safetensors", network, HEADER)
    return tmp_path / "new folder" / "best.safetensors"


def test_a_checkpoint_comes_back_as_it_was_with_no_other_file(path: Path, network: ResNet) -> None:
    loaded, header = load(path)
    assert header == HEADER
    assert not loaded.training
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())
    images = torch.ones(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    assert [p.name for p in path.parent.iterdir()] == ["best.safetensors"]


def test_the_same_tensors_and_header_give_the_same_bytes(path: Path, network: ResNet, tmp_path: Path) -> None:
    last = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shuffled = replace(HEADER, metrics=dict(reversed(HEADER.metrics.items())))
    save(tmp_path / "again", dict(reversed(last.state_dict().items())), shuffled)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_other_programs_can_read_the_tensors(path: Path, network: ResNet) -> None:
    assert set(load_file(path)) == set(network.state_dict())


def test_half_precision_is_kept_in_the_file_and_computed_in_fp32(tmp_path: Path, network: ResNet) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save(tmp_path / "half", state, HEADER)
    assert load_file(tmp_path / "half")["fc.weight"].dtype == torch.float16
    assert load(tmp_path / "half")[0].fc.weight.dtype == torch.float32


def test_the_description_is_read_without_torch(path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from resnetkit.models.checkpoint import read_header;"
        "print(ascii(read_header(sys.argv[1]).classes))"
    )
    out = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True).stdout
    assert out.strip() == ascii(HEADER.classes)


def test_a_failed_save_leaves_the_older_checkpoint(path: Path, network: ResNet) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"NaN|not JSON compliant"):
        save(path, network, replace(HEADER, metrics={"top1": float("nan")}))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["best.safetensors"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a place that cannot be written")
def test_a_place_that_cannot_be_written_is_told(network: ResNet) -> None:
    with pytest.raises(ResourceError, match=r"/proc/self/best.*cannot be written"):
        save("/proc/self/best.safetensors", network, HEADER)


def with_description(path: Path, text: str) -> None:
    save_file({"x": torch.zeros(1)}, path, metadata={METADATA_KEY: text})


def described(**changes: object) -> str:
    return json.dumps(HEADER.to_json() | changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (described(format=3), "newer than this version: upgrade resnetkit"),
        (described(spec=SPEC.to_json() | {"groups": 2}), r"\['groups'\].*upgrade resnetkit"),
        (described(classes=["a", "A", "b"]), "'A' is there twice"),
        (described(classes=["a", "b"]), "2 class names for a network of 3"),
        (described(preprocess=Preprocess.for_size(32, channels=1).to_json()), "makes 1 channels, the network reads 3"),
        (json.dumps({"format": 1}), "lacks"),
        ("[1]", "its description is damaged"),
        ('{"format": 1', "its description is damaged"),
        (described(spec=3), "its description is damaged"),
        (described(task="dense"), "for the task 'dense', this version knows classification, multilabel"),
        (described(classes="abc"), "its classes must be a list of texts, not str"),
        (described(classes=["a", "b", 3]), "must be|its description is damaged"),
        (described(aliases={"n01": 3}), "its aliases must be text"),
        (described(license=3), "its license must be text"),
        (described(version=[1]), "its version must be text"),
        *((described(**{name: "none"}), f"its {name} must be a table, not 'none'") for name in TABLES),
        (described(metrics=None), "its metrics must be a table, not None"),
        (described(decision={"temperature": "hot"}), "decision.temperature must be a number above 0, not 'hot'"),
        (described(decision={"temperature": 0}), "decision.temperature must be a number above 0, not 0"),
        (described(decision={"temperature": 10**400}), "decision.temperature must be a number above 0"),
        (described(decision={"temperature": float("nan")}), "decision.temperature must be a number above 0, not nan"),
        (described(decision={"threshold": 2}), "decision.threshold must be a probability between 0 and 1, not 2"),
        (described(decision={"threshold": True}), "decision.threshold must be a probability"),
        (described(decision={"heat": 2}), r"decision has unknown fields \['heat'\]"),
        (described(preprocess=PREPROCESS | {"size": 10**6}), "preprocess.size must be a whole number up to 16384"),
        (described(preprocess=PREPROCESS | {"resize": 10**6}), "preprocess.resize must be a whole number up to"),
        (described(preprocess=PREPROCESS | {"size": 32.5}), "preprocess.size must be a whole number"),
        (described(preprocess=PREPROCESS | {"size": "32"}), "preprocessing is broken"),
        (described(recipe="TOO DEEP").replace('"TOO DEEP"', "[" * 100_000), "its description is damaged"),
    ],
)
def test_a_description_that_does_not_hold_is_told_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.safetensors"
    with_description(path, text)
    with pytest.raises(DataError, match=says) as raised:
        read_header(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    with_description(tmp_path / "old.safetensors", described(format=1))
    assert read_header(tmp_path / "old.safetensors") == HEADER


def test_keys_of_a_later_version_are_kept(tmp_path: Path, network: ResNet) -> None:
    with_description(tmp_path / "new.safetensors", described(colour="red", tasks=[1]))
    header = read_header(tmp_path / "new.safetensors")
    assert header == replace(HEADER, more={"colour": "red", "tasks": [1]})
    save(tmp_path / "again.safetensors", network, header)
    assert read_header(tmp_path / "again.safetensors") == header


def test_a_trunk_without_head_and_classes_comes_back_as_it_was(tmp_path: Path, network: ResNet) -> None:
    images = torch.rand(2, 3, 16, 16)
    replace_head(network, 0)
    header = replace(HEADER, spec=network.spec, classes=(), aliases={})
    save(tmp_path / "trunk.safetensors", network, header)
    loaded, read = load(tmp_path / "trunk.safetensors")
    assert read == header
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    save(tmp_path / "headed.safetensors", ResNet(SPEC), header)
    with pytest.raises(DataError, match="not those it describes"):
        load(tmp_path / "headed.safetensors")


def test_a_file_for_another_task_is_described_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    with_description(path, json.dumps({"format": 2, "task": "pose", "spec": {"neck": "fpn"}, "classes": ["car"]}))
    assert read_description(path)["spec"] == {"neck": "fpn"}
    with pytest.raises(DataError, match="for the task 'pose', this version knows classification, multilabel"):
        load(path)


FOREIGN: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "short": (b"abc", "some other kind of file"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle.*--weights"),
    "zip": (b"PK\x03\x04" + bytes(100), "a zip file.*--weights"),
    "page": (b"<!DOCTYPE html><html></html>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "header too short": (struct.pack("<Q", 1000) + b'{"a":', "cut short"),
    "no json": (struct.pack("<Q", 8) + b"{1234567", "header is damaged"),
    "odd json": (struct.pack("<Q", 8) + b'{"a": 1}', "header is damaged"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_kind_of_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, says = FOREIGN[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for read in (read_header, load):
        with pytest.raises(DataError, match=says) as raised:
            read(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_checkpoint_cut_short_is_told_wherever_it_is_cut(path: Path) -> None:
    content = path.read_bytes()
    for share in (1, 10, 50, 99):
        path.write_bytes(content[: len(content) * share // 100])
        with pytest.raises(DataError, match="cut short"):
            load(path)
    path.write_bytes(content + b"x")
    with pytest.raises(DataError, match="longer than it says"):
        load(path)


def test_tensors_of_another_network_are_told(tmp_path: Path, network: ResNet) -> None:
    save(tmp_path / "x", network, replace(HEADER, spec=SPEC.changed(width=16)))
    with pytest.raises(DataError, match="tensors are not those it describes"):
        load(tmp_path / "x")


@pytest.mark.parametrize(
    "spec",
    [
        {"blocks": [10**7, 10**7]},
        {"blocks": [1]},
        {"blocks": [1, 1, 1]},
        {"width": 10**6},
        {"in_channels": 3, "stem": "imagenet"},
        {"shortcut": "none"},
        {"block": "bottleneck"},
        {"block": "bottleneck", "widening": 10**7},
    ],
)
def test_a_false_description_is_told_before_a_network_of_that_size_is_built(
    tmp_path: Path, network: ResNet, spec: dict[str, object]
) -> None:
    text = described(spec=SPEC.to_json() | spec)
    save_file(network.state_dict(), tmp_path / "x", metadata={METADATA_KEY: text})
    with pytest.raises(DataError, match="x: its tensors are not those it describes"):
        load(tmp_path / "x")


def test_more_classes_than_the_head_has_are_told(tmp_path: Path, network: ResNet) -> None:
    header = replace(HEADER, spec=SPEC.changed(num_classes=4), classes=tuple("abcd"))
    save(tmp_path / "x", network, header)
    with pytest.raises(DataError, match="x: its tensors are not those it describes"):
        load(tmp_path / "x")


@pytest.mark.parametrize("key", ["fc.bias", "bn1.running_var"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.uint8])
def test_weights_that_are_no_floating_point_numbers_are_refused(
    tmp_path: Path, network: ResNet, key: str, dtype: torch.dtype
) -> None:
    state = network.state_dict()
    save(tmp_path / "x", state | {key: state[key].to(dtype)}, HEADER)
    with pytest.raises(DataError, match=rf"x: {key} holds \w+, not F32 or"):
        load(tmp_path / "x")


def rewritten(path: Path, name: str, **changes: object) -> None:
    """Change the entry of one tensor in the safetensors header."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    entries = json.loads(content[8 : 8 + length])
    entries[name] |= changes
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data_offsets": [-8, 0]}, "header is damaged"),
        ({"data_offsets": [0]}, "header is damaged"),
        ({"data_offsets": ["a", "b"]}, "header is damaged"),
        ({"shape": [10**9]}, "header is damaged"),
        ({"shape": [-3]}, "header is damaged"),
        ({"shape": 3}, "header is damaged"),
        ({"dtype": "F64"}, "header is damaged"),
        ({"dtype": "F4_NEW"}, "fc.bias holds F4_NEW"),
        ({"dtype": ["F32"]}, "header is damaged"),
    ],
)
def test_a_tampered_safetensors_header_is_told(path: Path, changes: dict[str, object], says: str) -> None:
    rewritten(path, "fc.bias", **changes)
    with pytest.raises(DataError, match=says) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metadata", [3, None, [METADATA_KEY], "resnetkit", {METADATA_KEY: 3}])
def test_metadata_that_is_no_table_of_texts_is_told(path: Path, metadata: object) -> None:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    text = json.dumps(json.loads(content[8 : 8 + length]) | {"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    for read in (load, load_tensors):
        with pytest.raises(DataError, match="damaged"):
            read(path)


def test_foreign_safetensors_are_told_where_they_can_be_used(tmp_path: Path, network: ResNet) -> None:
    save_file(network.state_dict(), tmp_path / "timm.safetensors", metadata={"format": "pt"})
    assert not is_checkpoint(tmp_path / "timm.safetensors")
    with pytest.raises(DataError, match=r"foreign weights.*--weights .*timm.safetensors"):
        load(tmp_path / "timm.safetensors")


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.safetensors: there is no such file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path)


def test_class_names_are_kept_in_nfc() -> None:
    decomposed = "re\u0301gime"
    assert replace(HEADER, classes=(decomposed, "b", "c")).classes[0] == "r\u00e9gime"
    with pytest.raises(DataError, match="twice"):
        replace(HEADER, classes=(decomposed, "r\u00e9gime", "c"))
