"""Videos that are written: the times, pictures and sound of what they are of, and nothing where it goes wrong."""

import errno
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnetkit.errors import DataError, UsageError
from resnetkit.inference.video.annotated import VideoWriter

av = pytest.importorskip("av", reason="needs the extra video")

# Uneven, and not from 0 on: the pictures of this source begin half a second after its sound.
TICKS, START = Fraction(1, 1000), 500
TIMES = (0.0, 0.04, 0.08, 0.12, 0.5, 0.51, 0.9)
RED, GREEN, BLUE = (200, 30, 40), (20, 180, 60), (40, 60, 220)


def picture(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    image = Image.new("RGB", size, (RED, GREEN, BLUE)[number % 3])
    image.paste((128, 128, 128), (0, 0, size[0] // 2, size[1]))
    return image


def made_source(path: Path, *, sound: str = "aac") -> Path:
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        pictures.codec_context.time_base = TICKS
        heard = container.add_stream(sound, rate=48_000, layout="mono")
        for number, time in enumerate(TIMES):
            frame = av.VideoFrame.from_image(picture(number))
            frame.pts, frame.time_base = START + round(time / TICKS), TICKS
            container.mux(pictures.encode(frame))
        wave = (np.sin(np.arange(72_000) / 17) * 0.3).astype(np.float32)
        for begin in range(0, wave.size, 960):
            samples = av.AudioFrame.from_ndarray(wave[None, begin : begin + 960], format="fltp", layout="mono")
            samples.pts, samples.sample_rate, samples.time_base = begin, 48_000, Fraction(1, 48_000)
            for resampled in av.AudioResampler(format=heard.format, layout="mono", rate=48_000).resample(samples):
                container.mux(heard.encode(resampled))
        container.mux(pictures.encode(None))
        container.mux(heard.encode(None))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_source(tmp_path_factory.mktemp("source") / "uneven.mp4")


@pytest.fixture(scope="module")
def written(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("written") / "seen.mp4", source=source)


def write(
    path: Path, *, source: Path | None = None, times: Sequence[float] = TIMES,
    drawn: Callable[[int], Image.Image] = picture,
) -> Path:  # fmt: skip
    with VideoWriter(path, source=None if source is None else str(source), rate=25) as video:
        for number, time in enumerate(times):
            video.add(drawn(number), time)
    assert video.notes == []
    return path


class Odd:
    """A source whose packets come changed."""

    def __init__(self, real: Any, change: Callable[[Iterator[Any]], Iterator[Any]]) -> None:
        self._real, self._change, self.close = real, change, real.close

    def demux(self, streams: Any) -> Iterator[Any]:
        return self._change(self._real.demux(streams))


def shown(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, np.asarray(frame.to_image()).astype(int))
            for frame in container.decode(video=0)
        ]


def heard(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio)
        return [(float(one.pts * one.time_base), bytes(one)) for one in packets if one.dts is not None]


def test_pictures_keep_their_times_and_colours(source: Path, written: Path) -> None:
    assert [time for time, _ in shown(written)] == [time for time, _ in shown(source)]
    for number, (_, pixels) in enumerate(shown(written)):
        assert np.abs(pixels - np.asarray(picture(number)))[8:40, [*range(8, 24), *range(40, 56)]].max() <= 6


def test_the_sound_is_kept_packet_by_packet(source: Path, written: Path) -> None:
    assert len(heard(source)) > 50
    assert heard(written) == heard(source)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_has_nothing_to_say(written: Path) -> None:
    command = ["ffprobe", "-v", "warning", "-show_frames", "-select_streams", "v", "-of", "default", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("pts_time=") == len(TIMES)
    assert "color_space=bt709" in done.stdout


def test_matroska_keeps_sound_and_times_to_a_millisecond(source: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "seen.mkv", source=source)
    assert [packet for _, packet in heard(path)] == [packet for _, packet in heard(source)]
    # The sound begins before 0, as that of AAC does, which Matroska cannot hold: all of it is as much later.
    later = float(shown(path)[0][0] - shown(source)[0][0])
    assert later == pytest.approx(-heard(source)[0][0], abs=1e-3)
    for of in (heard, shown):
        times = [[float(time) for time, _ in of(file)] for file in (path, source)]
        assert np.subtract(*times) == pytest.approx(later, abs=1.1e-3)


def test_webm_holds_opus_and_says_so_of_other_sound(source: Path, tmp_path: Path) -> None:
    opus = made_source(tmp_path / "opus.mkv", sound="libopus")
    assert len(heard(write(tmp_path / "seen.webm", source=opus))) == len(heard(opus)) > 50
    with pytest.raises(UsageError, match=r"aac, which is kept as it is; write an .mp4 or .mkv"):
        VideoWriter(tmp_path / "no.webm", source=str(source))


def test_there_need_be_no_sound_and_sides_may_be_odd(tmp_path: Path) -> None:
    frames = shown(write(tmp_path / "seen.webm", times=(0, 0.5, 0.52), drawn=lambda n: picture(n, (37, 21))))
    assert [float(time) for time, _ in frames] == [0, 0.5, 0.52]
    assert {pixels.shape for _, pixels in frames} == {(21, 37, 3)}


def test_all_pictures_get_the_size_of_the_first(tmp_path: Path) -> None:
    frames = shown(write(tmp_path / "seen.mp4", drawn=lambda n: picture(n, (64 + 10 * n, 48))))
    assert {pixels.shape for _, pixels in frames} == {(48, 64, 3)}


def test_times_that_stand_still_cost_no_picture(tmp_path: Path) -> None:
    frames = shown(write(tmp_path / "seen.mp4", times=(0, 0.04, 0.04, 0.03)))
    times = [time for time, _ in frames]
    assert len(times) == 4 == len(set(times))
    assert times == sorted(times)


def test_where_the_caller_fails_there_is_no_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "seen.mp4", source=source, drawn=lambda number: picture(number, (64, 48 // (5 - number))))
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_there_is_no_file(tmp_path: Path) -> None:
    write(tmp_path / "seen.mp4", times=())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "full"), OSError), (av.error.InvalidDataError(5000, "odd"), DataError)],
)
def test_what_the_encoder_meets_is_raised_where_pictures_come_from(
    error: Exception, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(VideoWriter, "_stream", failing)
    drawn: list[int] = []
    with pytest.raises(raised):
        write(tmp_path / "seen.mp4", times=range(1000), drawn=lambda number: drawn.append(number) or picture(0))
    assert len(drawn) < 20
    assert list(tmp_path.iterdir()) == []


def test_few_pictures_wait_for_a_slow_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, added = threading.Event(), []

    def waiting(_: object, __: object, rest: object, ___: object) -> None:
        slow.wait()
        list(rest)  # type: ignore[call-overload]

    monkeypatch.setattr(VideoWriter, "_encode", waiting)
    with VideoWriter(tmp_path / "seen.mp4") as video:
        threading.Timer(0.3, lambda: (added.append(video._waiting.qsize()), slow.set())).start()
        for number in range(10):
            video.add(picture(0), number / 25)
    assert added == [4]


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_source_costs_the_sound_that_is_damaged(cut: bool, tmp_path: Path) -> None:
    whole = made_source(tmp_path / "whole.ts")
    held = bytearray(whole.read_bytes())
    held[len(held) // 3 : len(held) // 2] = b"" if cut else bytes(range(256)) * 2
    (tmp_path / "damaged.ts").write_bytes(held)
    with VideoWriter(tmp_path / "seen.mp4", source=str(tmp_path / "damaged.ts"), rate=25) as video:
        for number, time in enumerate(TIMES):
            video.add(picture(number), time)
    assert len(shown(tmp_path / "seen.mp4")) == len(TIMES)
    assert 10 < len(heard(tmp_path / "seen.mp4")) < len(heard(whole))


def test_sound_that_makes_no_sense_is_left_out_and_counted(source: Path, tmp_path: Path) -> None:
    def senseless(packets: Iterator[Any]) -> Iterator[Any]:
        for number, packet in enumerate(packets):
            packet.dts = packet.pts = None if number == 5 else 1000 if number == 9 else packet.dts
            yield packet

    with VideoWriter(tmp_path / "seen.mp4", source=str(source), rate=25) as video:
        assert video._sound is not None
        real = video._sound._source
        video._sound._source = Odd(real, senseless)
        for number, time in enumerate(TIMES):
            video.add(picture(number), time)
    assert video.notes == [f"{source}: 2 packets of sound that make no sense left out"]
    assert len(heard(tmp_path / "seen.mp4")) == len(heard(source)) - 2


def test_other_files_and_sources_are_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"seen.avi: videos are written as .mp4, .webm or .mkv"):
        VideoWriter(tmp_path / "seen.avi")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text.mp4: its sound cannot be read"):
        VideoWriter(tmp_path / "seen.mp4", source=str(tmp_path / "text.mp4"))
