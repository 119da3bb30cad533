"""Small videos for tests, written by PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from resnetkit.data.opening.video import library


def made(path: Path, pictures: Sequence[np.ndarray], *, rate: int = 25, codec: str = "mpeg4") -> Path:
    """Write `[H, W, 3]` uint8 pictures as the frames of a video, and return its path."""
    av = library()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "5"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain(*greys: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Return pictures of one grey each."""
    return [np.full((*size, 3), grey, np.uint8) for grey in greys]
