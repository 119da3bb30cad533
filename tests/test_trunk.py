"""The ImageNet trunk that the package carries: what it is, what takes it by itself, and what it never answers."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision.models.resnet import BasicBlock

import resnetkit as rk
from resnetkit.errors import UsageError
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import read_header
from resnetkit.models.seen import Seen
from resnetkit.training.lineage import Lineage, lineage_of
from resnetkit.training.run import RunFolder
from tests.conftest import Output

ROOT = Path(__file__).parents[1]
NAME = "resnet_2223.imagenet1k"
FILE = ROOT / f"src/resnetkit/models/bundled/{NAME}.safetensors"
NOTICE = "Permission is hereby granted, free of charge"


def photos(folder: Path, *, side: int = 100, each: int = 4) -> Path:
    """Write noise in two classes, one darker than the other."""
    draw = np.random.default_rng(0)
    for label, most in (("day", 256), ("night", 128)):
        (folder / label).mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, most, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def test_it_is_the_published_file_and_says_where_it_comes_from(shared_data: Path) -> None:
    published = shared_data / "weights/resnet20-imagenet-trunk.safetensors"
    if not published.exists():
        pytest.skip("the published trunk is not here")
    ours, theirs = load_file(FILE), load_file(published)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in theirs)


def test_its_features_are_torchvision_s_bit_for_bit() -> None:
    network = torchvision.models.ResNet(BasicBlock, [2, 2, 2, 3])
    network.fc = torch.nn.Identity()  # type: ignore[assignment]
    missing = network.load_state_dict(load_file(FILE), strict=False)
    assert missing.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    ours, images = checkpoint.load(FILE)[0], torch.randn(2, 3, 96, 64, generator=torch.manual_seed(0))
    assert {tensor.dtype for name, tensor in ours.state_dict().items() if "tracked" not in name} == {torch.float32}
    with torch.inference_mode():
        assert torch.equal(ours(images), network.eval()(images))
        assert torch.equal(rk.load(NAME, threads=1).features(images)["layer4"].mean((2, 3)), ours(images))


@pytest.mark.parametrize("verb", ["predict", "evaluate", "export", "explain", "benchmark"])
def test_it_names_nothing_and_says_so_before_anything_else(
    verb: str, resnetkit: Callable[..., Output], tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", each=1)
    arguments = (NAME,) if verb in ("export", "benchmark") else (data, "--model", NAME)
    code, out, err = resnetkit(verb, *arguments, *(("--output", "out") if verb == "explain" else ()))
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.endswith(
        f"{NAME}: a trunk without classes, which names nothing: fit a head to it with "
        f"resnetkit train DATA --weights {NAME}"
    )
    with pytest.raises(UsageError, match="a trunk without classes"):
        rk.load(NAME).predict(data / "day" / "0.png")


def test_it_is_listed_without_an_accuracy_and_described_with_its_licence(resnetkit: Callable[..., Output]) -> None:
    [line] = [line for line in resnetkit("models")[1].splitlines() if line.startswith(NAME)]
    assert line.split()[1:5] == ["-", "15.9", "M", "2.05"]
    weights = json.loads(resnetkit("models", "--format", "json")[1])["weights"]
    assert next(each for each in weights if each["name"] == NAME)["top1"] is None
    told = resnetkit("models", NAME)[1]
    for said in ("MIT, Copyright (c) .NET Foundation", "ImageNet-1k", "Microsoft.ML.DnnImageFeaturizer.ResNet18"):
        assert said in told
    assert NOTICE not in told
    assert NOTICE in json.loads(resnetkit("models", NAME, "--format", "json")[1])["license"]


@pytest.mark.slow
def test_photos_train_from_it_without_a_network_and_carry_its_licence(
    resnetkit: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETKIT_OFFLINE", "1")
    photos(tmp_path / "photos")
    quick = ("--epochs", "1", "--image-size", "64", "--threads", "1", "--quiet")
    code, _, err = resnetkit("train", "photos", *quick)
    assert code == 0, err
    run = tmp_path / "runs" / "photos-resnet_2223"
    header = read_header(run / "best.safetensors")
    assert header.spec == catalog.spec_of("resnet_2223", num_classes=2)
    assert header.license is not None
    assert header.license.startswith(f"begun from {NAME}: weights: MIT")
    assert NOTICE in header.license
    assert "starting weights were trained on is ImageNet-1k" in header.trained_on.words()
    assert "MIT, Copyright" in (run / "report.html").read_text(encoding="utf-8")
    code, _, err = resnetkit("export", run, "--to", "torchvision", "--output", "out", "--quiet")
    assert code == 0, err
    assert NOTICE in Path("out/LICENSE.txt").read_text(encoding="utf-8")
    assert "in full in LICENSE.txt" in " ".join(Path("out/README.txt").read_text(encoding="utf-8").split())
    assert json.loads(Path("out/record.json").read_text())["torchvision"] == "ResNet(BasicBlock, [2, 2, 2, 3])"
    theirs = torchvision.models.ResNet(BasicBlock, [2, 2, 2, 3], num_classes=2)
    theirs.load_state_dict(torch.load("out/model.pth", weights_only=True))
    images = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(theirs.eval()(images), rk.load(run, engine="torch", threads=1).network(images))


def test_a_named_network_takes_its_own_weights(resnetkit: Callable[..., Output], tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, _, err = resnetkit("train", "photos", "--model", "resnet18")
    assert code == 7
    assert "resnet18.imagenet1k_v1" in err


def test_a_run_that_goes_on_knows_the_licence_of_what_it_began_from(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.lineage.parent.mkdir(parents=True, exist_ok=True)
    for license in ("MIT\n\nthe text", None):
        folder.lineage.write_text(Lineage(seen=Seen(), license=license).to_text(), encoding="ascii")
        assert lineage_of(folder).license == license


@pytest.mark.slow
def test_a_wheel_that_is_installed_elsewhere_trains_without_a_network(tmp_path: Path) -> None:
    def ran(*command: str | Path, **more: str) -> str:
        outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | more
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=outside, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    source = tmp_path / "source"
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    ran(sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "-w", tmp_path, "--quiet")
    ran(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    [wheel] = tmp_path.glob("resnetkit-*.whl")
    ran(sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", site, wheel)
    site.joinpath("beside.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch and the others
    python = tmp_path / "venv/bin/python"
    where = ran(python, "-c", "import resnetkit; print(resnetkit.__file__)")
    assert where.startswith(str(site))
    licences = {path.name for path in site.glob("resnetkit-*.dist-info/licenses/**/*") if path.is_file()}
    assert licences == {"LICENSE", "LICENSE-resnet_2223.txt"}
    photos(tmp_path / "photos")
    asked = ("--image-size", "64", "--epochs", "1", "--threads", "1")
    said = ran(python, "-m", "resnetkit", "train", "photos", *asked, RESNETKIT_OFFLINE="1")
    assert f"weights   {NAME}" in said
    assert (tmp_path / "runs/photos-resnet_2223/best.safetensors").is_file()


def test_counts_of_batches_that_the_file_lacks_are_zero_and_not_what_lay_in_memory() -> None:
    for size in range(1, 200):  # memory that is handed out again
        torch.full((size,), 7)
    network = rk.load("resnet_2223.imagenet1k").network
    assert {int(value) for name, value in network.state_dict().items() if "num_batches" in name} == {0}
