"""Videos: each frame upright at its own time, and one clear line for what is none."""

import os
import resource
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.opening.video import Frame, Thinned, Video, is_video, open_video
from resnetkit.data.opening.video_frames import Clock
from resnetkit.errors import DataError, ResNetKitError, UsageError
from tests.videos import bar, made, pixels_of

pytest.importorskip("av")


def read(path: Path, thinned: Thinned | None = None, *, after: int = -1) -> list[Frame]:
    with Video(str(path)) as video:
        return list(video.frames(thinned or Thinned(), after=after))


def told_of(path: Path) -> str:
    with pytest.raises(ResNetKitError) as refused:
        read(path)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("a.mkv", "libvpx-vp9"), ("a.avi", "mjpeg"), ("a.ts", "mpeg2video")]
)
def test_every_frame_comes_once_at_its_time(tmp_path: Path, name: str, codec: str) -> None:
    colours = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    with Video(str(made(tmp_path / name, codec=codec, colours=colours))) as video:
        frames = list(video.frames())
        again = list(video.frames())
    assert (video.about.width, video.about.height, video.about.rate, video.about.sound) == (64, 48, 25.0, False)
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(20)])
    assert [bar(frame.image) for frame in frames] == list(range(20))
    assert [frame.image.tobytes() for frame in frames] == [frame.image.tobytes() for frame in again]
    difference = np.abs(np.asarray(frames[7].image).astype(int) - pixels_of(7))
    assert difference.mean() < 8


def test_times_are_those_of_the_stream(tmp_path: Path) -> None:
    stamps = [100 + 10 * n * n for n in range(20)]
    frames = read(made(tmp_path / "uneven.mkv", stamps=stamps, codec="libvpx-vp9"))
    assert [frame.time for frame in frames] == pytest.approx([n * n / 100 for n in range(20)])
    each = read(tmp_path / "uneven.mkv", Thinned(a_second=1))
    assert [frame.number for frame in each] == [0, 10, 15, 18]
    assert [frame.number for frame in read(tmp_path / "uneven.mkv", Thinned(every=8))] == [0, 8, 16]


def test_what_comes_behind_a_frame_is_what_a_full_reading_gives(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", codec="libvpx-vp9", stamps=[40 * n + n % 3 for n in range(20)], group=5)
    for thinned in (Thinned(), Thinned(every=3), Thinned(a_second=4)):
        whole = [(f.number, f.time, f.image.tobytes()) for f in read(path, thinned)]
        for after in (0, 7, 18, 19, 40):
            rest = [(f.number, f.time, f.image.tobytes()) for f in read(path, thinned, after=after)]
            assert rest == [one for one in whole if one[0] > after]


@pytest.mark.parametrize(("turned", "white"), [(0, (0, 0)), (90, (0, -1)), (-90, (-1, 0)), (180, (-1, -1))])
def test_turned_frames_come_upright(tmp_path: Path, turned: int, white: tuple[int, int]) -> None:
    with Video(str(made(tmp_path / "a.mp4", turned=turned, frames=2))) as video:
        image = next(video.frames()).image
    assert image.size == (video.about.width, video.about.height) == ((64, 48) if turned in (0, 180) else (48, 64))
    corners = {(x, y): min(image.getpixel((x % image.width, y % image.height))) for x in (0, -1) for y in (0, -1)}
    assert [corner for corner, least in corners.items() if least > 200] == [white]


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    assert read(made(tmp_path / "wide.mp4", wide=Fraction(4, 3), frames=1))[0].image.size == (85, 48)
    assert read(made(tmp_path / "high.mp4", wide=Fraction(1, 2), frames=1, turned=90))[0].image.size == (96, 64)


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    (frame,) = read(made(tmp_path / "ten.mkv", codec="ffv1", colours="yuv420p10le", frames=1))
    assert frame.image.mode == "RGB"
    assert np.abs(np.asarray(frame.image).astype(int) - pixels_of(0)).mean() < 4


def sound_alone(path: Path) -> None:
    made(path, codec=None, sound=1)


def cut_at_half(path: Path) -> None:
    made(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


NO_VIDEOS: dict[str, tuple[Callable[[Path], object], str]] = {
    "is empty (0 bytes)": (lambda path: path.write_bytes(b""), "a.mp4"),
    "its data make no sense": (lambda path: path.write_text("no video at all\n" * 40), "a.mp4"),
    "of no kind that is read": (lambda path: path.write_text("ffconcat version 1.0\nfile b.mp4\n"), "a.mp4"),
    "holds sound and no video": (sound_alone, "a.mp4"),
    "leave it out": (cut_at_half, "a.mp4"),
    "No such file": (lambda path: None, "a.mp4"),
    "is a folder": (lambda path: path.mkdir(), "a.mp4"),
}


@pytest.mark.parametrize("words", NO_VIDEOS)
def test_what_is_no_video_is_one_line(tmp_path: Path, words: str) -> None:
    write, name = NO_VIDEOS[words]
    write(tmp_path / name)
    assert words in told_of(tmp_path / name)


def test_a_file_without_frames_is_one_line(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", codec="libvpx-vp9")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(bytes.fromhex("1f43b675"))])  # where the first cluster begins
    assert told_of(path).startswith("cannot be read as a video (it ends too early)")


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "song.mp3"), "w") as out:
        heard, cover = out.add_stream("libmp3lame", rate=8000), out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        waves = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        waves.rate = 8000
        out.mux([*heard.encode(waves), *heard.encode()])
        out.mux([*cover.encode(av.VideoFrame.from_ndarray(pixels_of(0), format="rgb24")), *cover.encode()])
    assert "holds a cover picture and no video" in told_of(tmp_path / "song.mp3")


def test_a_huge_claim_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = made(tmp_path / "a.avi", codec="ffv1", frames=1)
    data = path.read_bytes()
    claim = struct.pack("<II", 64, 48)
    assert claim in data
    path.write_bytes(data.replace(claim, struct.pack("<II", 20_000, 20_000)))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told_of(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 100_000, "KiB"


def test_a_file_that_was_cut_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", codec="mjpeg", colours="yuvj420p", options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said: list[str] = []
    with Video(str(path), say=said.append) as video:
        frames = [frame for frame in video.frames() if frame.error is None]
    assert 5 < len(frames) < 15
    assert [bar(frame.image) for frame in frames] == list(range(len(frames)))
    assert any("cut off or damaged" in line for line in said)


def test_a_broken_frame_costs_that_frame(tmp_path: Path) -> None:
    path = made(tmp_path / "a.avi", codec="mjpeg", colours="yuvj420p")
    data = bytearray(path.read_bytes())
    starts = [at for at in range(data.index(b"movi"), len(data) - 8) if data[at : at + 4] == b"00dc"]
    at, size = starts[7] + 8, struct.unpack_from("<I", data, starts[7] + 4)[0]
    data[at : at + size] = bytes(size)
    path.write_bytes(data)
    frames = read(path)
    assert [frame.number for frame in frames if frame.error] == [7]
    assert frames[7].image is None
    assert [bar(frame.image) for frame in frames if frame.image] == [n for n in range(20) if n != 7]
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(20)])


def test_a_clock_never_goes_back() -> None:
    clock = Clock(0.1, most=100)
    stamps = [5.0, 5.1, 5.05, None, 5.3, 1e9, 5.5, 0.0, 0.1, 0.2]
    times = [clock.at(stamp) for stamp in stamps]
    assert times == pytest.approx([0, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    unstamped = Clock(0.5)
    assert [unstamped.at(stamp) for stamp in (None, None, 9.0, 9.25)] == pytest.approx([0, 0.5, 1, 1.25])


def test_names_tell_what_is_a_video() -> None:
    assert [is_video(name) for name in ("a.MP4", "rtsp://x/1", "camera:0", "a.png", "a.mp4.csv")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_thinning_refuses_what_is_no_number() -> None:
    for wrong in ({"every": 0}, {"a_second": 0.0}, {"a_second": float("nan")}):
        with pytest.raises(UsageError):
            Thinned(**wrong)


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (2, 10, 1, 9):
        Image.fromarray(pixels_of(number)).save(folder / f"frame{number}.png")
    (folder / "frame7.png").write_bytes(b"no picture")
    Image.fromarray(pixels_of(11, size=(128, 96))).save(folder / "frame11.png")
    os.mkfifo(folder / "frame12.png")
    (folder / "notes.txt").write_text("of the drive")
    with open_video(str(folder), rate=10) as video:
        frames = list(video.frames())
        assert [frame.number for frame in video.frames(Thinned(every=2), after=1)] == [2, 4, 6]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [bar(frame.image) if frame.image else None for frame in frames[:-2]] == [1, 2, None, 9, 10]
    assert {frame.image.size for frame in frames if frame.image} == {(64, 48)}
    assert "frame7.png" in str(frames[2].error)
    assert "neither a file nor a folder" in str(frames[-1].error)
    assert (video.about.frames, video.about.seconds, video.about.rate) == (7, 0.7, 10)
    with pytest.raises(UsageError, match="time stamps of its own"):
        open_video(str(made(tmp_path / "a.mp4")), rate=10)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        open_video(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "frames", "last"),
    [("highway.mp4", 221, 8.8), ("cars.mp4", 377, 30.08), ("bottles.mp4", 1189, 39.821), ("gesture.mkv", 77, 2.534)],
)
@pytest.mark.slow
def test_real_videos_give_a_frame_for_each_of_theirs(shared_data: Path, name: str, frames: int, last: float) -> None:
    found = read(shared_data / "video" / name)
    assert len(found) == frames
    assert found[-1].time == pytest.approx(last, abs=0.002)
    assert not any(frame.error for frame in found)


# ---- mutated files


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file off, or write other bytes or lengths into it, half of them into its head or its end."""
    changed, kind = bytearray(data), int(rng.integers(5))
    if kind == 0:
        return data[: rng.integers(1, len(data))]
    low, high = ((0, len(data)), (0, min(1000, len(data))), (max(0, len(data) - 1000), len(data)))[int(rng.integers(3))]
    if kind == 1:
        at, length = int(rng.integers(low, high - 4)), int(rng.choice([0, 1, 7, 65535, 0x7FFFFFFF, 0xFFFFFFFF]))
        changed[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), length)
    elif kind == 2:
        at, length = int(rng.integers(low, high)), int(rng.integers(1, 200))
        del changed[at : at + length]
    else:
        for _ in range(rng.integers(1, 30)):
            changed[rng.integers(low, high)] = rng.integers(256)
    return bytes(changed)


KINDS = [
    ("a.mp4", {"sound": True}),
    ("a.mkv", {"codec": "libvpx-vp9"}),
    ("a.avi", {"codec": "mjpeg", "colours": "yuvj420p"}),
    ("a.ts", {"codec": "mpeg2video"}),
    ("b.mp4", {"codec": "libx264", "options": {"movflags": "faststart"}, "turned": 90}),
    ("a.flv", {"codec": "flv"}),
    ("b.avi", {"codec": "ffv1"}),
]


def outcome_of(path: Path) -> str:
    """Read a damaged file, check what came, and return what that was."""
    said: list[str] = []
    try:
        with Video(str(path), say=said.append) as video:
            frames = list(video.frames())
    except DataError as error:
        said.append(str(error))
        frames = []
    assert all("\n" not in line and line.startswith(str(path)) for line in said)
    if not frames:
        return "refused"
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert [frame.number for frame in frames] == list(range(len(frames)))
    sizes = {frame.image.size for frame in frames if frame.image is not None}
    assert sizes <= {(video.about.width, video.about.height)}
    return "broken" if any(frame.error for frame in frames) else "frames"


@pytest.mark.parametrize(("first", "last"), [(0, 60), pytest.param(60, 2000, marks=pytest.mark.slow)])
def test_mutated_files_are_frames_or_one_line(tmp_path: Path, first: int, last: int) -> None:
    import av

    known = [(name, how) for name, how in KINDS if how.get("codec", "mpeg4") in av.codecs_available]
    files = [(made(tmp_path / name, **how).read_bytes(), name) for name, how in known]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"frames": 0, "broken": 0, "refused": 0}
    longest = 0.0
    for number in range(first, last):
        rng = np.random.default_rng([24, number])
        data, name = files[int(rng.integers(len(files)))]
        path = tmp_path / f"mutated-{name}"
        path.write_bytes(mutated(data, rng))
        begun = time.monotonic()
        outcomes[outcome_of(path)] += 1
        longest = max(longest, time.monotonic() - begun)
        assert longest < 10, number
    assert min(outcomes.values()) > (last - first) // 50
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most
    print(outcomes, f"longest {longest:.2f} s, {grown} KiB more")
    assert grown < 500_000, "KiB"
