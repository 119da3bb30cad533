"""An annotated video: pictures with their times become a file, beside them the sound of the video they are of.

Pictures are encoded as VP9 by libvpx (BSD), in `.webm`, `.mkv` or `.mp4`, all of which browsers play. PyAV's wheels
hold x264 and x265 too, which are under the GPL: these are never asked to encode.
"""

from __future__ import annotations

import errno
import itertools
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from resnetkit import files
from resnetkit.data.opening.video import library
from resnetkit.data.opening.video_decoding import READ, words
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.runtime import available_threads
from resnetkit.words import counted

_CONTAINERS = {".webm": "webm", ".mkv": "matroska", ".mp4": "mp4"}
# Measured on frames of 768x432 and 960x540, one core: 222 and 111 a second, 42.5 and 39.8 dB of what was put in;
# SVT-AV1's fastest presets take as long for 1 to 1.7 dB less, at half the size.
_CODEC = "libvpx-vp9"
_FASTEST = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "1", "crf": "33", "b": "0"}
_MOST_THREADS = 4
_WAITING = 4  # pictures that wait for the encoder at most
_LOOKS = 0.1  # seconds after which one that waits looks whether the encoder still works
_TICKS = Fraction(1, 90_000)
_USUAL = 25.0
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_BT709, _LIMITED = 1, 1  # what players take for granted: FFmpeg's numbers of matrix, primaries and curve, and of range


class VideoWriter:
    """Writes a video at `path` while the caller goes on: its own thread encodes, at most four pictures behind.

    `source`: the file whose sound is kept, every packet as it is, at its place in time; a stream's is not. `rate`:
    roughly how many pictures come a second, which some containers note. Each picture is shown from its own time on, in
    the source's own ticks in an `.mp4`, to a millisecond in the others, which hold no time before 0: where the sound
    begins there, as AAC often does by 0.02 s, everything is so much later. All pictures get the size of the first.

    The file appears whole at the end of a `with` block; where that raises, or without pictures, there is none.
    `notes` then holds what could not be kept.

    Raises `UsageError` for another suffix or sound that the container cannot hold, `DataError` where the source cannot
    be opened, and from `add` or at the end what the encoder met.

    ```python
    with Video("drive.mp4") as video, VideoWriter(Path("seen.mp4"), source="drive.mp4", rate=video.about.rate) as seen:
        for frame in video.frames():
            seen.add(frame.image, frame.time)
    ```
    """

    def __init__(self, path: Path, *, source: str | None = None, rate: float | None = None) -> None:
        self._path, self._rate = path, rate or _USUAL
        self._format = container_of(path)
        self._sound = _Sound(source, path, self._format) if source is not None else None
        self.notes: list[str] = []
        self._waiting: queue.Queue[tuple[Image.Image, float] | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._given_up = kind is not None
        try:
            self._put(None)
        except ResNetKitError:
            if kind is None:
                raise  # what the caller met comes first
        self._thread.join()
        if kind is None:
            self._raise()

    def add(self, image: Image.Image, time: float) -> None:
        """Show a picture from `time` on: seconds from the first frame of the source, later than those before.

        Waits where the encoder is far behind; the picture must not be changed afterwards.
        """
        self._put((image, time))

    def _put(self, item: tuple[Image.Image, float] | None) -> None:
        while self._thread.is_alive():
            try:
                self._waiting.put(item, timeout=_LOOKS)
                return
            except queue.Full:
                continue
        self._raise()

    def _raise(self) -> None:
        if self._error is None:
            return
        error, av = self._error, library()
        if not isinstance(error, av.FFmpegError) or error.errno in _OF_THE_DISK:
            raise error
        raise DataError(f"{self._path}: cannot be written as a video ({words(error)})") from error

    def _items(self) -> Iterator[tuple[Image.Image, float]]:
        while (item := self._waiting.get()) is not None:
            yield item

    def _work(self) -> None:
        try:
            items = self._items()
            first = next(items, None)
            if first is None or self._given_up:
                return
            with files.replacing(self._path) as temporary:
                self._encode(first, items, temporary)
                if self._given_up:
                    raise _GivenUp
        except _GivenUp:
            pass
        except BaseException as error:
            self._error = error
        finally:
            if self._sound is not None:
                self._sound.close()

    def _encode(
        self, first: tuple[Image.Image, float], rest: Iterator[tuple[Image.Image, float]], temporary: Path
    ) -> None:
        av = library()
        ticks, start = (_TICKS, 0) if self._sound is None else (self._sound.ticks, self._sound.start)
        with av.open(str(temporary), "w", format=self._format) as container:
            stream = self._stream(container, first[0].size, ticks)
            if self._sound is not None:
                self._sound.beside(container)
            container.start_encoding()
            last = start - 1
            for image, time in itertools.chain([first], rest):
                if self._given_up:
                    return
                last = max(last + 1, start + round(Fraction(time) / ticks))
                frame = av.VideoFrame.from_image(_fitting(image, first[0].size)).reformat(
                    format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED
                )
                frame.pts, frame.time_base = last, ticks
                if self._sound is not None:
                    self._sound.until(float(last * ticks))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if self._sound is not None:
                self._sound.until(None)
                self.notes += self._sound.notes

    def _stream(self, container: Any, size: tuple[int, int], ticks: Fraction) -> Any:
        options = {**_FASTEST, "tile-columns": "2"}
        stream = container.add_stream(_CODEC, rate=Fraction(self._rate).limit_denominator(1001), options=options)
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = stream.time_base = ticks
        context.thread_count = min(available_threads(), _MOST_THREADS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        return stream


class _GivenUp(Exception):  # noqa: N818 - no error: the caller has its own
    """The caller raised: the file is not wanted."""


class _Sound:
    """The sound of a file, packet by packet; with it go the file's ticks, and the one at which its pictures begin."""

    def __init__(self, source: str, path: Path, container: str) -> None:
        av = library()
        try:
            self._source: Any = av.open(source, options={"format_whitelist": READ}, metadata_errors="replace")
        except (OSError, ValueError, av.FFmpegError) as error:
            raise DataError(f"{source}: its sound cannot be read ({words(error)}); write without it") from error
        self.notes: list[str] = []
        self._name, self._lost = source, 0
        streams = self._source.streams
        self._streams = [
            one for one in streams.audio if one.codec_context is not None and one.codec_context.sample_rate
        ]
        if len(self._streams) < len(streams.audio):
            self.notes.append(f"{source}: does not say how its sound is to be read, which is not kept")
        for stream in self._streams:
            _check_holds(path, container, stream.codec_context.name)
        cover = av.stream.Disposition.attached_pic
        moving = next((one for one in streams.video if one.time_base and not one.disposition & cover), None)
        self.ticks: Fraction = _TICKS if moving is None else moving.time_base
        self.start: int = 0 if moving is None else moving.start_time or 0

    def beside(self, container: Any) -> None:
        """Begin it in a container that is being written."""
        self._container = container
        self._into = {stream.index: container.add_stream_from_template(stream) for stream in self._streams}
        self._packets = self._read()
        self._next = next(self._packets, None)

    def until(self, time: float | None) -> None:
        """Write what is heard up to a time in seconds of the source, or all of it."""
        while self._next is not None and (time is None or float(self._next.dts * self._next.time_base) <= time):
            self._next.stream = self._into[self._next.stream_index]
            try:
                self._container.mux_one(self._next)
            except (library().error.InvalidDataError, library().error.ArgumentError):  # what is in it makes no sense
                self._lost += 1
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._source.close()

    def _read(self) -> Iterator[Any]:
        """Yield the packets, but those without a time, or with one that goes back."""
        if not self._streams:
            return
        last: dict[int, int] = {}
        try:
            for packet in self._source.demux(self._streams):
                if packet.size == 0:
                    continue
                if packet.dts is None or packet.dts <= last.get(packet.stream_index, packet.dts - 1):
                    self._lost += 1
                    continue
                last[packet.stream_index] = packet.dts
                yield packet
        except (OSError, ValueError, library().FFmpegError) as error:
            self.notes.append(f"{self._name}: is damaged ({words(error)}); its sound before that is kept")
        if self._lost:
            self.notes.append(f"{self._name}: {counted(self._lost, 'packet')} of sound that make no sense left out")


def container_of(path: Path) -> str:
    """Return FFmpeg's name of what a video is written as; raises `UsageError` for other suffixes.

    >>> container_of(Path("seen.MKV"))
    'matroska'
    """
    if (container := _CONTAINERS.get(path.suffix.lower())) is None:
        raise UsageError(f"{path}: videos are written as .mp4, .webm or .mkv; end the name with one of these")
    return container


def _check_holds(path: Path, container: str, codec: str) -> None:
    """Raise `UsageError` where sound of that kind cannot be in a file of that kind."""
    if container == "webm" and codec not in ("opus", "vorbis"):
        raise UsageError(
            f"{path}: WebM holds no sound of the kind {codec}, which is kept as it is; write an .mp4 or .mkv"
        )


def _fitting(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    image = image.convert("RGB")
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
