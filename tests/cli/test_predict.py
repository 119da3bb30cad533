"""Bulk prediction as people and schedulers call it, with a small network that knows nothing."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.cli import main
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference import bulk
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.resnet import ResNet
from tests.models.test_resnet import KINDS, randomised

Output = tuple[int, str, str]
HOW = ("--model", "model.safetensors", "--threads", "1", "--precision", "fp32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, spec = tmp_path_factory.mktemp("model") / "model.safetensors", KINDS["resnet20"]
    classes = tuple(f"kind {number}" for number in range(spec.num_classes))
    header = Header(spec=spec, classes=classes, preprocess=Preprocess.for_size(32))
    checkpoint.save(path, randomised(ResNet(spec)).eval(), header)
    return path


@pytest.fixture
def predict(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Output]:
    """Run `predict` beside the folder `photos` of nine pictures, parts being of four; returns code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bulk.Record, "__init__", _with_parts_of_four(bulk.Record.__init__))
    Path("model.safetensors").symlink_to(model)
    chance = np.random.default_rng(0)
    Path("photos").mkdir()
    for number in range(9):
        Image.fromarray(chance.integers(0, 256, (32, 32, 3), np.uint8)).save(f"photos/{number}.png")

    def run(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as left:
            main(["predict", *arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def _with_parts_of_four(init: Callable[..., None]) -> Callable[..., None]:
    return lambda self, **values: init(self, **{**values, "part_size": 4})


def rows_of(folder: str) -> list[dict[str, str]]:
    return [
        row for part in sorted(Path(folder).glob("part-*.csv")) for row in csv.DictReader(part.read_text().splitlines())
    ]


def test_a_folder_as_output_gets_parts_and_stdout_a_summary(predict: Callable[..., Output]) -> None:
    code, out, _ = predict("photos", *HOW, "--output", "rows/")
    assert code == 0
    assert out.splitlines()[0] == "9 pictures: 9 named"
    assert out.splitlines()[-1] == "rows in rows/, 3 parts"
    assert [row["source"] for row in rows_of("rows")] == [f"photos/{number}.png" for number in range(9)]
    before = rows_of("rows")
    assert predict("photos", *HOW, "--output", "rows")[:2] == (code, out)
    code, out, _ = predict("photos", *HOW, "--output", "rows", "--format", "json")
    assert json.loads(out)["named"] == 9
    assert rows_of("rows") == before
    code, out, err = predict("photos", *HOW, "--output", "rows", "--top-k", "2")
    assert (code, out) == (2, "")
    assert "with --top-k 5, not 2" in err


def test_shards_make_the_rows_of_one_command(predict: Callable[..., Output]) -> None:
    predict("photos", *HOW, "--output", "whole")
    code, out, _ = predict("photos", *HOW, "--output", "rows", "--shard", "2/2")
    assert code == 0
    assert "2 of 3 parts missing in rows/" in out
    code, out, _ = predict("photos", *HOW, "--output", "rows", "--shard", "1/2")
    assert out.splitlines()[0] == "9 pictures: 9 named"
    assert [row["label"] for row in rows_of("rows")] == [row["label"] for row in rows_of("whole")]
    for one, other in zip(rows_of("rows"), rows_of("whole"), strict=True):
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-4)


def test_a_list_with_a_bad_picture_leaves_with_4_and_its_row(predict: Callable[..., Output]) -> None:
    Path("photos/4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Path("list.csv").write_text("image_path,label\nphotos/3.png,x\nphotos/4.png,y\nphotos/none.png,z\n")
    code, out, _ = predict("list.csv", *HOW, "--output", "rows/")
    assert code == 4
    assert out.splitlines()[0] == "3 pictures: 1 named, 2 could not be read or named"
    assert [row["status"] for row in rows_of("rows")] == ["ok", "error", "error"]
    assert "photos/none.png" in rows_of("rows")[2]["error"]


def test_under_torchrun_ranks_are_shards_and_the_last_one_speaks(
    predict: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        code, out, err = predict("photos", *HOW, "--output", "rows/")
        assert code == 0  # anything else would make torchrun end the other ranks
        said.append((out, err))
    assert said[0][0] == ""
    assert "shard 1/2 is done; 1 of 3 parts missing" in said[0][1]
    assert said[1][0].splitlines()[0] == "9 pictures: 8 named, 1 could not be read or named"
    code, _, err = predict("photos", *HOW)
    assert code == 2
    assert "add --output rows/" in err


CONTRADICTIONS = {
    "--shard 1/2": "--shard 1/2 divides parts in a folder: add --output rows/",
    "--shard 1/2 --output rows.csv": "add --output rows/",
    "--shard 3/2 --output rows/": "there are shards 1/2 to 2/2",
    "--output rows/ --format csv": "stdout gets a summary",
    "--output rows/ --sort-into sorted": "--sort-into sorts what one command names",
    "--output rows.xlsx/": "must be .csv, .jsonl, .parquet or absent",
    "--output photos/": "has other files in it",
}


@pytest.mark.parametrize("options", CONTRADICTIONS)
def test_contradictions_are_told_in_one_line(predict: Callable[..., Output], options: str) -> None:
    code, out, err = predict("photos", *HOW, *options.split())
    assert (code, out) == (2, "")
    assert CONTRADICTIONS[options] in err.splitlines()[-1]
    assert not Path("rows").exists()


def test_a_single_parquet_file_is_written_too(predict: Callable[..., Output]) -> None:
    import pyarrow.parquet as parquet

    code, out, err = predict("photos", *HOW, "--output", "rows.parquet")
    assert (code, out) == (0, "")
    assert "9 pictures: 9 named; rows in rows.parquet" in err
    assert parquet.read_table("rows.parquet").num_rows == 9


def test_rows_take_the_place_of_no_other_file(predict: Callable[..., Output]) -> None:
    Path("mine.csv").write_text("image_path,label\n")
    code, out, err = predict("photos", *HOW, "--output", "mine.csv")
    assert (code, out) == (2, "")
    assert "--output mine.csv: is there already" in err
    assert Path("mine.csv").read_text() == "image_path,label\n"
