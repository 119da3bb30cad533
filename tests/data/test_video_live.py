"""Streams: what stalls, ends or breaks off is said and tried again, and numbers and times go on."""

import socket
import struct
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from resnetkit.data.opening.video import Frame, Live, Thinned, open_video
from resnetkit.data.opening.video_live import without_password
from resnetkit.errors import NetworkError, UsageError
from tests.videos import Serve, bar, giving, head, made, served

pytest.importorskip("av")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A stream of 200 frames: FFmpeg looks at the first five seconds or so before it shows any."""
    return made(tmp_path_factory.mktemp("live") / "a.ts", codec="mpeg2video", frames=200).read_bytes()


def first(live: Live, number: int, thinned: Thinned | None = None) -> list[Frame]:
    return list(islice(live.frames(thinned or Thinned()), number))


def test_a_stream_that_stalls_or_ends_is_said_and_tried_again(stream: bytes) -> None:
    stop = threading.Event()

    def stall(handler: Any, request: int) -> None:
        if request == 0:
            stop.wait(10)  # and nothing more comes

    said: list[tuple[float, str]] = []
    with served(giving(stream, then=stall)) as address:
        begun = time.monotonic()
        told = lambda line: said.append((time.monotonic() - begun, line))  # noqa: E731
        with Live(address, say=told, stall=0.5, pause=0.01, patience=5) as live:
            frames = first(live, 6, Thinned(every=100))
        stop.set()
    assert [frame.number for frame in frames] == [0, 100, 200, 300, 400, 500]
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert 3.96 + 0.4 < times[2] - times[1] < 8, "the gap is in the times"
    assert "secret" not in live.about.source
    assert live.about.live
    assert said[0][1] == f"{live.about.source}: it stalls, no frame for 0.5 s: trying again"
    assert {line for _, line in said[1:]} == {f"{live.about.source}: it ended: trying again"}
    assert said[0][0] < 2.5


def test_a_stream_that_stays_away_is_given_up(stream: bytes) -> None:
    said: list[str] = []
    with (
        served(giving(stream, times=1)) as address,
        Live(address, say=said.append, stall=1, pause=0.05, patience=0.5) as live,
    ):
        frames = []
        with pytest.raises(NetworkError, match=r"no frame for . s, given up after \d tries"):
            frames.extend(live.frames())
        assert len(said) > 2, "the pauses grow, and it is tried more than once"


def test_an_address_where_nothing_is_fails_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9/live: cannot be read \(Connection refused\)"):
        Live("http://127.0.0.1:9/live", patience=100)
    with pytest.raises(UsageError, match="no such camera"):
        open_video("camera:77")
    assert time.monotonic() - begun < 5


def test_the_newest_frames_win_and_those_dropped_are_told(stream: bytes) -> None:
    wait = threading.Event()
    said: list[str] = []
    with (
        served(giving(stream, then=lambda handler, request: wait.wait(10))) as address,
        Live(address, say=said.append, stall=5) as live,
    ):
        frames = live.frames()
        next(frames)
        time.sleep(0.5)
        newest = [next(frames).number, next(frames).number]
        frames.close()
        wait.set()
    assert newest[1] > 180
    assert live.dropped == newest[0] - 1
    assert f"{live.dropped} frames dropped" in said[-1]


def test_a_video_that_lies_on_a_server_is_read_as_a_file(tmp_path: Path) -> None:
    data = made(tmp_path / "a.mp4", options={"movflags": "faststart"}).read_bytes()

    def serve(handler: Any, _: int) -> None:
        head(handler, length=len(data))
        handler.wfile.write(data)

    said: list[str] = []
    with served(serve) as address, open_video(address, say=said.append) as video:
        frames = []
        for frame in video.frames():
            time.sleep(0.01)
            frames.append(frame)
    assert [bar(frame.image) for frame in frames] == list(range(20))
    assert not video.about.live
    assert said == []


def in_chunks(data: bytes, *, final: bool = True) -> Serve:
    def serve(handler: Any, _: int) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) + (b"0\r\n\r\n" if final else b""))

    return serve


@pytest.mark.parametrize(
    ("name", "sound"), [("a.mkv", 0), ("a.mkv", 1), ("a.mkv", 5), ("a.mp4", 0), ("a.mp4", 1), ("a.mp4", 5)]
)
def test_a_video_that_tells_seconds_but_no_bytes_is_whole_or_breaks_off(tmp_path: Path, name: str, sound: int) -> None:
    front = {"movflags": "faststart"} if name == "a.mp4" else {}
    data = made(tmp_path / name, frames=75, rate=25, sound=sound, options=front).read_bytes()
    for whole in (giving(data), in_chunks(data)):
        with served(whole) as address, open_video(address) as video:
            assert len(list(video.frames())) == 75
    cut = data[: len(data) // 2]
    says = r"after \d\.\d+ s it broke off \(its header says [345]\.\d\d s\)"
    for part in (giving(cut), in_chunks(cut, final=False)):
        with served(part) as address, open_video(address) as video, pytest.raises(NetworkError, match=says):
            list(video.frames())


def test_a_video_that_was_cut_before_it_came_to_a_server_is_said(tmp_path: Path) -> None:
    data = made(tmp_path / "a.mkv", frames=75, sound=1).read_bytes()
    data = data[: len(data) // 2]

    def serve(handler: Any, _: int) -> None:
        head(handler, length=len(data))
        handler.wfile.write(data)

    said: list[str] = []
    with served(serve) as address, open_video(address, say=said.append) as video:
        assert 0 < len(list(video.frames())) < 75
    assert [line.partition(" and ")[2] for line in said] == ["its header says 3.00 s: cut off or damaged"]


def test_a_connection_that_is_torn_is_no_end(stream: bytes) -> None:
    def tear(handler: Any, request: int) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    said: list[str] = []
    with served(giving(stream, then=tear)) as address, Live(address, say=said.append, stall=5, pause=0.01) as live:
        first(live, 3, Thinned(every=100))
    assert said[0] == f"{live.about.source}: it broke off (Connection reset by peer): trying again"


@pytest.mark.parametrize("whole", [True, False])
def test_what_says_how_many_bytes_it_has_is_read_once(stream: bytes, whole: bool) -> None:
    def serve(handler: Any, request: int) -> None:
        assert request == 0
        head(handler, length=len(stream) * (1 if whole else 2))
        handler.wfile.write(stream)

    said: list[str] = []
    frames: list[Frame] = []
    with served(serve) as address, Live(address, say=said.append, stall=5) as live:
        assert (live.about.live, live.about.seconds) == (False, None)
        if whole:
            frames.extend(live.frames())
        else:
            with pytest.raises(NetworkError, match=r"after 7\.\d+ s it broke off"):
                frames.extend(live.frames())
    assert len(frames) >= 199
    assert said == []


@pytest.mark.parametrize("counted", [True, False])
def test_an_index_that_cannot_be_reached_is_told_at_once(tmp_path: Path, counted: bool) -> None:
    data, more = made(tmp_path / "a.mp4").read_bytes(), 3_000_000  # bytes, for the index to lie beyond all buffers
    begin = data.index(b"mdat") - 4
    (length,) = struct.unpack(">I", data[begin : begin + 4])
    end = begin + length
    data = data[:begin] + struct.pack(">I", length + more) + data[begin + 4 : end] + bytes(more) + data[end:]
    requests: list[int] = []

    def serve(handler: Any, request: int) -> None:
        requests.append(request)
        head(handler, length=len(data) if counted else None)
        handler.wfile.write(data)

    with served(serve) as address, pytest.raises(NetworkError) as refused:
        Live(address, patience=100)
    assert "/live: its index lies at its end and this server gives no parts: download it, or: ffmpeg" in str(
        refused.value
    )
    assert len(requests) < 4


def test_one_who_waits_for_frames_can_be_told_to_stop(stream: bytes) -> None:
    def serve(handler: Any, request: int) -> None:
        head(handler)
        handler.wfile.write(stream)
        handler.wfile.flush()
        stopped.wait(10)

    stopped = threading.Event()
    with served(serve) as address, Live(address, stall=8) as live:
        frames = live.frames()
        next(frames)
        threading.Timer(0.3, live.stop).start()
        begun = time.monotonic()
        assert len(list(frames)) < 200
        assert time.monotonic() - begun < 4
        stopped.set()


def test_no_part_of_a_password_is_shown() -> None:
    for login in ("me:secret", "me:se@cret", "me:se/cret", "me:1/se?c#ret@x"):
        assert without_password(f"rtsp://{login}@camera:554/1") == "rtsp://camera:554/1"
    assert without_password("http://camera/v?user=me&PASSWORD=x&n=1") == "http://camera/v?user=me&PASSWORD=***&n=1"
    assert without_password("rtsp://camera/1?n=1") == "rtsp://camera/1?n=1"
