"""Fixtures every room's tests share."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import resnetkit as rk

# What brings torch and matplotlib is imported by the fixtures: the process that hands the tests out needs neither.

# Exit code, stdout, stderr.
Output = tuple[int, str, str]
_DRAWING = "resnetkit.report.drawing"

os.environ.setdefault("RESNETKIT_OFFLINE", "1")
# Two threads that wait for each other on a busy machine can be ten times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _rare_looks_for_garbage() -> None:
    """Leave what torch and matplotlib brought alone: to look at it again and again is a tenth of many small tests."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded pictures of tests out of the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        settings = tmp_path_factory.mktemp("settings")
        (settings / "key-of-groups").write_text("07" * 32)  # a new one each time would draw other patients
        patch.setenv("RESNETKIT_CONFIG", str(settings))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_power_cut() -> Iterator[None]:
    """Wait for no disk: no test cuts the power, and a third of a small run's time is spent in its sixty `fsync`s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def _blank_sheets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave pictures of runs blank, a third of the time of small ones, but in tests of drawings and modules `DRAWN`."""
    with pytest.MonkeyPatch.context() as patch:
        module = getattr(request.module, "__name__", "")
        if not module.startswith("tests.report.") and not getattr(request.module, "DRAWN", False):
            patch.setattr(f"{_DRAWING}.charts._draw", lambda _, path, *__: _blank(path))
            patch.setattr(f"{_DRAWING}.together.diagram", lambda _, path: _blank(path))
            for name in ("prediction_grid", "augmented", "confusion"):
                patch.setattr(f"{_DRAWING}.plots.{name}", lambda _, path, **__: _blank(path))
            patch.setattr("resnetkit.api.pictures._draw_found", lambda _, __, path, ___: _blank(path))
            patch.setattr("resnetkit.api.pictures._marked", lambda seen, _: seen.images[0].cpu().numpy())
        yield


def _blank(path: Path) -> None:
    Image.new("1", (1, 1)).save(path, format="PNG")


@pytest.fixture(autouse=True, scope="module")
def _untimed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Time nothing, but in modules `TIMED`: neither a step, to foretell how long a run takes, nor sizes of batches.

    The first is a sixth of a small run's time; for the second each model is compiled four times.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "TIMED", False):
            patch.setattr("resnetkit.training.planning.duration._macs_per_second", lambda *_, **__: 1e10)
            patch.setattr("resnetkit.inference.openvino_engine.OpenVINOEngine._fastest_batch_size", lambda _: 4)
            patch.setattr("resnetkit.inference.speed._WARMING_S", 0.01)
            patch.setattr("resnetkit.api.comparing._SPEED_S", 0.02)
            patch.setattr("resnetkit.api.reporting._MEASURED_S", 0.02)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data of ../shared/data is not here")
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from resnetkit.cli.demo import write_digits

    folder = tmp_path_factory.mktemp("data") / "digits"
    write_digits(folder)
    return folder


@pytest.fixture
def resnetkit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Output]:
    """Run a command in an empty folder; returns exit code, stdout and stderr."""
    from resnetkit.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Output:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="session")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    place = tmp_path_factory.mktemp("runs") / "first"
    settings = ("augment.flip=none",)
    return rk.train(digits, model="resnet8", epochs=2, limit=150, threads=1, settings=settings, output=place)
