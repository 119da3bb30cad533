"""Small videos for tests, written by PyAV: of pictures that are given, or of frames that tell their number.

Those have a red left half, a white corner, and a white bar that grows by two pixels a frame. And a server on this
machine that gives them to whoever asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

Serve = Callable[[Any, int], object]


def pixels_of(number: int, *, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Return `[H, W, 3]` uint8 of a frame."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (250, 0, 0)
    pixels[: height // 2, : width // 4] = 255
    pixels[-8:] = 0
    pixels[-8:, : 2 * number] = 255
    return pixels


def plain(*greys: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Return pictures `[H, W, 3]` uint8 of one grey each; `size`: height and width."""
    return [np.full((*size, 3), grey, np.uint8) for grey in greys]


def made(
    path: Path,
    pictures: Sequence[np.ndarray] | None = None,
    *,
    frames: int = 20,
    size: tuple[int, int] = (64, 48),
    codec: str | None = "mpeg4",
    colours: str = "yuv420p",
    rate: int = 25,
    stamps: list[int] | None = None,
    turned: float | None = None,
    wide: Fraction | None = None,
    sound: int = 0,
    group: int | None = None,
    kind: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video of pictures `[H, W, 3]` uint8, or of so many `frames` of that `size` as `pixels_of` draws them.

    `stamps`: the times of its frames in milliseconds; `turned`: degrees against the clock; `wide`: how wide a pixel is
    in heights of it; `group`: frames from one that stands for itself to the next; `sound`: seconds of it.
    """
    import av

    pictures = [pixels_of(number, size=size) for number in range(frames)] if pictures is None else pictures
    height, width = pictures[0].shape[:2] if pictures else (0, 0)
    with av.open(str(path), "w", format=kind, options=options or {}) as out:
        if codec is not None:
            stream: Any = out.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, colours
            stream.bit_rate = 2_000_000
            stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
            if group is not None:
                stream.codec_context.gop_size = group
            if wide is not None:
                stream.codec_context.sample_aspect_ratio = wide
            if turned is not None:
                stream.set_display_rotation(turned)
        if sound:
            heard: Any = out.add_stream("aac", rate=8000)
            waves = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * sound), np.float32), format="fltp", layout="mono")
            waves.rate, waves.pts = 8000, 0
            out.mux([*heard.encode(waves), *heard.encode()])
        if codec is not None:
            for number, pixels in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = stamps[number] if stamps else number, stream.codec_context.time_base
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    return path


def bar(image: Any) -> int:
    """Return which frame of a made video, not turned, an image is."""
    return round(int((np.asarray(image)[-4].mean(axis=1) > 127).sum()) / 2)


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


def giving(data: bytes, *, times: int = 1000, then: Serve = lambda handler, request: None) -> Serve:
    """Return what gives a stream to so many requests and does something `then`, and says 503 to others."""

    def serve(handler: Any, request: int) -> None:
        if request >= times:
            handler.send_error(503)
            return
        head(handler)
        handler.wfile.write(data)
        handler.wfile.flush()
        then(handler, request)

    return serve


def head(handler: Any, *, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "video/mp2t")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
