"""Several processes that train one network: the same as one, and none waits for one that is gone."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file

from resnetkit import runtime
from resnetkit.errors import LostRankError
from resnetkit.runtime import Place
from resnetkit.training.run import TIMING_COLUMNS
from resnetkit.training.state import saved
from resnetkit.training.stopping import StopRequest
from resnetkit.training.together import heartbeat as heartbeats
from resnetkit.training.together.heartbeat import Heartbeat, last_words
from resnetkit.training.together.ranks import Ranks
from tests.tasks.shapes import paint

HERE = Path(__file__).parent
# The second for pyarrow, which pandas brings and scikit-learn imports.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
TRAIN = ["train", "digits", "--model", "resnet8", "--limit", "300", "--set", "augment.flip=none", "--threads", "1"]
FROZEN = [*TRAIN, "--epochs", "2", "--set", "batchnorm=frozen", "--set", "precision=fp32"]
LABELS = [
    "train", "list.csv", "--model", "resnet8", "--weights", "none", "--recipe", "scratch", "--threads", "1",
    *FROZEN[len(TRAIN) :],
]  # fmt: skip
OBJECTS = [
    "train", "shapes", "--image-size", "48", "--batch-size", "4", "--epochs", "2", "--threads", "1", "--set",
    "precision=fp32", "--set", "batchnorm=frozen", "--model", "resnet18", "--weights", "none", "--set",
    "model.width=16",
]  # fmt: skip
LONG = [*TRAIN, "--epochs", "5", "--set", "ema=0.9", "--set", "micro_batch=20"]


def in_order(jobs: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC")}
    done = subprocess.run(
        [sys.executable, HERE / "small_torchrun.py"], input=json.dumps(jobs), capture_output=True, text=True,
        cwd=folder, env={**environment, **ONE_THREAD}, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of(run: Path) -> list[dict[str, str]]:
    with open(run / "results.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in csv.DictReader(file)]


def assert_same_bits(one: Path, other: Path) -> None:
    pairs = [(one / name, other / name) for name in ("best.safetensors", "last.safetensors")]
    for ours, theirs in [*pairs, (saved(one / "state")[-1], saved(other / "state")[-1])]:
        left, right = load_file(ours), load_file(theirs)
        assert left.keys() == right.keys()
        assert [name for name in left if not left[name].equal(right[name])] == []
    assert rows_of(one) == rows_of(other)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_image_is_one_ranks_for_all_set_sizes(size: int) -> None:
    for count in range(38):
        shares = [np.arange(count)[Ranks(rank=rank, size=size).share(count)] for rank in range(size)]
        assert np.concatenate(shares).tolist() == list(range(count))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert max(map(len, shares)) == Ranks(size=size).longest_share(count)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ranks_see_each_image_once_an_epoch_in_the_batches_of_one_process(make_loop: Any, size: int) -> None:
    batches = make_loop().batches
    for epoch in (0, 1):
        seen = []
        for step in range(batches.steps_per_epoch):
            indices = batches.indices(epoch, step)
            whole = batches.get(indices, epoch, step)
            for rank in range(size):
                share = Ranks(rank=rank, size=size).share(len(indices))
                batch = batches.get(indices, epoch, step, share=share)
                assert batch.images.equal(whole.images[share])
                assert batch.targets.equal(whole.targets[share])
                seen += indices[share].tolist()
        assert sorted(seen) == list(range(batches.num_images))


def test_the_place_is_what_torchrun_says_and_names_the_command_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "7")  # left by another launcher: not a job of torchrun
    assert runtime.place() == Place()
    assert runtime.place().command("resume", "my run") == "resnetkit resume 'my run'"
    threads, memory = runtime.available_threads(), runtime.available_memory()
    for name, value in {"RANK": 3, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert runtime.place() == Place(rank=3, size=8, local_rank=1, local_size=2, launched=True)
    assert runtime.place().command("resume", "a") == (
        "torchrun --nnodes 4 --nproc-per-node 2 -m resnetkit resume a"
    )  # fmt: skip
    assert runtime.available_threads() == max(1, threads // 2)
    assert memory is None or (runtime.available_memory() or 0) < 0.6 * memory


def test_under_torchrun_a_second_signal_does_not_end_a_process_that_saves() -> None:
    with StopRequest(launched=True) as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM


@pytest.fixture
def two_beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Heartbeat, Heartbeat]]:
    monkeypatch.setattr(heartbeats, "_SECONDS_BETWEEN_BEATS", 0.02)
    monkeypatch.setattr(heartbeats, "_SECONDS_OF_SILENCE", 1.5)
    monkeypatch.setattr(heartbeats, "_SECONDS_OF_SILENCE_AFTER_A_BREAK", 0.6)
    store = dist.HashStore()
    one, other = (Heartbeat(store, rank=rank, size=2) for rank in range(2))
    store.set("rank/1", "0")
    one.start()
    other.start()
    yield one, other
    one.stop()
    other.stop()


def silence(beat: Heartbeat) -> None:
    """End a heartbeat as `kill -9` does: without a last word."""
    beat._ended.set()
    beat._thread.join()


def test_a_rank_that_falls_silent_is_named_and_the_first_that_is_left_speaks(
    two_beats: tuple[Heartbeat, Heartbeat],
) -> None:
    one, other = two_beats
    silence(one)
    loss = other.loss()
    assert isinstance(loss, LostRankError)
    assert str(loss).startswith(f"rank 0 of 2 (process {os.getpid()} on ")
    assert loss.exit_code == 5
    assert other.speaks()


@pytest.mark.slow
def test_a_silent_rank_is_found_where_no_connection_breaks(two_beats: tuple[Heartbeat, Heartbeat]) -> None:
    one, other = two_beats
    silence(other)
    one._thread.join(0.4)
    assert not one._lost
    deadline = time.monotonic() + 10
    while not one._lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "rank 1 of 2" in one._lost[1]


def test_a_rank_that_stopped_by_itself_leaves_its_reason(two_beats: tuple[Heartbeat, Heartbeat]) -> None:
    one, other = two_beats
    other.stop(last_words("b.zip: not a zip", exit_code=3))
    loss = one.loss()
    assert loss is not None
    assert str(loss).endswith("stopped: b.zip: not a zip")
    assert loss.exit_code == 3
    assert one.speaks()


def test_a_store_that_does_not_answer_ends_the_process_with_a_line(
    two_beats: tuple[Heartbeat, Heartbeat], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = two_beats
    one.stop()
    left, hangs = Queue[int](), Event()

    class Hung:
        def set(self, key: str, value: str) -> None:
            hangs.wait()

    monkeypatch.setattr(heartbeats, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(os, "_exit", left.put)
    store, other._store = other._store, Hung()  # type: ignore[assignment]
    try:
        assert left.get(timeout=10) == 5
        assert capsys.readouterr().err == "resnetkit: the machine that keeps torchrun's store does not answer\n"
    finally:
        other._store = store
        hangs.set()


def test_nobody_is_lost_where_all_left_or_are_there(two_beats: tuple[Heartbeat, Heartbeat]) -> None:
    one, other = two_beats
    assert one.loss() is None
    other.stop()
    begin = time.monotonic()
    assert one.loss() is None
    assert time.monotonic() - begin < 0.6  # which would be half of waiting


JOBS: dict[str, dict[str, Any]] = {
    "frozen-1": {"size": 1, "arguments": [*FROZEN, "--output", "frozen-1"]},
    "frozen-3": {"size": 3, "arguments": [*FROZEN, "--output", "frozen-3"]},
    "labels-1": {"size": 1, "arguments": [*LABELS, "--output", "labels-1"]},
    "labels-2": {"size": 2, "arguments": [*LABELS, "--output", "labels-2"]},
    "whole": {"size": 2, "arguments": [*LONG, "--output", "whole"]},
    "stopped": {
        "size": 2, "arguments": [*LONG, "--output", "stopped"], "run": "stopped", "rows": 2, "signal": signal.SIGTERM,
    },
    "resumed": {"size": 2, "arguments": ["resume", "stopped"]},
    "one-stopped": {
        "size": 2, "arguments": [*LONG, "--output", "other"],
        "run": "other", "rows": 2, "signal": signal.SIGINT, "rank": 1,
    },
    "without-torchrun": {"size": 1, "arguments": ["resume", "other"], "alone": True},
    "by-three": {"size": 3, "arguments": ["resume", "other", "--epochs", "4"]},
    "killed": {
        "size": 3, "arguments": [*LONG, "--output", "killed"],
        "run": "killed", "rows": 2, "signal": signal.SIGKILL, "rank": 1,
    },
    "restarted": {"size": 3, "arguments": [*LONG, "--output", "killed"], "restart": 1},
    "first-killed": {
        "size": 2, "arguments": [*LONG, "--output", "first"],
        "run": "first", "rows": 1, "signal": signal.SIGKILL, "rank": 0,
    },
    "sync": {"size": 2, "arguments": [*TRAIN, "--set", "batchnorm=sync", "--output", "sync"]},
    "scores-2": {"size": 2, "call": "scores"},
    "scores-3": {"size": 3, "call": "scores"},
    "sums": {"size": 3, "call": "sums"},
    "errors": {"size": 2, "call": "errors"},
    "one-fails": {"size": 2, "call": "one_fails"},
}  # fmt: skip


@pytest.mark.slow
def test_the_claims_of_the_benchmark_hold_under_the_real_torchrun() -> None:
    script = HERE.parents[1] / "benchmarks" / "ranks.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all claims hold" in done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("ranks"), np.random.default_rng(0)
    rows = ["image_path,label"]
    for number in range(60):
        labels = [name for name, bit in (("a", 1), ("b", 2), ("c", 4)) if number & bit]
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{';'.join(labels)}")
    (folder / "list.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def ends(place: Path) -> dict[str, dict[str, Any]]:
    """What became of each job; they run one after the other, in one folder."""
    return dict(zip(JOBS, in_order(list(JOBS.values()), place), strict=True))


@pytest.mark.slow
def test_loss_curves_are_those_of_one_process_at_equal_batch(ends: dict[str, Any], place: Path) -> None:
    one = rows_of(place / "frozen-1")
    assert len(one) == 2
    assert ends["frozen-3"]["codes"] == [0] * 3, ends["frozen-3"]["said"]
    for ours, theirs in zip(rows_of(place / "frozen-3"), one, strict=True):
        for name, value in theirs.items():
            assert float(ours[name]) == pytest.approx(float(value), abs=1e-4), name


@pytest.mark.slow
def test_several_labels_are_learnt_and_scored_alike_by_one_and_two(ends: dict[str, Any], place: Path) -> None:
    assert ends["labels-1"]["codes"] + ends["labels-2"]["codes"] == [0, 0, 0], ends["labels-2"]["said"]
    for ours, theirs in zip(rows_of(place / "labels-2"), rows_of(place / "labels-1"), strict=True):
        assert {"val_map", "val_exact"} < ours.keys()
        assert {k: float(v) for k, v in ours.items()} == pytest.approx(
            {k: float(v) for k, v in theirs.items()}, abs=1e-4
        )
    one, two = (json.loads((place / f"labels-{size}" / "metrics.json").read_text()) for size in (1, 2))
    assert one["count"] == two["count"]
    assert one["map"] == pytest.approx(two["map"], abs=1e-3)


@pytest.mark.slow
def test_objects_are_learnt_and_scored_alike_by_one_and_two(tmp_path: Path) -> None:
    paint(tmp_path / "shapes", parts={"train": 8, "val": 6, "test": 4})
    jobs = [{"size": size, "arguments": [*OBJECTS, "--output", f"objects-{size}"]} for size in (1, 2)]
    one, two = in_order(jobs, tmp_path)
    assert one["codes"] + two["codes"] == [0, 0, 0], two["said"]
    for ours, theirs in zip(rows_of(tmp_path / "objects-2"), rows_of(tmp_path / "objects-1"), strict=True):
        assert {"val_map50", "train_classifier_loss", "train_rpn_box_reg_loss"} < ours.keys()
        assert {k: float(v) for k, v in ours.items()} == pytest.approx(
            {k: float(v) for k, v in theirs.items()}, abs=1e-4
        )


@pytest.mark.slow
def test_the_first_rank_writes_and_speaks_for_all(ends: dict[str, Any], place: Path) -> None:
    first, *others = ends["frozen-3"]["said"]
    assert "epoch   2" in first
    assert "Accuracy" in first
    assert others == ["", ""]
    figures = [json.loads((place / f"frozen-{size}" / "metrics.json").read_text()) for size in (1, 3)]
    assert figures[0]["count"] == figures[1]["count"]
    assert (place / "frozen-3" / "command.txt").read_text().startswith("torchrun --nproc-per-node 3 -m resnetkit train")


@pytest.mark.slow
def test_sigterm_saves_on_all_ranks_and_resume_ends_with_the_same_bits(ends: dict[str, Any], place: Path) -> None:
    assert ends["stopped"]["codes"] == [143, 143]
    first, second = ends["stopped"]["said"]
    assert "state saved; go on with: torchrun --nproc-per-node 2 -m resnetkit resume stopped" in first
    assert second == ""
    assert ends["resumed"]["codes"] == [0, 0], ends["resumed"]["said"]
    assert_same_bits(place / "whole", place / "stopped")


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_at_the_same_step(ends: dict[str, Any]) -> None:
    assert ends["one-stopped"]["codes"] == [130, 130]


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_under_torchrun_alone(ends: dict[str, Any], place: Path) -> None:
    assert ends["without-torchrun"]["codes"] == [2]
    assert "torchrun --nproc-per-node 2 -m resnetkit resume other" in ends["without-torchrun"]["said"][0]
    assert ends["by-three"]["codes"] == [0, 0, 0], ends["by-three"]["said"]
    assert "by 2 processes so far and is by 3 now" in ends["by-three"]["said"][0]
    assert len(rows_of(place / "other")) == 4
    assert "world_size = 3" in (place / "other" / "recipe.toml").read_text()


@pytest.mark.slow
def test_where_one_rank_is_killed_all_stop_and_one_line_names_it(ends: dict[str, Any]) -> None:
    killed = ends["killed"]
    assert killed["codes"] == [5, -signal.SIGKILL, 5]
    assert killed["seconds"] < 60
    lines = [line for text in killed["said"] for line in text.splitlines() if line.startswith("resnetkit:")]
    assert len(lines) == 1
    assert "rank 1 of 3 (process " in lines[0]
    assert "resnetkit resume killed" in lines[0]


@pytest.mark.slow
def test_what_torchrun_restarts_takes_up_the_run_it_had_begun(ends: dict[str, Any], place: Path) -> None:
    assert ends["restarted"]["codes"] == [0, 0, 0], ends["restarted"]["said"]
    assert [int(row["epoch"]) for row in rows_of(place / "killed")] == list(range(1, 6))


@pytest.mark.slow
def test_the_first_rank_can_be_lost_too(ends: dict[str, Any]) -> None:
    assert ends["first-killed"]["codes"] == [-signal.SIGKILL, 5]
    assert "resnetkit: rank 0 of 2 (process " in ends["first-killed"]["said"][1]


@pytest.mark.slow
def test_batchnorm_over_all_ranks_is_refused_on_a_cpu_in_one_line(ends: dict[str, Any], place: Path) -> None:
    assert ends["sync"]["codes"] == [2, 2]
    assert "batchnorm=frozen" in ends["sync"]["said"][0]
    assert ends["sync"]["said"][1] == ""
    assert not (place / "sync").exists()


@pytest.mark.slow
@pytest.mark.parametrize("check", ["scores-2", "scores-3", "sums", "errors"])
def test_ranks_hold_the_same(ends: dict[str, Any], check: str) -> None:
    assert set(ends[check]["codes"]) == {0}, "\n".join(ends[check]["said"])


@pytest.mark.slow
def test_the_reason_of_a_rank_that_stops_reaches_the_others(ends: dict[str, Any]) -> None:
    first, second = ends["one-fails"]["said"]
    assert "LostRankError rank 1 of 2" in first
    assert "stopped: b.zip: not a zip" in first
    assert "ToldByAnotherRank" in second
