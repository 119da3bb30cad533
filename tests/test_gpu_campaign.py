import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_campaign.py"
MIB = 2**20


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_campaign", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_data_that_travel_in_pieces_are_whole_again(script: ModuleType, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "data").write_bytes(content)
    pieces = script.split(tmp_path / "data", tmp_path / "all", most=300)
    assert [path.stat().st_size for path in pieces] == [250] * 4
    state = tmp_path / "state"
    for number, path in enumerate(pieces):  # one with each call
        assert not (state / "cifar10.zip").exists()
        carried = tmp_path / f"call {number}"
        carried.mkdir()
        path.rename(carried / path.name)
        said = script.take_over(carried, state)
    assert said == "the data are here"
    assert (state / "cifar10.zip").read_bytes() == content
    assert script.take_over(None, state) == said


def test_a_damaged_piece_is_named_and_not_taken(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 100)
    first, second = script.split(tmp_path / "data", tmp_path / "carried", most=50)
    second.write_bytes(b"y" * 50)
    said = script.take_over(tmp_path / "carried", tmp_path / "state")
    assert said == f"pieces [2] of 2 are missing; damaged: {second.name}"
    assert first.name in os.listdir(tmp_path / "state" / "pieces")
    assert script.take_over(None, tmp_path / "other") == "no piece of the data is here"


def test_what_travels_with_a_call_fits(script: ModuleType, shared_data: Path) -> None:
    sizes = script.cuts((shared_data / "cifar10.zip").stat().st_size, most=script.MOST_BYTES)
    assert len(sizes) == 5
    assert max(sizes) <= 28 * MIB
    tracked = (
        path for folder in ("src", "tests", "docs", "benchmarks") for path in SCRIPT.parents[1].glob(f"{folder}/**/*")
    )
    tree = sum(path.stat().st_size for path in tracked if path.is_file() and "__pycache__" not in path.parts)
    assert max(sizes) + tree + 4 * MIB < 64 * MIB


def test_a_line_that_a_kill_cut_short_is_done_again(script: ModuleType, tmp_path: Path) -> None:
    script.append(tmp_path, {"piece": "a"})
    with open(tmp_path / "results.jsonl", "a") as file:
        file.write('{"piece": "b", "ima')
    assert script.read_results(tmp_path) == [{"piece": "a"}]
    script.append(tmp_path, {"piece": "b"})
    assert [result["piece"] for result in script.read_results(tmp_path)] == ["a", "b"]


def test_pieces_have_names_of_their_own_and_fit_into_a_call(script: ModuleType, tmp_path: Path) -> None:
    for miniature in (False, True):
        pieces = script.pieces(tmp_path, miniature=miniature)
        assert len({piece.name for piece in pieces}) == len(pieces)
        assert all(piece.about <= 270 for piece in pieces)
    names = [piece.name for piece in script.pieces(tmp_path, miniature=False)]
    assert names[0] == "tests"
    assert {"step resnet50 timm", "predict resnet18 compiled", "fast-9", "resnet110", "ranks", "memory"} <= set(names)


def small_cifar10(path: Path) -> None:
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for part, count in (("train", 8), ("test", 4)):
            for number in range(10 * count):
                pixels = generator.integers(0, 120, (32, 32, 3))
                pixels[3 * (number % 10) : 3 * (number % 10) + 3] += 120
                file = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(file, "WEBP", lossless=True)
                archive.writestr(f"cifar10/{part}/class{number % 10}/{number}.webp", file.getvalue())


@pytest.mark.slow
def test_the_miniature_does_every_piece_though_it_is_killed_and_stopped(script: ModuleType, tmp_path: Path) -> None:
    small_cifar10(tmp_path / "cifar10.zip")
    script.split(tmp_path / "cifar10.zip", tmp_path / "carried", most=60_000)
    state = tmp_path / "state"
    command = [sys.executable, SCRIPT, "run", "--miniature", "--state", state, "--carried", tmp_path / "carried"]
    command += ["--out", tmp_path / "out"]
    names = [piece.name for piece in script.pieces(state, miniature=True)]
    for seconds in (30, 60):  # killed in the middle of something
        with subprocess.Popen([*map(str, command), "--seconds", "600"], stdout=subprocess.PIPE) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    for _ in range(20):
        subprocess.run([*map(str, command), "--seconds", "400"], check=True, stdout=subprocess.PIPE)
        results = script.read_results(state)
        if len(results) == len(names):
            break
    assert sorted(result["piece"] for result in results) == sorted(names)
    unable = {result["piece"]: result["said"] for result in results if "failed" in result}
    without_timm = importlib.util.find_spec("timm") is None
    assert [name for name in unable if not (without_timm and name.endswith("timm"))] == [], unable
    assert json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[0])["piece"] == "tests"
    assert script.summary(results)["n"] == 2
