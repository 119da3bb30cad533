"""Comparing runs, thresholds and sets, outliers and calibrated copies, as a user meets them."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.api.reporting import report
from resnetkit.errors import UsageError
from resnetkit.evaluation.guarantees import fit_decision
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import read_header
from resnetkit.watcher import Watcher
from tests.conftest import Output


@pytest.fixture(scope="module")
def other(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    settings = ("augment.flip=none",)
    place = tmp_path_factory.mktemp("runs") / "second"
    return rk.train(digits, model="resnet8", epochs=5, limit=400, threads=1, settings=settings, output=place)


def test_the_validation_part_fits_what_the_checkpoint_decides_with(other: rk.Run) -> None:
    decision = read_header(other.path / "best.safetensors").decision
    assert decision.fitted_on is not None
    assert decision.fitted_on > 20
    assert set(decision.sets) == {"0.8", "0.9", "0.95", "0.99"}
    metrics = other.metrics
    assert metrics is not None
    assert metrics["calibration"]["temperature"] == decision.temperature
    assert metrics["calibration"]["fitted_on"] == "val"  # and the test part is scored
    assert metrics["test_looks"] == 1
    low, high = metrics["intervals"]["balanced_accuracy"]
    assert low < metrics["balanced_accuracy"] < high
    json.dumps(metrics, allow_nan=False)


def test_runs_are_compared_on_the_pictures_both_were_scored_on(
    resnetkit: Callable[..., Output],
    finished: rk.Run,
    other: rk.Run,
    tmp_path: Path,
) -> None:
    code, out, _ = resnetkit("compare", finished.path, other.path, "--output", "marks.csv")
    assert code == 0
    assert "second is better than first" in out
    with open(tmp_path / "marks.csv", newline="") as file:
        marks = list(csv.DictReader(file))
    shared = min(run.metrics["count"] for run in (finished, other) if run.metrics)
    assert 0 < len(marks) <= shared
    share = sum(row["second correct"] == "true" for row in marks) / len(marks)
    found = rk.compare(finished, other)
    assert found.rows[1].top1 == pytest.approx(share)
    assert found.count == len(marks)
    assert found.rows[1].difference == pytest.approx(found.rows[1].top1 - found.rows[0].top1)
    code, out, _ = resnetkit("compare", finished.path, other.path, "--format", "json")
    rows = json.loads(out)["rows"]
    assert rows[1]["p_value"] < 0.05
    assert rows[0]["images_per_second"] > 0
    alike = rows[0]["network"] == rows[1]["network"]
    assert (rows[0]["images_per_second"] == rows[1]["images_per_second"]) == alike  # one shape is measured once


def test_comparisons_that_mean_nothing_are_refused(finished: rk.Run, other: rk.Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two runs at least"):
        rk.compare(finished)
    with pytest.raises(UsageError, match="named twice"):
        rk.compare(finished, finished.path)
    shutil.copytree(other.path, tmp_path / "elsewhere")
    rows = (tmp_path / "elsewhere" / "predictions.csv").read_text().splitlines()
    (tmp_path / "elsewhere" / "predictions.csv").write_text(rows[0] + "\n")
    with pytest.raises(UsageError, match="no picture was scored by all"):
        rk.compare(finished, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "metrics.json").unlink()
    with pytest.raises(UsageError, match="no final evaluation yet"):
        rk.compare(finished, tmp_path / "elsewhere")


def test_predict_says_not_sure_and_gives_sets(other: rk.Run, digits: Path) -> None:
    pictures = str(digits / "test")
    plain = list(rk.load(other.path, threads=1).predict_many(pictures))
    careful = list(rk.load(other.path, threads=1, reject=0.2).predict_many(pictures))
    unsure = [p for p in careful if p.status == "not_sure"]
    assert 0 < len(unsure) < len(careful)
    assert max(p.probability or 0 for p in unsure) <= min(p.probability or 1 for p in careful if p.status == "ok")
    assert [p.label for p in careful] == [p.label for p in plain]
    sets = list(rk.load(other.path, threads=1, coverage=0.9).predict_many(pictures))
    sizes = [len(p.top) for p in sets]
    assert min(sizes) == 1 < max(sizes)
    truth = [Path(p.source).parent.name for p in sets]
    held = [name in dict(p.top) for p, name in zip(sets, truth, strict=True)]
    assert np.mean(held) > 0.8
    short = list(rk.load(other.path, threads=1, coverage=0.99).predict_many(pictures, top_k=1))
    cut = [p for p in short if p.status == "not_sure"]
    assert cut
    assert all("classes is possible" in p.warnings[-1] for p in cut)


@pytest.mark.slow
def test_thresholds_that_were_never_fitted_are_told(
    resnetkit: Callable[..., Output],
    other: rk.Run,
    digits: Path,
    tmp_path: Path,
) -> None:
    picture = next((digits / "test" / "one").iterdir())
    code, _, err = resnetkit("predict", picture, "--model", other.path, "--reject", "0.3")
    assert (code, "choose 0.01, 0.02, 0.05, 0.1, 0.2" in err) == (2, True)
    bare = rk.load(other.path, threads=1)
    bare.header = type(bare.header)(spec=bare.header.spec, classes=bare.classes, preprocess=bare.header.preprocess)
    bare.save(tmp_path / "bare.safetensors")
    code, _, err = resnetkit("predict", picture, "--model", "bare.safetensors", "--coverage", "0.9")
    assert (code, "--calibrated FILE.safetensors" in err) == (2, True)
    code, _, err = resnetkit(
        "evaluate", digits, "--model", "bare.safetensors", "--split", "test", "--calibrated", "new.safetensors"
    )
    assert (code, "takes no test pictures" in err, (tmp_path / "new.safetensors").exists()) == (2, True, False)
    code, _, _ = resnetkit(
        "evaluate", digits / "test", "--model", "bare.safetensors", "--calibrated", "new.safetensors", "--threads", "1"
    )
    assert code == 0
    assert read_header(tmp_path / "new.safetensors").decision.fitted_on == bare_count(digits)
    # The pictures that fix temperature and thresholds are known again by their content, and fix them for each other.
    scored = [rk.evaluate(data, model=tmp_path / "new.safetensors") for data in (digits / "test", digits / "train")]
    assert [found.metrics["calibration"]["fitted_on"] for found in scored] == ["crossfit", "val"]
    code, out, _ = resnetkit("predict", picture, "--model", "new.safetensors", "--coverage", "0.9", "--format", "json")
    assert code == 0
    assert json.loads(out)[0]["status"] == "ok"


def bare_count(digits: Path) -> int:
    return sum(1 for _ in (digits / "test").rglob("*.png"))


def test_figures_by_a_column_are_recorded_told_and_on_the_page(
    other: rk.Run, digits: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    pictures = [path for folder in sorted((digits / "test").iterdir()) for path in sorted(folder.iterdir())[:6]]
    rows = [f"{path},{path.parent.name},test,{'xyz'[place % 3] * (place > 5)}" for place, path in enumerate(pictures)]
    listed = tmp_path / "some.csv"
    listed.write_text("\n".join(["image_path,label,split,hand", *rows]), encoding="utf-8")
    run = tmp_path / "run"
    shutil.copytree(other.path, run)
    code, said, _ = resnetkit("evaluate", listed, "--model", run, "--by", "hand", "--threads", "1", "--quiet")
    assert code == 0
    assert "By hand, in % with 95 % intervals:" in said
    assert "  6 pictures without a value" in said
    (place,) = (run / "evaluations").iterdir()
    metrics = json.loads((place / "metrics.json").read_text(encoding="utf-8"))
    hand = metrics["by"]["columns"]["hand"]
    with (place / "predictions.csv").open(encoding="utf-8") as file:
        right = {row["source"]: row["correct"] == "true" for row in csv.DictReader(file)}
    for one in hand["values"]:
        own = [right[str(path)] for path, row in zip(pictures, rows, strict=True) if row.endswith(f",{one['value']}")]
        assert (one["count"], one["figures"]["accuracy"]["value"]) == (18, pytest.approx(np.mean(own)))
    page = report(run, photos=False, output=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "By hand" in page
    assert place.name in page
    assert resnetkit("evaluate", digits, "--model", run, "--by", "hand")[0] == 2


def test_outliers_that_get_an_answer_are_counted(
    resnetkit: Callable[..., Output],
    other: rk.Run,
    digits: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "noise").mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)).save(tmp_path / "noise" / f"{i}.png")
    (tmp_path / "noise" / "broken.png").write_bytes(b"no picture")
    looks = len((other.path / "test_looks.csv").read_text().splitlines())
    code, out, _ = resnetkit(
        "evaluate", digits, "--model", other.path, "--outliers", "noise", "--format", "json", "--threads", "1"
    )
    said = json.loads(out)
    assert code == 0
    assert (said["outliers"]["count"], said["outliers"]["unreadable"]) == (20, 1)
    shares = list(said["outliers"]["false_accept"].values())
    assert shares == sorted(shares, reverse=True)
    assert len((other.path / "test_looks.csv").read_text().splitlines()) == looks + 1
    assert said["test_looks"] == looks


def test_a_promise_that_too_few_pictures_allow_is_told(other: rk.Run, tmp_path: Path) -> None:
    network, header = checkpoint.load(other.path / "best.safetensors")
    decision = fit_decision(np.eye(4), np.arange(4))
    few = dataclasses.replace(header, decision=decision)
    checkpoint.save(tmp_path / "few.safetensors", network, few)
    heard: list[str] = []

    class Notes(Watcher):
        def note(self, text: str) -> None:
            heard.append(text)

    rk.load(tmp_path / "few.safetensors", threads=1, engine="torch", reject=0.05, coverage=0.99, watcher=Notes())
    assert [line.partition(":")[0] for line in heard] == ["--reject 0.05", "--coverage 0.99"]
    assert all("the 4 pictures" in line for line in heard)
