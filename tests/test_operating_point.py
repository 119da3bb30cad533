"""A class that is looked for, as a user meets it: chosen on held-out pictures, told, stated, exported."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from tests.conftest import Output


@pytest.fixture(scope="module")
def xrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two classes that overlap: brighter on average are those of the ill."""
    folder, random = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 40), ("test", 40)):
        for label, level in (("healthy", 100), ("ill", 135)):
            place = folder / part / label
            place.mkdir(parents=True)
            for number in range(count):
                middle = random.normal(level, 25)
                pixels = random.normal(middle, 20, (24, 24)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def run(xrays: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    settings = ("augment.flip=none", "augment.colour=0")
    place = tmp_path_factory.mktemp("runs") / "films"
    return rk.train(xrays, model="resnet8", epochs=3, threads=1, settings=settings, output=place)


def test_a_screening_model_from_held_out_pictures_to_its_export(
    resnetkit: Callable[..., Output], run: rk.Run, xrays: Path, tmp_path: Path
) -> None:
    code, _, err = resnetkit(
        "evaluate", xrays, "--model", run.path, "--split", "val", "--finding", "ill", "--goal", "sensitivity 0.95",
        "--calibrated", "screen.safetensors",
    )  # fmt: skip
    assert code == 0, err
    model = rk.load("screen.safetensors")
    assert isinstance(model.decision, rk.models.decision.Decision)
    point = model.decision.point
    assert point is not None
    assert (point.goal, point.share, point.met) == ("sensitivity 0.95", 0.5, True)
    assert f"a threshold of {point.at:.3g} for sensitivity 0.95" in " ".join(err.split())

    # Scored on others: what is told is what is counted, and the page says the same.
    code, out, _ = resnetkit(
        "evaluate", xrays, "--model", "screen.safetensors", "--prevalence", "0.02", "--output", "scores"
    )
    assert code == 0
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    with open(tmp_path / "scores" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    of_ill = [row for row in rows if row["label"] == "ill"]
    found = sum(row["predicted"] == "ill" for row in of_ill) / len(of_ill)
    ill = metrics["screening"]["pictures"]["ill"]
    assert ill["sensitivity"]["value"] == pytest.approx(found)
    assert metrics["top1"] == pytest.approx(sum(row["correct"] == "true" for row in rows) / len(rows))
    assert metrics["per_class"]["ill"]["recall"] == pytest.approx(found)
    likelier = [float(row["probability"]) < 0.5 for row in rows if row["predicted"] == "ill"]
    assert point.at < 0.5, "95 % of the ill are not found by one half"
    assert any(likelier)
    there = metrics["screening"]["at_prevalence"]
    alarms = 1 - ill["specificity"]["value"]
    assert there["ppv"]["value"] == pytest.approx(found * 0.02 / (found * 0.02 + alarms * 0.98))
    said = " ".join(out.split())
    assert f"As a test for ill, told from {point.at:.3g} on (sensitivity 0.95): sensitivity {100 * found:.1f} (" in said
    assert "Where 2 % are ill: PPV" in said

    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "As a test for ill" in page
    assert "Net benefit of acting on ill" in page

    # The pictures that chose it are judged by what the others choose.
    code, out, _ = resnetkit("evaluate", xrays, "--model", "screen.safetensors", "--split", "val", "--format", "json")
    own = json.loads(out)
    assert own["screening"]["pictures"]["ill"]["sensitivity"]["value"] == pytest.approx(
        own["per_class"]["ill"]["recall"]
    )

    # Predictions are the same answers, of rare illness too, and so are those of an export.
    pictures = sorted((xrays / "test").rglob("*.png"))[::7]
    plain = [rk.load("screen.safetensors").predict(path) for path in pictures]
    rare = [rk.load("screen.safetensors", prevalence=0.02).predict(path) for path in pictures]
    wanted = {Path(row["source"]).name + row["label"]: row["predicted"] for row in rows}
    assert [one.label for one in plain] == [wanted[path.name + path.parent.name] for path in pictures]
    assert [one.label for one in rare] == [one.label for one in plain]
    assert all(dict(a.top)["ill"] < dict(b.top)["ill"] for a, b in zip(rare, plain, strict=True))
    code, _, err = resnetkit(
        "export", "screen.safetensors", "--to", "onnx", "--images", xrays / "test", "--output", "shipped"
    )
    assert code == 0, err
    script = [sys.executable, str(tmp_path / "shipped" / "predict.py"), *map(str, pictures)]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.rpartition(": ")[2].split()[0] for line in lines] == [one.label for one in plain]
    shutil.rmtree(tmp_path / "shipped")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["--goal", "youden", "--finding", "ill"],
            "--goal says what thresholds are fitted for: give it with --calibrated",
        ),
        (["--goal", "youden", "--calibrated", "x.safetensors"], "--goal: say for which class, as --finding CLASS"),
        (["--goal", "f1", "--finding", "ill", "--calibrated", "x.safetensors"], "--goal 'f1': choose youden"),
        (["--finding", "il"], "has no such class; did you mean 'ill'?"),
        (["--prevalence", "0.1"], "--prevalence: say of which class, as --finding CLASS"),
        (["--prevalence", "3", "--finding", "ill"], "a prevalence of 3.0: give a share between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    resnetkit: Callable[..., Output], run: rk.Run, xrays: Path, given: list[str], told: str
) -> None:
    code, _, err = resnetkit("evaluate", xrays, "--model", run.path, "--split", "val", *given)
    assert code == 2
    assert told in " ".join(err.split())


@pytest.mark.slow
def test_a_model_that_decides_by_costs_from_held_out_pictures_to_its_export(
    resnetkit: Callable[..., Output], run: rk.Run, xrays: Path, tmp_path: Path
) -> None:
    given = ["--cost", "ill:healthy=20"]
    code, out, err = resnetkit(
        "evaluate", xrays, "--model", run.path, "--split", "val", *given, "--calibrated", "careful.safetensors"
    )
    assert code == 0, err
    assert "the cost of 1 error, all from 80 pictures" in " ".join(err.split())
    model = rk.load("careful.safetensors")
    assert isinstance(model.decision, rk.models.decision.Decision)
    assert model.decision.costs is not None
    assert (model.decision.costs.pairs, model.decision.rejects) == (((1, 0, 20.0),), {})
    assert "ill told healthy, at 20:" in out

    # Scored on others: what is told is what is counted, and it is told from 1 in 21 on.
    code, out, _ = resnetkit("evaluate", xrays, "--model", "careful.safetensors", "--output", "scores")
    assert code == 0
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    with open(tmp_path / "scores" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    missed = sum((row["label"], row["predicted"]) == ("ill", "healthy") for row in rows)
    alarms = sum((row["label"], row["predicted"]) == ("healthy", "ill") for row in rows)
    assert metrics["cost"]["mean"] == pytest.approx((20 * missed + alarms) / len(rows))
    assert metrics["cost"]["errors"][0]["count"] == missed
    assert metrics["cost"]["constant"] == {"label": "ill", "mean": 0.5}
    assert metrics["cost"]["changed"] > 0
    assert metrics["screening"]["threshold"] == pytest.approx(1 / 21)
    assert f"Errors cost {metrics['cost']['mean']:.3g} a picture (95 % interval" in " ".join(out.split())

    # Predictions and exports are the same answers, and so is the plain model asked for them.
    pictures = sorted((xrays / "test").rglob("*.png"))[::7]
    wanted = [
        next(row["predicted"] for row in rows if row["source"].endswith(f"{path.parent.name}/{path.name}"))
        for path in pictures
    ]
    assert [model.predict(path).label for path in pictures] == wanted
    asked = rk.load(run.path, cost=["ill:healthy=20"])
    assert [asked.predict(path).label for path in pictures].count("ill") >= wanted.count("ill") - 2
    code, _, err = resnetkit(
        "export", "careful.safetensors", "--to", "onnx", "--images", xrays / "test", "--output", "shipped"
    )
    assert code == 0, err
    script = [sys.executable, str(tmp_path / "shipped" / "predict.py"), *map(str, pictures)]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.rpartition(": ")[2].split()[0] for line in lines] == wanted
    shutil.rmtree(tmp_path / "shipped")

    for more, told in (
        (["--reject", "0.05"], "--cost contradicts --reject"),
        (["--cost", "ill:well=3"], "there is no class 'well'"),
    ):
        code, _, err = resnetkit("predict", pictures[0], "--model", run.path, *given, *more)
        assert (code, told in " ".join(err.split())) == (2, True), err
    for more, told in (
        (["--prevalence", "0.1", "--finding", "ill"], "decides by costs of errors"),
        (["--finding", "ill", "--calibrated", "x.safetensors"], "fits a threshold"),
    ):
        code, _, err = resnetkit("evaluate", xrays, "--model", "careful.safetensors", "--split", "val", *more)
        assert (code, told in " ".join(err.split())) == (2, True), err


def test_a_run_trained_for_costs_says_them_on_its_page(xrays: Path, tmp_path: Path) -> None:
    run = rk.train(
        xrays, model="resnet8", epochs=1, threads=1, limit=30, cost=["ill:healthy=20"], output=tmp_path / "run"
    )
    assert run.metrics is not None
    assert run.metrics["cost"]["errors"][0]["cost"] == 20
    assert rk.load(run.path).decision.costs is not None  # type: ignore[union-attr]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "What errors cost" in page
    assert "ill told healthy, at 20" in page
    with pytest.raises(rk.errors.UsageError, match="no class 'well'"):
        rk.train(xrays, model="resnet8", epochs=1, cost=["ill:well=20"], output=tmp_path / "other")
    with pytest.raises(rk.errors.UsageError, match="folds are scored by the most probable class"):
        rk.train(xrays, model="resnet8", epochs=1, cost=["ill:healthy=20"], folds=2, output=tmp_path / "other")
