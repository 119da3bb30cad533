"""`resnetkit rename`, and other ways of saying what a file is: `NAME=FILE`, `FILE::PART`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resnetkit.api import locating
from resnetkit.cli import main
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models import checkpoint
from resnetkit.models.catalog import build
from resnetkit.models.checkpoint import Header, read_header
from resnetkit.models.decision import Decision
from resnetkit.models.resnet import ResNet
from resnetkit.models.seen import Seen
from resnetkit.watcher import Watcher

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def resnetkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def network(name: str = "resnet8", *, seed: int = 0, num_classes: int = 3) -> ResNet:
    torch.manual_seed(seed)
    return build(name, num_classes=num_classes)


def raw_tensors(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    return {
        name: data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        for name, entry in entries.items()
        if name != "__metadata__"
    }


@pytest.fixture
def own(resnetkit: Run) -> Path:
    """A checkpoint of ours in half precision that says much about itself, and a key that this version does not know."""
    made = network()
    header = Header(
        spec=made.spec, classes=("cat", "dgo", "fox"), preprocess=Preprocess.for_size(32),
        aliases={"n02": "dgo", "n03": "fox"}, metrics={"top1": 0.5, "majority": {"label": "dgo", "top1": 0.4}},
        decision=Decision(temperature=1.5), license="MIT", more={"tomorrow": [1]},
        trained_on=Seen(known=True, pictures=3, trained="AAAAAAAA"),
    )  # fmt: skip
    state = {k: v.half() if v.is_floating_point() else v for k, v in made.state_dict().items()}
    checkpoint.save("own.safetensors", state, header)
    return Path("own.safetensors")


def test_a_checkpoint_is_renamed_and_nothing_else_changes(resnetkit: Run, own: Path) -> None:
    before, bytes_before = read_header(own), own.read_bytes()
    code, out, _ = resnetkit("rename", str(own), "dgo=dog", "cat=fox", "fox=cat", "--output", "new.safetensors")
    assert code == 0
    assert out.splitlines()[:4] == [
        "cat is now fox",
        "dgo is now dog",
        "fox is now cat",
        "new.safetensors: 3 of 3 classes renamed, the weights as they were",
    ]
    assert own.read_bytes() == bytes_before
    assert raw_tensors(Path("new.safetensors")) == raw_tensors(own)
    after = read_header("new.safetensors")
    assert after.classes == ("fox", "dog", "cat")
    assert after.aliases == {"n02": "dog", "n03": "cat"}
    assert after.metrics == {"top1": 0.5, "majority": {"label": "dog", "top1": 0.4}}
    for name in ("spec", "preprocess", "decision", "license", "more", "trained_on", "data", "recipe"):
        assert getattr(after, name) == getattr(before, name), name
    assert checkpoint.load("new.safetensors")[1] == after


def test_weights_of_other_programs_get_names(resnetkit: Run) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in network().state_dict().items() if "num" not in k}
    torch.save({"model": state}, "w.pth")
    code, out, _ = resnetkit(
        "rename", "resnet8=w.pth", "0=cat", "class 2=fox", "--output", "new.safetensors", "--format", "json"
    )
    assert code == 0
    assert json.loads(out) == {
        "output": "new.safetensors", "model": "resnet8=w.pth", "renamed": {"class 0": "cat", "class 2": "fox"},
        "classes": ["cat", "class 1", "fox"],
    }  # fmt: skip
    written = checkpoint.load_tensors(Path("new.safetensors"))
    assert all(torch.equal(written[key], value) and written[key].dtype == value.dtype for key, value in state.items())
    assert checkpoint.load("new.safetensors")[1].classes == ("cat", "class 1", "fox")


MISTAKES = {
    "unknown class": ("own.safetensors dgi=dog --output n.safetensors", 2, "'dgi'; did you mean 'dgo'?"),
    "two of one name": ("own.safetensors cat=FOX --output n.safetensors", 2, "would both be called"),
    "another name of another class": ("own.safetensors cat=n03 --output n.safetensors", 2, "another name of the class"),
    "an empty name": ("own.safetensors cat= --output n.safetensors", 2, "the new name is missing"),
    "no pair": ("own.safetensors cat --output n.safetensors", 2, "OLD=NEW"),
    "twice": ("own.safetensors cat=a cat=b --output n.safetensors", 2, "cat gets two names"),
    "no pairs": ("own.safetensors --output n.safetensors", 2, "OLD=NEW"),
    "no output": ("own.safetensors cat=a", 2, "--output"),
    "an output that is there": ("own.safetensors cat=a --output own.safetensors", 2, "is there already"),
    "an output of another kind": ("own.safetensors cat=a --output n.pth", 2, "ends in .safetensors"),
    "no such model": ("nowhere.pth cat=a --output n.safetensors", 2, "nowhere.pth: no such file or run"),
    "no such file": ("resnet8=nowhere.pth cat=a --output n.safetensors", 2, "nowhere.pth: there is no such file"),
    "a damaged file": ("cut.safetensors cat=a --output n.safetensors", 3, "cut.safetensors: cut short"),
    "a trunk": ("trunk.pth 0=a --output n.safetensors", 2, "trunk.pth: a trunk without classes"),
    "an odd head": ("odd.pth 0=a --output n.safetensors", 2, "(beside it the file has top.weight 3x64 (a head of 3))"),
    "not told by the file": ("bare.pth 0=a --output n.safetensors", 3, "name the network, as resnet8=FILE or plain8"),
    "not its network": ("resnet20=bare.pth 0=a --output n.safetensors", 3, "do not fit"),
    "not the network it says": ("resnet20=own.safetensors cat=a --output n.safetensors", 3, "of resnet8, not of"),
    "a network there is not": ("resnt20=bare.pth 0=a --output n.safetensors", 2, "did you mean 'resnet20'?"),
    "a field's value": ("stride=v3=bare.pth 0=a --output n.safetensors", 2, "v1.5"),
    "two networks": ("two.pth 0=a --output n.safetensors", 2, "holds 2 networks, student and teacher"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(resnetkit: Run, own: Path, mistake: str) -> None:
    state = network().state_dict()
    trunk = {name: value for name, value in state.items() if not name.startswith("fc.")}
    wide = {name: value for name, value in build("resnet18", width=8).state_dict().items() if "fc." not in name}
    torch.save(state, "bare.pth")
    torch.save(wide, "trunk.pth")
    torch.save(wide | {"top.weight": torch.zeros(3, 64)}, "odd.pth")
    torch.save({"student": trunk, "teacher": {k: v + 1 for k, v in trunk.items()}}, "two.pth")
    Path("cut.safetensors").write_bytes(own.read_bytes()[:-9])
    command, expected, text = MISTAKES[mistake]
    code, out, err = resnetkit("rename", *command.split())
    assert (code, out) == (expected, "")
    assert text in err
    assert "Traceback" not in err
    assert not Path("n.safetensors").exists()


def test_an_export_is_not_renamed(resnetkit: Run, own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from resnetkit.exporting.folder import Exported

    exported = Exported(
        folder=Path("handed"), name="own", format="onnx", reads="picture", header=read_header(own), torchvision=None,
        precision="fp32",
    )  # fmt: skip
    monkeypatch.setattr(locating.exports, "is_export", lambda path: str(path) == "handed")
    monkeypatch.setattr(locating.exports, "read", lambda path: exported)
    code, _, err = resnetkit("rename", "handed", "cat=a", "--output", "n.safetensors")
    assert code == 2
    assert "handed: an export is not changed: rename the run or checkpoint" in err


def test_what_exists_comes_before_what_an_equals_sign_or_colons_may_mean(resnetkit: Run) -> None:
    def found(text: str) -> tuple[str, str | None, dict[str, str], str | None]:
        source = locating.locate(text, watcher=Watcher())
        return str(source.path), source.arch, dict(source.fields), source.part

    torch.save(network().state_dict(), "w.pth")
    assert found("resnet8=w.pth") == ("w.pth", "resnet8", {}, None)
    assert found("resnet8=w.pth::a.b") == ("w.pth", "resnet8", {}, "a.b")
    assert found("w.pth::a") == ("w.pth", None, {}, "a")
    assert found("stride=v1,activation=gelu=w.pth") == ("w.pth", None, {"stride": "v1", "activation": "gelu"}, None)
    for name in ("resnet8=w.pth", "w.pth::a", "stride=v1=w.pth"):
        Path(name).write_bytes(Path("w.pth").read_bytes())
        assert found(name) == (name, None, {}, None)
    Path("w.pth::a").unlink()
    assert found("resnet8=w.pth::a") == ("resnet8=w.pth", None, {}, "a")
    Path("lr=0.1").mkdir()
    torch.save(network().state_dict(), "lr=0.1/w.pth")
    assert found("lr=0.1/w.pth") == ("lr=0.1/w.pth", None, {}, None)
    assert found("resnet8=lr=0.1/w.pth") == ("lr=0.1/w.pth", "resnet8", {}, None)
    for text in ("lr=0.1/x.pth", "lr=0.2.safetensors"):
        with pytest.raises(UsageError, match="no such file or run"):
            found(text)


def test_names_of_classes_are_missed_and_given(resnetkit: Run, tmp_path: Path) -> None:
    from PIL import Image

    torch.save(network().state_dict(), "w.pth")
    for name in ("cat", "dog", "fox"):
        Path("pets", name).mkdir(parents=True)
        Image.new("RGB", (32, 32), {"cat": "red"}.get(name, "blue")).save(f"pets/{name}/{name}.png")
    computing = ("--engine", "torch", "--precision", "fp32", "--threads", "1", "--format", "json")
    code, _, err = resnetkit("predict", "pets/cat/cat.png", "--model", "resnet8=w.pth", *computing)
    assert code == 0
    assert "resnet8=w.pth lists no names for its 3 classes: resnetkit rename resnet8=w.pth 0=NAME" in err
    code, _, err = resnetkit("evaluate", "pets", "--model", "resnet8=w.pth", *computing)
    assert code == 2
    assert "these pictures have cat, dog, fox: resnetkit rename resnet8=w.pth 0=NAME" in err
    assert resnetkit("rename", "resnet8=w.pth", "0=dog", "1=cat", "2=fox", "--output", "new.safetensors")[0] == 0
    code, out, err = resnetkit("evaluate", "pets", "--model", "new.safetensors", *computing)
    assert "lists no names" not in err
    assert (code, json.loads(out)["classes"]) == (0, ["dog", "cat", "fox"])
