import csv
import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.dataset import Dataset
from resnetkit.data.sources import open_pictures
from resnetkit.errors import DataError, InterruptedRun, ResourceError, Terminated, UsageError
from resnetkit.inference import bulk
from resnetkit.inference.bulk import Bulk, Shard, is_folder, open_folder, shard_of
from resnetkit.inference.predictor import Predictor
from tests.fakes import OneByOne
from tests.inference.test_predictor import assert_no_thread_decodes

BROKEN = "pictures/005.png"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """17 pictures of which one is broken, from red to blue; with parts of 3, that makes 6."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for number in range(16):
        colour = (255 - 16 * number, 0, 16 * number)
        Image.new("RGB", (8, 8), colour).save(f"pictures/{number:03d}.png")
    Path(BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (8, 8), "lime").save('pictures/개미, "green"\n.png')
    Path("model.safetensors").write_bytes(b"the weights")
    return open_pictures("pictures")


@pytest.fixture
def begin(pictures: Dataset, predictor: Predictor) -> Callable[..., Bulk]:
    """Open a folder for the pictures, with parts of 3; changes go to the record."""

    def open_it(folder: str = "rows", **changes: object) -> Bulk:
        how = {"format": bulk.format_of(Path(folder)), "top_k": 2, "precision": "fp32", **changes}
        record = bulk.record_of(pictures, predictor, files=[Path("model.safetensors")], **how)  # type: ignore[arg-type]
        return open_folder(Path(folder), replace(record, part_size=3))

    return open_it


def rows_of(folder: str | Path) -> Iterator[dict[str, str]]:
    for part in sorted(Path(folder).glob("part-*.csv")):
        with open(part, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def part_names(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir() if path.name.startswith("part-"))


def test_the_parts_hold_every_picture_once_in_order(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    rows = begin()
    rows.make(predictor, pictures)
    assert part_names("rows") == [f"part-{part:05d}-of-00006.csv" for part in range(1, 7)]
    found = list(rows_of("rows"))
    assert [row["source"] for row in found] == [item.source for item in pictures.items]
    expected = list(predictor.predict_many(pictures, top_k=2))
    assert [row["label"] or None for row in found] == [prediction.label for prediction in expected]
    assert [row["status"] for row in found].count("error") == 1


def test_the_summary_counts_all_rows(begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset) -> None:
    rows = begin()
    rows.make(predictor, pictures)
    summary = rows.summary()
    assert (summary.tally.total, summary.tally.errors, summary.tally.labels.total()) == (17, 1, 16)
    assert summary.tally.labels == {"blue": 8, "red": 7, "green": 1}
    assert summary.own.exit_code == 4
    assert len(summary.problems) == 1
    assert BROKEN in summary.problems[0]
    assert summary.to_json() == {
        "output": "rows", "parts": 6, "missing_parts": 0, "pictures": 17, "named": 16, "not_sure": 0, "errors": 1,
        "per_class": {"blue": 8, "red": 7, "green": 1},
    }  # fmt: skip
    assert summary.where() == "rows in rows/, 6 parts"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_other_formats_hold_the_same_rows(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset, suffix: str
) -> None:
    begin().make(predictor, pictures)
    rows = begin(f"rows.{suffix}")
    rows.make(predictor, pictures)
    assert rows.summary().tally == begin().summary().tally
    expected = [(row["source"], row["label"] or None) for row in rows_of("rows")]
    if suffix == "jsonl":
        parts = sorted(Path("rows.jsonl").glob("part-*"))
        lines = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
        assert [(line["source"], line["label"]) for line in lines] == expected
    else:
        import pyarrow.parquet as parquet

        read = parquet.read_table("rows.parquet")  # the folder as a whole, as other programs do
        assert sorted(zip(read["source"].to_pylist(), read["label"].to_pylist(), strict=True)) == sorted(expected)
        assert str(read.schema.field("probability_2").type) == "double"
        assert read["probability"].null_count == 1


@pytest.mark.parametrize(("signal", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_the_same_command_goes_on_where_a_signal_stopped_it(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset, signal: type[BaseException], code: int
) -> None:
    begin("whole").make(predictor, pictures)

    def stops(done: int, _total: int | None) -> None:
        if done == 8:  # in the middle of the third part
            raise signal

    with pytest.raises(InterruptedRun, match=r"2 of 6 parts are in rows/, and the same command goes on") as stopped:
        begin().make(predictor, pictures, progress=stops)
    assert stopped.value.exit_code == code
    assert_no_thread_decodes()
    first = {name: os.stat(f"rows/{name}").st_ino for name in part_names("rows")}
    assert len(first) == 2
    heard: list[tuple[int, int | None]] = []
    begin().make(predictor, pictures, progress=lambda *count: heard.append(count))
    assert [heard[0], heard[-1]] == [(6, 17), (17, 17)]
    assert {name: os.stat(f"rows/{name}").st_ino for name in first} == first
    assert list(rows_of("rows")) == list(rows_of("whole"))


def test_what_is_done_is_not_computed_again(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    begin().make(predictor, pictures)

    class Untouched(OneByOne):
        def logits(self, pixels: np.ndarray) -> np.ndarray:
            raise AssertionError("asked again")

    begin().make(replace(predictor, engine=Untouched()), pictures)


@pytest.mark.parametrize("of", [2, 3, 7])
def test_shards_divide_the_parts_and_make_the_same_rows(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset, of: int
) -> None:
    begin("whole").make(predictor, pictures)
    made: list[set[str]] = []
    for number in range(1, of + 1):
        before = set(part_names("rows")) if made else set()
        rows = begin()
        rows.make(predictor, pictures, shard=Shard(number, of=of))
        made.append(set(part_names("rows")) - before)
        assert rows.summary().missing == 6 - sum(map(len, made))
    assert sum(map(len, made)) == 6
    assert list(rows_of("rows")) == list(rows_of("whole"))


def test_a_shard_s_exit_code_is_about_its_own_pictures(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    rows = begin()
    for number in (1, 2):
        rows.make(predictor, pictures, shard=Shard(number, of=2))
    assert [rows.summary(Shard(number, of=2)).own.exit_code for number in (1, 2)] == [0, 4]
    assert rows.summary(Shard(1, of=2)).tally.total == 17


def test_the_number_of_shards_may_change_between_commands(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    begin("whole").make(predictor, pictures)
    begin().make(predictor, pictures, shard=Shard(2, of=3))
    summary = begin().summary()
    assert "4 of 6 parts missing" in summary.where()
    begin().make(predictor, pictures)
    assert list(rows_of("rows")) == list(rows_of("whole"))


CHANGES = {
    "top_k": ({"top_k": 1}, "with --top-k 2, not 1"),
    "precision": ({"precision": "bf16"}, "in fp32, not bf16"),
    "format": ({"format": "jsonl"}, "as csv, not jsonl"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_parts_made_otherwise_are_refused(begin: Callable[..., Bulk], name: str) -> None:
    begin()
    changes, words = CHANGES[name]
    with pytest.raises(UsageError, match=f"rows/: its parts were made {words}; .* delete this one"):
        begin(**changes)


def test_another_model_and_other_pictures_are_refused(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    rows = begin()

    def again(pictures: Dataset, predictor: Predictor) -> Bulk:
        record = bulk.record_of(
            pictures, predictor, files=[Path("model.safetensors")], precision="fp32", top_k=2, format="csv"
        )
        return open_folder(rows.folder, record)

    fewer = replace(pictures, items=pictures.items[1:])
    with pytest.raises(UsageError, match="made from 17 pictures, not 16"):
        again(fewer, predictor)
    with pytest.raises(UsageError, match="the same under other paths"):
        again(replace(pictures, items=pictures.items[::-1]), predictor)
    assert again(pictures, replace(predictor, name="renamed")).record == rows.record  # only the content counts
    Path("model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UsageError, match="with other weights of colours"):
        again(pictures, predictor)
    with pytest.raises(UsageError, match=r"with colours, not better; .*other pictures"):
        again(replace(pictures, items=pictures.items[::-1]), replace(predictor, name="better"))


def test_a_folder_with_other_files_is_refused(begin: Callable[..., Bulk]) -> None:
    with pytest.raises(UsageError, match=r"has other files in it \(000.png\)"):
        begin("pictures")
    assert not Path("pictures", bulk.RECORD).exists()
    Path("file").touch()
    with pytest.raises(UsageError, match="is a file; name a folder"):
        begin("file")


def test_a_broken_record_says_what_to_do(begin: Callable[..., Bulk]) -> None:
    begin()
    for broken in ("{", "{}", json.dumps({**json.loads(Path("rows/_bulk.json").read_text()), "part_size": 0})):
        Path("rows", bulk.RECORD).write_text(broken)
        with pytest.raises(DataError, match=r"_bulk\.json: cannot be read; delete rows/"):
            begin()


def test_a_full_disk_leaves_whole_parts_and_the_way_on(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, synced, fsync = begin(), [0], os.fsync

    def full(handle: int) -> None:
        synced[0] += 1
        if synced[0] > 4:  # each part syncs itself and the folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match=r"part-00003.*No space left.*2 of 6 parts are in rows/.*same command"):
        rows.make(predictor, pictures)
    monkeypatch.setattr("os.fsync", fsync)
    assert sorted(os.listdir("rows")) == [bulk.RECORD, *part_names("rows")]
    assert len(list(rows_of("rows"))) == 6
    begin().make(predictor, pictures)
    assert len(list(rows_of("rows"))) == 17


def test_what_a_killed_process_was_writing_is_swept_away_at_the_end(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    rows = begin()
    half = Path("rows/.part-00002-of-00006.csv.abc.tmp")
    half.write_text("source,sta")
    rows.make(predictor, pictures, shard=Shard(1, of=2))
    rows.summary()
    assert half.exists()  # another shard may be writing it
    rows.make(predictor, pictures)
    assert rows.summary().tally.total == 17
    assert not half.exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_part_that_lost_rows_is_named_and_can_be_made_again(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset, suffix: str
) -> None:
    rows = begin(f"rows.{suffix}")
    rows.make(predictor, pictures)
    part = Path(f"rows.{suffix}/part-00002-of-00006.{suffix}")
    whole = part.read_bytes()
    part.write_bytes(whole[: whole.rstrip().rindex(b"\n") + 1] if suffix != "parquet" else whole[:-9])
    with pytest.raises(DataError, match=rf"part-00002-of-00006.{suffix}: .*; delete it, and the same command"):
        rows.summary()
    part.unlink()
    rows.make(predictor, pictures)
    assert rows.summary().tally.total == 17


def test_shards_are_written_one_of_n_or_come_from_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shard_of("2/3") == Shard(2, of=3)
    assert shard_of(None) == Shard(1, of=1)
    for wrong in ("2", "a/b", "2/", "-1/2"):
        with pytest.raises(UsageError, match=r"write it as I/N, for two processes 1/2 and 2/2"):
            shard_of(wrong)
    for outside in ("0/2", "3/2", "1/0"):
        with pytest.raises(UsageError, match="there are shards 1/"):
            shard_of(outside)
    names = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert shard_of(None) == Shard(2, of=4)
    with pytest.raises(UsageError, match="torchrun divides the work"):
        shard_of("1/2")


def test_a_folder_is_told_from_a_file_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "there.csv").mkdir()
    assert all(is_folder(name) for name in ("rows/", "rows", "rows.csv/", str(tmp_path / "there.csv")))
    assert not any(is_folder(name) for name in ("rows.csv", "rows.jsn", str(tmp_path / "new.parquet")))
    assert bulk.format_of(Path("rows")) == "csv"
    assert [bulk.format_of(Path(f"rows.{name}")) for name in bulk.FORMATS] == list(bulk.FORMATS)
    with pytest.raises(UsageError, match=r"rows.json/: the suffix of a folder .*; did you mean '.jsonl'"):
        bulk.format_of(Path("rows.json"))


def test_weights_beside_a_graph_count_too(pictures: Dataset, predictor: Predictor) -> None:
    graph, beside = Path("model.safetensors"), Path("model.bin")

    def weights() -> str:
        beside.write_bytes(contents.pop())
        how = {"precision": "fp32", "top_k": 2, "format": "csv"}
        return bulk.record_of(pictures, predictor, files=[graph, beside], **how).weights  # type: ignore[arg-type]

    contents = [b"one", b"one", b"other"]
    first, second, third = weights(), weights(), weights()
    assert second == third != first


def test_a_signal_while_the_engine_computes_leaves_no_threads(
    begin: Callable[..., Bulk], predictor: Predictor, pictures: Dataset
) -> None:
    class Stopped(OneByOne):
        def logits(self, pixels: np.ndarray) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRun, match="0 of 6 parts") as stopped:
        begin().make(replace(predictor, engine=Stopped()), pictures)
    assert stopped.value.exit_code == 130
    assert_no_thread_decodes()
