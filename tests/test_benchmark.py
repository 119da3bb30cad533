"""`benchmark` measures each way apart, compares the answers, and recommends what answers alike."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.api import Measured, recommended
from resnetkit.errors import UsageError
from resnetkit.models.decision import Decision
from tests.exporting.test_export import write
from tests.inference.test_graph import some

ROW = Measured(
    model="m", engine="torch", precision="fp32", threads=1, load_s=1, cold_start_s=4, latency_p50_s=0.1,
    latency_p99_s=0.2, images_per_second=10, memory_bytes=10**8, batch_size=16, agreement=1.0,
)  # fmt: skip


def test_the_fastest_that_answers_alike_is_recommended():
    close = replace(ROW, engine="openvino", images_per_second=50, agreement=0.995)
    far = replace(ROW, precision="bf16", images_per_second=90, agreement=0.95)
    assert recommended([ROW, close, far]) is close
    uncompared = [replace(row, agreement=None) for row in (ROW, far)]
    assert recommended(uncompared) is uncompared[1]


@pytest.mark.slow
def test_every_way_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "insects.safetensors", decision=Decision())
    reference = rk.load(file, engine="torch", precision="fp32", threads=1)
    for number in range(6):
        picture = some(1, 30, 30, seed=number)[0]
        folder = tmp_path / "photos" / str(reference.predict(picture).label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number}.png")
    monkeypatch.setattr("resnetkit.api.benchmarking.machine.has_fast_bf16", lambda device: False)
    rows = rk.benchmark(file, data=[tmp_path / "photos"], seconds=0.2, threads=1)
    assert [(row.engine, row.precision) for row in rows] == [("torch", "fp32"), ("openvino", "fp32")]
    for row in rows:
        assert (row.agreement, row.accuracy, row.pictures) == (1.0, 1.0, 6)
        assert 0 < row.latency_p50_s <= row.latency_p99_s < row.cold_start_s
        assert row.images_per_second > 1
        assert row.memory_bytes > 20e6
    assert rows[1].memory_bytes < rows[0].memory_bytes, "OpenVINO needs no PyTorch"
    assert json.loads(json.dumps(rows[0].to_json()))["model"] == str(file)


def test_what_is_missing_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    file = write(tmp_path / "insects.safetensors")
    with pytest.raises(UsageError, match="nothing"):
        rk.benchmark(file, data=[tmp_path / "nothing"])
    with pytest.raises(UsageError, match="no such file or run"):
        rk.benchmark(tmp_path / "gone.safetensors")
    with pytest.raises(UsageError, match="seconds must be above 0"):
        rk.benchmark(file, seconds=0)
