"""What the benchmarks share: programs from a cold start, results that are kept, sets with the part that scores."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAM = """
import os, pathlib, sys, time
assert not list(pathlib.Path.home().iterdir())
output = pathlib.Path(sys.argv[1])
output.mkdir()
for row in ("epoch,val_top1", "0,0.5", "1,0.75"):
    with open(output / "results.csv", "a") as file:
        file.write(row + "\\n")
    time.sleep(0.1)
time.sleep(0.3)
"""


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    modules = {}
    for name in ("cold_runs", "six_sets"):
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        modules[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, modules[name])
        spec.loader.exec_module(modules[name])
    return modules


def test_each_row_of_a_program_gets_the_seconds_at_which_it_was_there(
    loaded: dict[str, ModuleType], tmp_path: Path
) -> None:
    command = [sys.executable, "-S", "-c", PROGRAM, str(tmp_path / "run")]
    run = loaded["cold_runs"].cold_run(command, output=tmp_path / "run", threads=1)
    first, last = run["rows"]
    assert (first["val_top1"], last["val_top1"]) == (0.5, 0.75)
    assert 0.1 < first["at"] <= last["at"] < run["whole"]
    assert last["at"] > 0.2


def test_a_program_that_fails_is_named_with_the_end_of_what_it_said(
    loaded: dict[str, ModuleType], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="ended with 1:\nno luck"):
        loaded["cold_runs"].cold_run(
            [sys.executable, "-S", "-c", "raise SystemExit('no luck')"], output=tmp_path / "run", threads=1
        )


def test_a_goal_is_reached_where_no_later_epoch_lies_below_it(loaded: dict[str, ModuleType]) -> None:
    curve = [(10.0, 0.9), (20.0, 0.96), (30.0, 0.94), (40.0, 0.95), (50.0, 0.97)]
    assert loaded["cold_runs"].reached(curve, 0.95) == 40
    assert loaded["cold_runs"].reached(curve, 0.9) == 10
    assert loaded["cold_runs"].reached(curve, 0.98) is None


def test_a_finished_run_is_found_again(loaded: dict[str, ModuleType], tmp_path: Path) -> None:
    kept = loaded["cold_runs"].Kept(tmp_path / "runs" / "kept.jsonl")
    assert kept.find(seed=0) is None
    kept.add(seed=0, rows=[1, 2])
    again = loaded["cold_runs"].Kept(tmp_path / "runs" / "kept.jsonl")
    assert again.find(seed=0) == {"seed": 0, "rows": [1, 2]}
    assert again.find(seed=1) is None


def test_the_part_that_scores_becomes_the_held_out_one_and_val_is_trained_on(
    loaded: dict[str, ModuleType], tmp_path: Path
) -> None:
    parts = {"train": [1, 2, 3], "val": [4], "test": [5, 6]}
    arrays = {f"{part}_images": np.array(numbers)[:, None, None] for part, numbers in parts.items()}
    labels = {f"{part}_labels": np.array(numbers) for part, numbers in parts.items()}
    np.savez(tmp_path / "a.npz", **arrays, **labels)
    changed = np.load(loaded["six_sets"].with_test_held_out(tmp_path / "a.npz"))
    assert changed["train_labels"].tolist() == [1, 2, 3, 4]
    assert changed["val_labels"].tolist() == [5, 6]
    assert set(changed) == {"train_images", "train_labels", "val_images", "val_labels"}
