from types import SimpleNamespace

import numpy as np
import pytest

from resnetkit.cli import main
from resnetkit.inference import speed as speeds
from resnetkit.inference.speed import keep_speed, kept_speeds, measure
from tests.fakes import OneByOne

TIMED = True


class Timed(OneByOne):
    """Takes 4 ms for a call and 1 ms for each picture, by a clock of its own."""

    now = 0.0

    def logits(self, pixels):
        self.now += 0.004 + 0.001 * len(pixels)
        return np.zeros((len(pixels), 2), np.float32)


@pytest.fixture
def timed(monkeypatch):
    engine = Timed()
    monkeypatch.setattr(speeds, "time", SimpleNamespace(perf_counter=lambda: engine.now))
    return engine


def test_latency_is_of_one_picture_and_throughput_of_whole_batches(timed):
    speed = measure(timed, np.zeros((8, 8, 3), np.uint8), seconds=0.6)
    assert speed.latency_p50_s == pytest.approx(0.005)
    assert speed.latency_p99_s == pytest.approx(0.005)
    assert speed.runs in (60, 61)
    assert speed.images_per_second == pytest.approx(4 / 0.008)


def test_an_engine_slower_than_the_time_is_still_measured(timed):
    speed = measure(timed, np.zeros((8, 8, 3), np.uint8), seconds=0.001)
    assert speed.runs == 3
    assert speed.images_per_second == pytest.approx(4 / 0.008)


def test_measured_speeds_are_kept_and_shown_beside_the_published_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path))
    for name, way, speed in (("resnet18.imagenet1k_v1", "torch fp32", 27.3), ("runs/a", "openvino bf16", 5)):
        keep_speed(name, way, speed)
    keep_speed("resnet18.imagenet1k_v1", "openvino bf16", 1114.26)
    assert kept_speeds()["resnet18.imagenet1k_v1"] == {"torch fp32": 27.3, "openvino bf16": 1114.3}
    with pytest.raises(SystemExit):
        main(["models"])
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet18.imagenet1k_v1")]
    assert row.split()[-7:] == ["M", "1.81", "47", "MB", "1,114/s", "openvino", "bf16"]
    (tmp_path / "speeds.json").write_text("[")
    assert kept_speeds() == {}
