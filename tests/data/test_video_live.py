"""Streams: what stalls, ends or breaks off is said and tried again, and numbers and times go on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from resnetkit.data.opening.video import Frame, Live, Thinned, open_video
from resnetkit.errors import NetworkError, UsageError

from .made_videos import bar, made

pytest.importorskip("av")

Serve = Callable[[Any, int], None]


@contextmanager
def served(serve: Serve) -> Iterator[str]:
    """Serve by a function that gets the handler and the number of the request, from 0; gives the address."""
    requests = iter(range(1000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                serve(self, next(requests))
            except OSError:
                pass  # whoever read it has gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://someone:secret@127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        server.server_close()


def head(handler: Any, *, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "video/mp2t")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A stream of 200 frames: FFmpeg looks at the first five seconds or so before it shows any."""
    return made(tmp_path_factory.mktemp("live") / "a.ts", codec="mpeg2video", frames=200).read_bytes()


def first(live: Live, number: int, thinned: Thinned | None = None) -> list[Frame]:
    return list(islice(live.frames(thinned or Thinned()), number))


def test_a_stream_that_stalls_or_ends_is_said_and_tried_again(stream: bytes) -> None:
    stop = threading.Event()

    def serve(handler: Any, request: int) -> None:
        head(handler)
        handler.wfile.write(stream)
        handler.wfile.flush()
        if request == 0:
            stop.wait(10)  # and nothing more comes

    said: list[tuple[float, str]] = []
    with served(serve) as address:
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
    assert said[0][1] == f"{live.about.source}: no frame for 0.5 s: trying again"
    assert said[1][1].startswith(f"{live.about.source}: it ")  # ended, or broke off, as FFmpeg takes it
    assert all(line.endswith(": trying again") for _, line in said)
    assert said[0][0] < 2.5


def test_a_stream_that_stays_away_is_given_up(stream: bytes) -> None:
    def serve(handler: Any, request: int) -> None:
        if request:
            handler.send_error(503)
            return
        head(handler)
        handler.wfile.write(stream)

    said: list[str] = []
    with served(serve) as address, Live(address, say=said.append, stall=1, pause=0.05, patience=0.5) as live:
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

    def serve(handler: Any, request: int) -> None:
        head(handler)
        handler.wfile.write(stream)
        handler.wfile.flush()
        wait.wait(10)

    said: list[str] = []
    with served(serve) as address, Live(address, say=said.append, stall=5) as live:
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
