"""`predict` of streams: however they end, what came of them is written, and finished as that of a file is."""

import builtins
import csv
import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnetkit.api.sights import Sights
from resnetkit.cli import main
from resnetkit.cli.videos import _of_killed_ones
from resnetkit.data.opening.video import Thinned, Video, open_video
from resnetkit.data.preprocess import Preprocess
from resnetkit.files import hold, left_behind, replacing
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.resnet import ResNet
from tests.models.test_resnet import KINDS, randomised
from tests.videos import giving, made, served

pytest.importorskip("av", reason="videos need PyAV")
MADE = (
    "--output", "rows.csv", "--events", "events.csv", "--events", "time.png", "--events", "page.html",
    "--draw", "drawn.mkv",
)  # fmt: skip


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("live") / "a.ts", codec="mpeg2video", frames=150).read_bytes()


@pytest.fixture
def predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run `predict` of a stream; returns the exit code and what is said on stderr."""
    monkeypatch.chdir(tmp_path)
    spec = KINDS["resnet20"]
    header = Header(spec=spec, classes=tuple(map(str, range(spec.num_classes))), preprocess=Preprocess.for_size(32))
    checkpoint.save(Path("model.safetensors"), randomised(ResNet(spec)).eval(), header)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(["predict", *arguments, "--model", "model.safetensors", "--threads", "1", "--precision", "fp32"])
        return int(left.value.code or 0), capsys.readouterr().err

    return run


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_stream_and_all_is_made_of_what_came(
    predict: Callable[..., tuple[int, str]], stream: bytes, number: signal.Signals, code: int
) -> None:
    over = threading.Event()

    def end(handler: Any, request: int) -> None:
        over.wait(1)
        os.kill(os.getpid(), number)
        over.wait(10)

    before = signal.getsignal(signal.SIGINT)
    with served(giving(stream, then=end)) as address:
        found = predict(address, "--every", "3s", *(MADE if code == 130 else MADE[:2]))
        over.set()
    assert found[0] == code
    rows = rows_of("rows.csv")
    assert [row["time"] for row in rows] == ["0.000", "3.000"]
    assert signal.getsignal(signal.SIGINT) is before
    if code == 143:
        return
    events = rows_of("events.csv")
    assert sum(int(event["frames"]) for event in events) == len(rows), "that which still held is among them"
    with Video("drawn.mkv") as video:
        assert len(list(video.frames())) == len(rows)
    for name in ("rows.csv", "events.csv", "page.html"):
        assert "secret" not in Path(name).read_text()
    assert Path("time.png").stat().st_size > 1000


def test_a_stream_that_is_stopped_before_its_first_frame_leaves_nothing(
    predict: Callable[..., tuple[int, str]],
) -> None:
    over = threading.Event()

    def end(handler: Any, request: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(10)

    with served(giving(b"", then=end)) as address:
        code, said = predict(address, *MADE)
        over.set()
    assert (code, said.splitlines()[-1]) == (130, "resnetkit: stopped before the first frame: no file is written")
    assert [path.name for path in Path().iterdir()] == ["model.safetensors"]


def test_rows_of_a_stream_that_is_given_up_are_written(
    predict: Callable[..., tuple[int, str]], stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(open_video.__kwdefaults__, "patience", 0.5)
    left, living = (Path(f".rows.csv.{name}.tmp") for name in ("k1ll3d_1", "l1v1ng_1"))
    for path in (left, living):
        path.write_text("source,frame\na,1\na,2\n")
    with served(giving(stream, times=1)) as address, open(living) as file:
        hold(file.fileno())
        code, said = predict(address, "--every", "3s", "--output", "rows.csv")
    assert code == 7
    assert "given up" in said.splitlines()[-1]
    assert "secret" not in said
    assert len(rows_of("rows.csv")) == 2
    assert f"rows.csv: a command that was killed left 2 rows in {left}: look at it, or take it away" in said
    assert str(living) not in said
    assert left.exists()
    assert living.exists()


def test_what_a_living_process_writes_is_not_left_behind(tmp_path: Path) -> None:
    path, killed = tmp_path / "rows.csv", tmp_path / ".rows.csv.k1ll3d_1.tmp"
    with replacing(path) as temporary:
        killed.write_text(temporary.read_text())
        assert left_behind(path) == [killed]
    assert path.exists()


@pytest.mark.parametrize("again", [False, True])
def test_rows_that_a_killed_command_left_are_said_and_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    left = {
        name: tmp_path / f".{name}.k1ll3d_1.tmp" for name in ("rows.csv", "none.csv", "e.jsonl", "seen.mp4", "hers.mp4")
    }
    for path, text in zip(left.values(), ("source\na\n", "source\n", "{}\n{}\n", "frames", "frames"), strict=True):
        path.write_text(text)
    unlink, said = Path.unlink, list[str]()

    def of_ours(path: Path, missing_ok: bool = False) -> None:
        if path == left["hers.mp4"]:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", of_ours)
    _of_killed_ones([tmp_path / name for name in left], again=again, say=said.append)
    assert [name for name, path in left.items() if not path.exists()] == (["none.csv", "seen.mp4"] if again else [])
    assert [" ".join(line.split(" left ")[1].split()[:2]) for line in said] == (
        ["1 row", "2 rows"] if again else ["1 row", "0 rows", "2 rows", "0.0 MB", "0.0 MB"]
    )


def test_what_another_left_and_nobody_else_may_read_stops_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hers, said = tmp_path / ".rows.csv.k1ll3d_1.tmp", list[str]()
    hers.write_text("source\na\n")
    opened = builtins.open

    def of_ours(path: Any, *how: Any, **more: Any) -> Any:
        if path == hers:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(builtins, "open", of_ours)
    _of_killed_ones([tmp_path / "rows.csv"], again=False, say=said.append)
    assert said == []


def test_of_a_stream_that_is_not_there_nothing_is_written(predict: Callable[..., tuple[int, str]]) -> None:
    code, said = predict("http://me:secret@127.0.0.1:9/live", *MADE)
    assert code == 7
    assert said.splitlines()[-1] == "resnetkit: http://127.0.0.1:9/live: cannot be read (Connection refused)"
    assert sorted(path.name for path in Path().iterdir()) == ["model.safetensors"]


def test_a_watch_keeps_no_password_either(stream: bytes) -> None:
    looking = Sights(None, thinned=Thinned(), order="name", threads=1, say=lambda line: None)  # type: ignore[arg-type]
    with served(giving(stream)) as address:
        one = next(looking.pictures([address]))
    assert one.picture.source.startswith(f"{address.replace('someone:secret@', '')}#")
    assert "secret" not in str(one.group)
