"""The examples run, and leave what they say."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ("why-curves.png", "why-depth.png", "why-deletion.png")


def start(script: str, *arguments: str, place: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(place)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(ROOT / script), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_why_residuals_measures_eight_networks_and_leaves_no_runs(tmp_path: Path) -> None:
    process = start("examples/why_residuals.py", "--quick", "--output", "why", place=tmp_path)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == sorted([*FIGURES, "measured.json"])
    measured = json.loads((tmp_path / "why" / "measured.json").read_text(encoding="utf-8"))
    assert {(one["kind"], one["depth"], one["norm"]) for one in measured} == {
        (kind, depth, norm) for kind in ("plain", "resnet") for depth in (8, 14) for norm in (True, False)
    }
    assert "ResNet-14 without BatchNorm (n = 1)" in said
    deeper = next(one for one in measured if one["depth"] == 14 and one["norm"])
    assert len(deeper["untrained"]["gradient"]) == 6
    assert [value is None for value in deeper["deleted"]["without"]] == [False, False, True, False, True, False]
    shallow = next(one for one in measured if (one["kind"], one["depth"], one["norm"]) == ("plain", 8, True))
    whole = shallow["deleted"]["whole"]
    assert any(value not in (None, whole) for value in shallow["deleted"]["without"]), "a deletion that deletes nothing"
    assert not list(tmp_path.glob("tmp*"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start("examples/why_residuals.py", "--output", "why", place=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("tmp*/run")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert errors.endswith("stopped; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp") or path.name == "why"] == []


@pytest.mark.slow
def test_tutorial_mistakes_prints_a_figure_for_each_line(tmp_path: Path) -> None:
    process = start("examples/tutorial_mistakes.py", "--epochs", "1", place=tmp_path)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    figures = {line[:66].strip(): line[66:].strip() for line in said.splitlines()}
    assert figures["resnet18, imagenet stem, 32 pixels: sides in stage 1 and 4"] == "8 and 1"
    assert figures["512 channels: size is not 512"] == "True"
    assert figures["cross-entropy after a softmax, certain and right"].startswith("1.461 ")
    assert figures["rightly asked (320 held-out digits)"].endswith(" %"), figures


@pytest.mark.slow
def test_plain_vs_residual_draws_the_runs_it_trained(tmp_path: Path) -> None:
    size = ("--recipe", "scratch", "--epochs", "1", "--depths", "8", "--threads", "1", "--set", "augment.flip=none")
    train = start(
        "benchmarks/plain_vs_residual.py", "--data", "digits", *size, "--into", "r", "--output", "a.png", place=tmp_path
    )
    said, errors = train.communicate()
    assert train.returncode == 0, errors
    table = [line for line in said.splitlines() if not line.endswith("done")]
    again = start(
        "benchmarks/plain_vs_residual.py", "--runs", "r/plain8-0", "r/resnet8-0", "--output", "b.png", place=tmp_path
    )
    assert again.communicate()[0].splitlines() == table
    assert [line.split()[0] for line in table[1:]] == ["plain-8", "ResNet-8"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_figures_of_the_docs_are_small_pictures_that_a_page_shows() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    figures = sorted((ROOT / "docs" / "figures").glob("*.png"))
    assert len(figures) >= 4
    for figure in figures:
        assert f"](figures/{figure.name})" in pages
        assert figure.stat().st_size < 300_000
        with Image.open(figure) as picture:
            assert picture.width <= 1400
