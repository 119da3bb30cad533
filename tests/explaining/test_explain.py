"""`resnetkit explain` and `rk.explain`, from files to pictures, figures and exit codes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.cli import main
from resnetkit.errors import UsageError
from tests.exporting.test_export import CLASSES, write
from tests.inference.test_graph import some

DRAWN = True  # maps are read from their pictures

pytest.importorskip("captum")
Output = tuple[int, str, str]


@pytest.fixture
def resnetkit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Output]:
    """Run a command in a folder with a model and pictures; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write(Path("model.safetensors"))
    for number, path in enumerate(("a/cat.png", "b/cat.png", "b/<x> 'y\".png")):
        Path(path).parent.mkdir(exist_ok=True)
        Image.fromarray(some(1, 40, 50, seed=number)[0]).save(path)

    def run(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as left:
            main(["explain", *arguments, "--model", "model.safetensors", "--threads", "1"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def test_every_picture_gets_a_sheet_of_its_own_and_nothing_is_overwritten(resnetkit: Callable[..., Output]) -> None:
    code, out, _ = resnetkit("a", "b", "--output", "maps", "--top-k", "2", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert rows == json.loads(Path("maps/explanations.json").read_text())
    assert [row["source"] for row in rows] == ["a/cat.png", "b/<x> 'y\".png", "b/cat.png"]
    assert [row["picture"] for row in rows] == ["cat.png", "_x_ 'y_.png", "cat-2.png"]
    assert all(len(row["classes"]) == 2 and row["status"] == "ok" and row["error"] is None for row in rows)
    predictions = list(rk.predict("a", model="model.safetensors", engine="torch", precision="fp32"))
    assert [one["label"] for one in rows[0]["classes"]] == [label for label, _ in predictions[0].top[:2]]
    assert rows[0]["classes"][0]["probability"] == pytest.approx(predictions[0].probability, abs=1e-4)
    before = {path.name: path.read_bytes() for path in Path("maps").iterdir()}
    assert resnetkit("a", "--output", "maps", "--top-k", "1")[0] == 0
    after = {path.name: path.read_bytes() for path in Path("maps").iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"cat-3.png", "explanations-2.json"}


def test_any_class_can_be_asked_for_by_name(resnetkit: Callable[..., Output]) -> None:
    code, out, _ = resnetkit(
        "a", "--output", "maps", "--class", CLASSES[1], "--method", "occlusion", "--format", "json"
    )
    assert code == 0
    assert [one["label"] for one in json.loads(out)[0]["classes"]] == [CLASSES[1]]
    code, _, err = resnetkit("a", "--output", "more", "--class", "Ameisen")
    assert (code, Path("more").exists()) == (2, False)
    assert "no class 'Ameisen'; did you mean 'ameise'?" in err


def test_pictures_that_cannot_be_read_are_told_and_the_rest_go_on(resnetkit: Callable[..., Output]) -> None:
    Path("b/torn.png").write_bytes(Path("b/cat.png").read_bytes()[:300])
    code, out, err = resnetkit("b", "--output", "maps", "--top-k", "1")
    assert code == 4
    assert "torn.png" in err
    assert "b/cat.png" in out
    rows = json.loads(Path("maps/explanations.json").read_text())
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
    assert rows[2]["picture"] is None
    Image.new("RGB", (9000, 1)).save("b/thin.png")
    for name in ("b/torn.png", "b/thin.png"):
        code, _, err = resnetkit(name, "--output", "none")
        assert (code, f"{name}: " in err) == (3, True)


def test_heat_maps_do_not_become_part_of_the_pictures(resnetkit: Callable[..., Output]) -> None:
    code, _, err = resnetkit("a", "--output", "a/maps")
    assert (code, Path("a/maps").exists()) == (2, False)
    assert "choose a folder outside" in err


def test_python_gets_the_maps_themselves(resnetkit: Callable[..., Output]) -> None:
    model = rk.load("model.safetensors", threads=1)  # OpenVINO answers, and the network behind it is looked into
    [found] = rk.explain("a/cat.png", model=model, label="bee")
    [one] = found.maps
    assert one.label == "bee"
    assert one.heat.shape == (24, 24)
    assert found.picture is not None
    assert found.picture.shape[2] == 3
    first, second = found.save("maps"), found.save("maps")
    assert first != second
    assert np.asarray(Image.open(first)).shape[2] >= 3
    with pytest.raises(UsageError, match="top_k"):
        rk.explain("a", model=model, top_k=0)


def test_an_export_has_no_network_to_look_into(resnetkit: Callable[..., Output]) -> None:
    rk.export("model.safetensors", output="exported", images=["a"], threads=1)
    with pytest.raises(UsageError, match="no PyTorch network: use the run or checkpoint it was exported from"):
        rk.explain("a", model="exported")


def test_without_the_library_the_extra_is_named(
    resnetkit: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    code, _, err = resnetkit("a", "--output", "maps")
    assert code == 2
    assert err.strip().endswith('pip install "resnetkit[explain]"')
    assert err.count("\n") == 1
