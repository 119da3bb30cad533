"""The weights that the package carries: how they are made, what they state, and that they answer only by name."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.cli import demo, main
from resnetkit.cli.demo import write_digits
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import Header, read_header
from resnetkit.models.decision import Decision
from resnetkit.training.planning.plan import weights_wanted
from resnetkit.training.request import Request
from resnetkit.training.run import RunFolder

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "src/resnetkit/models/bundled/resnet20.cifar10.safetensors"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Output = tuple[int, str, str]


# --- how they are made ---


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "benchmarks/bundle_resnet20.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pair(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """A run on 400 training pictures, and its twin with a fifth of them held out."""
    place, runs = tmp_path_factory.mktemp("bundled"), []
    for name, share in (("all", 0.0), ("twin", 0.2)):
        command = f"resnetkit train {digits} --recipe scratch"
        run = rk.train(
            digits, model="resnet8", epochs=2, limit=400, threads=1, output=place / name, command=command,
            settings=("augment.crop=none", f"val_share={share}"),
        )  # fmt: skip
        runs.append(run.folder)
    return runs[0], runs[1]


@pytest.fixture(scope="module")
def made(script: ModuleType, pair: tuple[RunFolder, RunFolder], digits: Path) -> Path:
    output = pair[0].path.parent / "resnet8.digits.safetensors"
    script.bundle(*pair, data=[str(digits)], data_name="digits", output=output)
    return output


@pytest.mark.slow
def test_the_file_holds_the_last_epoch_in_half_precision(made: Path, pair: tuple[RunFolder, RunFolder]) -> None:
    kept, trained = load_file(made), load_file(pair[0].last)
    assert list(kept) == list(trained)
    for name, tensor in trained.items():
        wanted = tensor.half() if tensor.is_floating_point() else tensor
        assert kept[name].dtype == wanted.dtype
        assert torch.equal(kept[name], wanted)
    network, _ = checkpoint.load(made)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32, torch.int64}
    assert torch.equal(network.fc.weight, kept["fc.weight"].float())


@pytest.mark.slow
def test_its_record_states_what_the_file_itself_reaches(made: Path, digits: Path) -> None:
    stated = read_header(made).metrics
    reached = rk.evaluate(digits, model=made, split="test", tta="flip_shift", threads=1).metrics
    assert stated["count"] == 359
    for name in ("split", "count", "top1", "top5", "top1_interval"):
        assert stated[name] == reached[name], name
    for ours, theirs in ((stated, reached), (stated["tta"], reached["tta"])):  # threads may add up in another order
        assert ours["loss"] == pytest.approx(theirs["loss"])
    assert stated["tta"]["top1"] == reached["tta"]["top1"]
    assert stated["tta"]["loss"] != stated["loss"]
    assert len(json.dumps(dict(stated))) < 1000


@pytest.mark.slow
def test_its_record_says_how_to_make_it_again_and_names_no_folder(made: Path, digits: Path) -> None:
    header = read_header(made)
    assert header.recipe["command"] == "resnetkit train digits --recipe scratch"
    assert header.recipe["seed"] == 0
    assert header.recipe["hours"] >= 0
    assert "1 threads" in header.recipe["machine"]
    assert header.data["name"] == "digits"
    assert header.data["counts"] == {"train": 400, "test": 359}
    assert header.data["picture_side"] == 8
    assert header.license is not None
    assert str(digits.parent) not in made.read_bytes().decode("latin-1")


@pytest.mark.slow
def test_the_temperature_comes_from_what_the_twin_held_out(
    script: ModuleType, made: Path, pair: tuple[RunFolder, RunFolder], digits: Path
) -> None:
    header = read_header(made)
    figures = header.metrics["calibration"]
    held_out = sum(line.split(",")[2] == "val" for line in pair[1].split.read_text().splitlines())
    assert figures["fitted_on"] == f"{held_out} pictures held out by a twin trained on {400 - held_out:,} others"
    assert figures["loss_after"] < figures["loss_before"]
    assert header.decision == Decision(temperature=figures["temperature"]) != Decision()
    assert rk.load(pair[1].last).header.decision == Decision()


@pytest.mark.slow
def test_the_temperature_of_a_file_reaches_predictions(made: Path, digits: Path) -> None:
    picture = next((digits / "test" / "seven").iterdir())
    temperature = read_header(made).decision.temperature
    model = rk.load(made, threads=1, precision="fp32")
    tempered = dict(model.predict(picture, top_k=10).top)
    network, header = checkpoint.load(made)
    plain = dict(
        rk.api.Model(network, replaced(header), name="plain", runtime=model.runtime).predict(picture, top_k=10).top
    )
    powers = {name: probability ** (1 / temperature) for name, probability in plain.items()}
    for name, probability in tempered.items():
        assert probability == pytest.approx(powers[name] / sum(powers.values()), rel=1e-4)
    assert tempered != pytest.approx(plain, rel=1e-3)


def replaced(header: Header) -> Header:
    return Header.from_json(header.to_json() | {"decision": {}})


@pytest.mark.slow
def test_runs_that_are_no_pair_are_refused(
    script: ModuleType, pair: tuple[RunFolder, RunFolder], digits: Path, tmp_path: Path
) -> None:
    run, twin = pair
    shutil.copytree(twin.path, tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    page = (other.path / "recipe.toml").read_text(encoding="utf-8")
    (other.path / "recipe.toml").write_text(page.replace("epochs = 2", "epochs = 3"), encoding="utf-8")
    with pytest.raises(UsageError, match="other is no twin of all: they differ in recipe"):
        script.check_pair(run, other)
    with pytest.raises(UsageError, match="names another network"):
        script.bundle(
            run, twin, data=[str(digits)], data_name="digits", output=tmp_path / "resnet20.digits.safetensors"
        )
    assert not list(tmp_path.glob("*.safetensors"))


# --- they answer only by name ---


def write_stand_in(folder: Path) -> Path:
    """Write weights that have learnt nothing, as the record of a network that has."""
    torch.manual_seed(0)
    network = catalog.build("resnet20")
    header = Header(
        spec=network.spec, classes=CLASSES, preprocess=Preprocess.for_size(32), metrics={"top1": 0.1, "top5": 0.5},
        data={"name": "CIFAR-10", "picture_side": 32}, license="none",
    )  # fmt: skip
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    folder.mkdir(parents=True)
    checkpoint.save(folder / SHIPPED.name, tensors, header)
    return folder / SHIPPED.name


def forget() -> None:
    catalog._records.cache_clear()
    catalog._published.cache_clear()


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as if it carried a file that stands in for the bundled one."""
    path = write_stand_in(tmp_path / "models" / "bundled")
    shutil.copy(catalog._FOLDER / "published.json", tmp_path / "models")
    monkeypatch.setattr(catalog, "_FOLDER", tmp_path / "models")
    forget()
    yield path
    monkeypatch.undo()
    forget()


@pytest.fixture
def resnetkit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Output]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(pixels[:32, :32]).save("small.png")

    def run(*arguments: str | Path) -> Output:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def test_it_never_answers_unless_it_was_named(carried: Path, resnetkit: Callable[..., Output]) -> None:
    code, out, err = resnetkit("predict", "photo.png", "small.png")
    assert (code, out) == (7, "")
    assert "resnet18" in err
    assert "resnet20" not in err
    code, out, _ = resnetkit("predict", "small.png", "--model", "resnet20", "--format", "jsonl")
    assert code == 0
    assert json.loads(out)["label"] in CLASSES


def test_for_a_photo_it_says_that_it_knows_ten_classes_of_small_pictures(
    carried: Path, resnetkit: Callable[..., Output]
) -> None:
    for name in ("resnet20", "resnet20.cifar10"):
        code, out, _ = resnetkit("predict", "photo.png", "small.png", "--model", name)
        assert code == 0
        [warning] = [line for line in out.splitlines() if line.startswith("warning")]
        assert warning == (
            "warning: photo.png: resnet20.cifar10 knows only 10 classes of 32x32 pictures, and this one has 200x120 "
            "pixels: its answer may mean nothing"
        )


def test_a_model_of_one_s_own_photos_warns_of_none(tmp_path: Path) -> None:
    header = Header.from_json(read_header(SHIPPED).to_json() | {"data": {"sources": ["photos"]}})
    checkpoint.save(tmp_path / "own.safetensors", checkpoint.load(SHIPPED)[0], header)
    Image.new("RGB", (300, 300)).save(tmp_path / "photo.png")
    assert rk.load(tmp_path / "own.safetensors", threads=1).predict(tmp_path / "photo.png").warnings == ()


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="picture_side"):
        Header.from_json(read_header(SHIPPED).to_json() | {"data": {"picture_side": "32"}})


def test_training_starts_from_it_where_it_is_asked_for_and_cifar10_is_not_the_recipe(carried: Path) -> None:
    def wanted(**changes: object) -> str | None:
        return weights_wanted(Request(data=("x",), **changes), median_side=32, num_pictures=9)  # type: ignore[arg-type]

    assert wanted(model="resnet20") == wanted(model="resnet20", recipe="finetune") == "resnet20.cifar10"
    assert wanted(model="resnet20", recipe="cifar10") is wanted(model="resnet20", recipe="scratch") is None
    assert wanted(model="resnet20", weights="none") is None
    assert wanted(model="resnet18") is wanted(model="resnet32") is None


def test_it_is_listed_and_described(carried: Path, resnetkit: Callable[..., Output]) -> None:
    _, out, _ = resnetkit("models")
    [line] = [line for line in out.splitlines() if line.startswith("resnet20.cifar10")]
    assert line.split() == ["resnet20.cifar10", "10.0", "%", "0.3", "M", "0.04", "1", "MB", "-"]
    assert catalog.record("resnet20.cifar10").num_params == sum(
        p.numel() for p in catalog.build("resnet20").parameters()
    )
    _, out, _ = resnetkit("models", "resnet20.cifar10", "--format", "json")
    assert json.loads(out)["data"]["name"] == "CIFAR-10"


def test_nothing_is_downloaded_for_it(carried: Path, resnetkit: Callable[..., Output]) -> None:
    code, out, err = resnetkit("download", "resnet20", "--output", "mine.safetensors")
    assert (code, out) == (0, "mine.safetensors\n")
    assert Path("mine.safetensors").read_bytes() == carried.read_bytes()
    assert "part of this package; licence: none" in err


def few_digits(folder: Path) -> list[Path]:
    every = write_digits(folder)
    for path in sorted(folder.rglob("*.png"), key=lambda path: path.name)[150:]:
        path.unlink()
    return [path for path in every if path.exists()]


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_demo_fine_tunes_it_where_it_is_there(
    there: bool, carried: Path, resnetkit: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "write_digits", few_digits)
    if not there:
        carried.unlink()
        forget()
    code, out, err = resnetkit("demo")
    assert code == 0
    assert ("weights   resnet20.cifar10" in err) == there
    assert f"recipe    {'finetune' if there else 'scratch'}: 5 epochs" in err
    assert f"pictures  {32 if there else 8} pixels" in err
    assert "Accuracy" in out


# --- the file that is shipped ---

if_shipped = pytest.mark.skipif(not SHIPPED.exists(), reason="the bundled file is not here")


@if_shipped
def test_the_shipped_file_is_small_and_states_everything() -> None:
    header = read_header(SHIPPED)
    assert SHIPPED.stat().st_size < 1_000_000
    assert header.classes == CLASSES
    assert header.metrics["split"] == "test"
    assert header.metrics["count"] == 10_000
    assert header.metrics["tta"]["top1"] > header.metrics["top1"] > 0.8
    assert header.data["name"] == "CIFAR-10"
    assert header.data["picture_side"] == 32
    assert 0.3 < header.decision.temperature < 5
    assert header.decision.temperature == header.metrics["calibration"]["temperature"]
    assert {"command", "hours", "machine", "seed"} <= set(header.recipe)
    assert "Apache-2.0" in (header.license or "")
    assert {tensor.dtype for tensor in load_file(SHIPPED).values()} == {torch.float16, torch.int64}


@if_shipped
@pytest.mark.slow
def test_the_shipped_file_reaches_what_it_states(shared_data: Path) -> None:
    metrics = rk.evaluate(shared_data / "cifar10.zip", model=SHIPPED, split="test").metrics
    stated = read_header(SHIPPED).metrics
    assert metrics["count"] == 10_000
    # Another processor adds up in another order: a picture or two on the border may fall the other way.
    assert metrics["top1"] == pytest.approx(stated["top1"], abs=3e-4)
    assert metrics["loss"] == pytest.approx(stated["loss"], abs=1e-3)
