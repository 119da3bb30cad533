"""From the packets of a file or a stream to pictures with times that never go back: PyAV, and what breaks in it."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from PIL import Image

from resnetkit.data.opening import claims
from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.images import UPRIGHT
from resnetkit.data.opening.video_frames import About, Clock, Frame, Say, library, nobody
from resnetkit.errors import DataError, NetworkError, ResNetKitError, UsageError

# fmt: off
READ = (  # FFmpeg's names of what a file may be: others are text, subtitles, pictures, and lists that name other files
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,yuv4mpegpipe,mjpeg,h264,hevc,m4v,ivf,obu,mxf,nut,gif,"
    "rm,dv,vc1,mp3,wav,aac,flac,w64,aiff,ac3,amr"
)
_TURNS = {  # the signs of a display matrix (a, b, c, d) -> the EXIF orientation that says the same
    (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4, (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
# fmt: on
_MOST_SILENT = 1_000  # packets in a row without a picture
_MOST_WAITING = 100  # broken frames in a row whose times wait for that of the next one
_MOST_REFUSED = 50  # times in a row that a file gives no packet
_SECONDS_TO_READ = 60.0  # for one packet of a file
_FASTEST = 1_000.0  # frames a second: a file that claims more does not know
_PLAYLISTS = frozenset(("hls", "dash"))  # whose bytes are not those of the video
_LEAST_INDEX = 500  # bytes: frames that begin before that have no index before them
REMEDY = "download it, or: ffmpeg -i IN -c copy -movflags +faststart OUT"
_SQUARE, _LONGEST = 0.01, 16  # ratios of pixels' sides, as in `dicom_header`


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame as it comes: its time, and the frame of PyAV or why there is none."""

    time: float
    frame: Any
    error: str | None = None


class Decoding:
    """A file or a stream that is open: `about`, and what it shows, once. A context manager; from one thread at a time.

    `shown` is what a person calls it. Raises `DataError` for what is no video, or where none of its pictures can be
    decoded, `NetworkError` where what is `live` cannot be reached, or has its index where it cannot be. `start` is
    asked for the time of the first frame.
    """

    _clock: Clock
    _first: Iterator[Any]

    def __init__(
        self,
        address: str,
        *,
        shown: str,
        live: bool = False,
        kind: str | None = None,
        options: dict[str, str] | None = None,
        seconds_to_read: float = _SECONDS_TO_READ,
        start: Callable[[], float] = float,
        say: Say = nobody,
    ) -> None:
        self._av, self._shown, self._say, self._live = library(), shown, say, live
        self._http = live and address.startswith("http")
        self._reached = 0.0  # where the latest packet ends, by its own stamp
        num_bytes = None if live else _size(address, shown)
        limits = {"max_pixels": str(claims.MAX_PIXELS)}
        try:
            self._container: Any = self._av.open(
                address, format=kind, timeout=(seconds_to_read, seconds_to_read), metadata_errors="replace",
                options={**({} if live else {"format_whitelist": READ}), **limits, **(options or {})},
            )  # fmt: skip
        except (self._av.FFmpegError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise self._no_video(error) from error
        try:
            self._begin(num_bytes, limits, start)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; more than once does no harm."""
        self._container.close()

    def shows(self) -> Iterator[Shown]:
        """Yield all frames in the order in which they are shown; those that are broken with an `error`.

        Says where a file ends before it should. Raises `DataError` where nothing more can be decoded, though there is
        more, what PyAV raises where a stream stalls or breaks off, and `EOFError` where one ends before it should.
        """
        waiting: list[str] = []
        for frame in self._first:
            if not isinstance(frame, str):
                yield from self._in_time(frame, waiting)
            elif len(waiting) < _MOST_WAITING:
                waiting.append(frame)
                continue
            else:
                yield from self._broken([*waiting, frame])
            waiting = []
        yield from self._broken(waiting)
        self._check_whole()

    def skip_to(self, time: float) -> bool:
        """Go on, in `shows` called anew, from the last frame at or before a time that stands for itself.

        Tell whether that was done: only files that list their frames by time say where these are.
        """
        stamp, base = self._clock.stamp_of(time), self._stream.time_base
        indexed = {"mov", "matroska"} & set(self._container.format.name.split(","))
        if not indexed or not self._clock.steady or stamp is None or not base:
            return False
        try:
            self._container.seek(int(stamp // float(base)), stream=self._stream)
        except (self._av.FFmpegError, OSError, ValueError, OverflowError):
            return False
        self._first = self._frames()
        self._clock.skipped_to(time)
        return True

    def picture(self, frame: Any) -> Image.Image:
        """Return a frame as RGB, upright, its pixels square, of the size that `about` says; raises `DataError`."""
        try:
            # `frame.to_image()` gives the same pixels, and takes ten times as long to copy them.
            width, height = self._square
            image = Image.fromarray(self._colours.reformat(frame, width, height, "rgb24", threads=1).to_ndarray())
        except (self._av.FFmpegError, OSError, ValueError, RuntimeError, MemoryError, AttributeError) as error:
            raise DataError(f"cannot be shown ({words(error)})") from error
        return image if self._turn == 1 else image.transpose(UPRIGHT[self._turn])

    def _begin(self, num_bytes: int | None, limits: dict[str, str], start: Callable[[], float]) -> None:
        self._stream = self._video_stream()
        context = self._stream.codec_context
        if num_bytes is not None:
            self._check_claim(context.width, context.height, num_bytes)
        # By slices, not by frames: what is broken is then the same every time, and no frames are lost behind it.
        context.thread_type = "SLICE"
        context.options = limits
        frames = self._frames()
        before = list[str]()
        first = None
        try:
            for frame in frames:
                if not isinstance(frame, str):
                    first = frame
                    break
                before.append(frame)
        except self._av.FFmpegError as error:
            if self._bounded:
                raise self._out_of_reach(error) from error
            raise
        if first is None:
            if self._live and self._index_behind:
                raise self._out_of_reach(EOFError("it ends"))
            why = before[0] if before else "it ends before the first"
            mend = "" if self._live else "; copy it again or leave it out"
            raise DataError(f"{self._shown}: none of its pictures can be decoded ({why}){mend}")
        self._first = chain(before, (first,), frames)
        self._about_it(first, num_bytes)
        interval = 1 / (self.about.rate or 25)
        claimed = self.about.seconds
        self._clock = Clock(interval, most=None if claimed is None else claimed * 1.1 + 10, start=start())

    def _about_it(self, first: Any, num_bytes: int | None) -> None:
        self._turn = _turn(first)
        self._colours = self._av.video.reformatter.VideoReformatter()
        self._square = _square(first.width, first.height, self._stream.sample_aspect_ratio)
        if num_bytes is not None:
            self._check_claim(*self._square, num_bytes)
        width, height = self._square if self._turn < 5 else self._square[::-1]
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        duration = self._container.duration
        self.about = About(
            source=self._shown, width=width, height=height,
            rate=rate if 0 < rate <= _FASTEST else None,
            seconds=duration / self._av.time_base if duration and duration > 0 else None,
            frames=self._stream.frames or None, sound=bool(self._container.streams.audio),
            live=self._live and not self._bounded,
        )  # fmt: skip

    @property
    def _bounded(self) -> bool:
        """Whether it says how long it is: in seconds, or in bytes where these are the video's own."""
        if self._container.duration:
            return True
        return self._container.size > 0 and self._container.format.name not in _PLAYLISTS

    @property
    def _index_behind(self) -> bool:
        entries = self._stream.index_entries
        return "mov" in self._container.format.name.split(",") and len(entries) > 0 and entries[0].pos < _LEAST_INDEX

    def _out_of_reach(self, error: BaseException) -> ResNetKitError:
        """Return why no frame came of what lies on a server."""
        if self._index_behind and not isinstance(error, self._av.error.ExitError):
            return NetworkError(f"{self._shown}: its index lies at its end and this server gives no parts: {REMEDY}")
        return NetworkError(f"{self._shown}: broke off before its first frame ({words(error)})")

    def _video_stream(self) -> Any:
        streams = self._container.streams
        moving = [stream for stream in streams.video if not stream.disposition & _cover(self._av)]
        if not moving:
            what = "a cover picture" if streams.video else "sound" if streams.audio else "no sound"
            raise DataError(f"{self._shown}: holds {what} and no video; copy it again or leave it out")
        known = [stream for stream in moving if stream.codec_context is not None]
        if not known:
            raise DataError(f"{self._shown}: its pictures are packed in a way that is not read; save it as MP4 or WebM")
        return known[0]

    def _check_claim(self, width: int, height: int, num_bytes: int) -> None:
        try:
            claims.check(width, height, samples=3, num_bytes=num_bytes)
        except DataError as error:
            raise DataError(f"{self._shown}: {error}") from error

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the pictures, None behind the last where the file breaks off: it empties the decoder.

        All others are read with them where only the longest of all is as long as the header says.
        """
        refused = 0
        wanted = () if self._stream.duration is None else (self._stream,)
        while True:
            try:
                for packet in self._container.demux(*wanted):
                    refused = 0
                    self._note_end(packet)
                    if packet.stream_index == self._stream.index:
                        yield packet
                return
            except self._av.error.ExitError as error:
                if self._live:
                    raise
                raise DataError(f"{self._shown}: nothing could be read for {_SECONDS_TO_READ:g} s") from error
            except (self._av.FFmpegError, OSError, ValueError, MemoryError) as error:
                if self._http and getattr(error, "errno", None) == errno.EIO and self._container.size <= 0:
                    yield None  # so FFmpeg calls the end of what promised no number of bytes
                    return
                if self._live:
                    raise
                refused += 1
                if refused > _MOST_REFUSED or not isinstance(error, self._av.error.InvalidDataError):
                    self._say(f"{self._shown}: is damaged ({words(error)}); the frames before that are read")
                    yield None
                    return

    def _frames(self) -> Iterator[Any]:
        """Yield frames of PyAV, and for each picture that cannot be decoded why."""
        silent = 0
        for packet in self._packets():
            if packet is not None and not packet.size and packet.dts is not None:
                continue  # it says that the frame before goes on being shown
            try:
                frames = self._stream.codec_context.decode(packet)
            except (self._av.FFmpegError, OSError, ValueError, RuntimeError, MemoryError) as error:
                if not isinstance(error, self._av.error.EOFError):
                    yield f"broken ({words(error)})"
                frames = []
            silent = 0 if frames else silent + 1
            if silent > _MOST_SILENT:
                raise DataError(f"{self._shown}: {silent:,} parts in a row hold no picture that can be decoded")
            yield from frames

    def _in_time(self, frame: Any, waiting: list[str]) -> Iterator[Shown]:
        """Yield a frame behind the broken ones before it, whose times lie evenly between those of their neighbours."""
        last = self._clock.last
        if last is None:
            yield from self._broken(waiting)
        time = self._clock.at(self._stamp(frame))
        if last is not None:
            step = (time - last) / (len(waiting) + 1)
            yield from (Shown(last + n * step, None, error) for n, error in enumerate(waiting, start=1))
        yield Shown(time, frame, "broken (its data are damaged)" if frame.is_corrupt else None)

    def _broken(self, errors: list[str]) -> Iterator[Shown]:
        yield from (Shown(self._clock.at(None), None, error) for error in errors)

    def _stamp(self, frame: Any) -> float | None:
        base = self._stream.time_base
        return None if frame.pts is None or not base else float(frame.pts * base)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            self._reached = max(self._reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _check_whole(self) -> None:
        """Say where it ends before the time that its header tells; raise where more may lie on the server.

        The header tells how long the pictures are, in some containers only how long the longest of all streams is: what
        is held against that is the end of whatever reaches furthest, so that sound may be longer than the pictures.
        """
        stream, interval, last = self._stream, 1 / (self.about.rate or 25), self._clock.last
        own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        seconds = self.about.seconds if own is None else own
        if seconds is None or last is None or (self._live and not self._bounded):
            return
        rounded = self._container.format.name in _PLAYLISTS  # the seconds of each part
        of_itself = stream.start_time is not None and (rounded or own is not None)
        begin = float(stream.start_time * stream.time_base) if of_itself else 0.0
        end = max(last + interval, self._reached - begin)
        if end >= seconds - max(3 * interval, 0.01 * seconds):
            return
        if self._live and not rounded and self._container.size <= 0:  # otherwise all bytes came that there are
            raise EOFError(f"its header says {seconds:.2f} s")
        self._say(f"{self._shown}: ends after {end:.2f} s, and its header says {seconds:.2f} s: cut off or damaged")

    def _no_video(self, error: Exception) -> ResNetKitError:
        if self._live:
            return NetworkError(f"{self._shown}: cannot be read ({words(error)})")
        foreign = isinstance(error, self._av.error.ArgumentError)  # what it is, is not in `READ`
        why = "of no kind that is read" if foreign else words(error)
        return DataError(f"{self._shown}: cannot be read as a video ({why}); copy or save it again, or leave it out")


def frame_of(decoding: Decoding, number: int, time: float, shown: Shown) -> Frame:
    """Return a frame that was shown, with its picture, or why it has none."""
    if shown.error is not None:
        return Frame(number, time, None, shown.error)
    try:
        return Frame(number, time, decoding.picture(shown.frame))
    except DataError as error:
        return Frame(number, time, None, str(error))


def _size(path: str, shown: str) -> int:
    """Return how many bytes a file has; raises `UsageError` where it is not there, `DataError` where it is no video."""
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown}: {getattr(error, 'strerror', None) or error}") from error
    if os.path.isdir(path):
        raise UsageError(f"{shown}: is a folder")
    if not os.path.isfile(path):
        raise UsageError(f"{shown}: is neither a file nor a folder")
    if not size:
        raise DataError(f"{shown}: is empty (0 bytes); copy it again or leave it out")
    return size


def words(error: BaseException) -> str:
    """Return what FFmpeg says, short: without the path, which stands before it already."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    plain = {
        "Invalid data found when processing input": "its data make no sense", "End of file": "it ends too early",
        "Immediate exit requested": "nothing comes",
    }  # fmt: skip
    return one_line(plain.get(words, words))[:120]


def _turn(frame: Any) -> int:
    """Return the EXIF orientation of a frame by its display matrix, the nearest quarter turn; 1 where it has none."""
    try:
        matrix = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV does not know something else that stands beside it, and then shows none of it
        return {90: 8, -90: 6, 180: 3, -180: 3}.get(frame.rotation, 1)
    if matrix is None:
        return 1
    a, b, _, c, d, *_ = struct.unpack("9i", matrix[:36])
    upright = abs(a) + abs(d) >= abs(b) + abs(c)
    kept = (a, 0, 0, d) if upright else (0, b, c, 0)
    return _TURNS.get(tuple((value > 0) - (value < 0) for value in kept), 1)  # type: ignore[arg-type]


def _square(width: int, height: int, ratio: Any) -> tuple[int, int]:
    """Return (width, height) with square pixels: the side whose pixels are longer is enlarged, as of DICOM files.

    `ratio`: how wide a pixel is in heights of it. A ratio that no camera has is not believed.
    """
    wide = float(ratio or 1)
    if not 1 / _LONGEST <= wide <= _LONGEST or abs(wide - 1) <= _SQUARE:
        return width, height
    return (round(width * wide), height) if wide > 1 else (width, round(height / wide))


def _cover(av: Any) -> Any:
    return av.stream.Disposition.attached_pic
