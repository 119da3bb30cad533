"""Where decoded pictures are kept, and that it changes no pixel."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resnetkit import runtime
from resnetkit.data.decoded import cache, cache_files, decoding, survey
from resnetkit.data.decoded.decoding import Form
from resnetkit.data.opening import images
from resnetkit.data.prepared import Part, Prepared
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResourceError
from tests.data.prepared import prepare

PHOTO = Preprocess.for_size(96)
WHOLE = 110


def photo(seed: int, *, size: tuple[int, int] = (130, 120), kind: str = "JPEG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 10, size[0] // 10, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 2 x 8 photos of several shapes, with a cache of its own."""
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))
    for number in range(16):
        path = tmp_path / "photos" / ("ants", "bees")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number, size=(130 + 10 * (number % 3), 120)))
    return tmp_path / "photos"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as they come."""
    names: list[str] = []
    original = images.decode

    def decode(data: bytes, *, name: str, at_least: int | None = None) -> Image.Image:
        names.append(Path(name).name)
        return original(data, name=name, at_least=at_least)

    monkeypatch.setattr(images, "decode", decode)
    return names


def ready(photos: Path, **changed: object) -> Prepared:
    return prepare(
        open_data(photos),
        **({"preprocess": PHOTO, "threads": 2, "whole_short_side": WHOLE} | changed),  # type: ignore[arg-type]
    )


def pictures(part: Part) -> dict[str, np.ndarray]:
    taken = part.pixels.take(np.arange(len(part)))
    return {Path(item.source).name: one for item, one in zip(part.items, taken, strict=True)}


def assert_same_pictures(one: Prepared, other: Prepared) -> None:
    for part in one.parts:
        assert list(pictures(one.parts[part])) == list(pictures(other.parts[part]))
        for mine, theirs in zip(pictures(one.parts[part]).values(), pictures(other.parts[part]).values(), strict=True):
            assert np.array_equal(mine, theirs)


def mapped(prepared: Prepared) -> set[bool]:
    return {part.pixels.mapped for part in prepared.parts.values()}


def test_photos_lie_in_files_with_the_bits_they_have_in_memory(photos, monkeypatch):
    in_files = ready(photos)
    monkeypatch.setattr(decoding, "_PHOTO", 1_000)
    in_memory = ready(photos)
    assert (mapped(in_files), mapped(in_memory)) == ({True}, {False})
    assert_same_pictures(in_files, in_memory)
    assert in_files.parts["train"].pixels.uniform is in_memory.parts["train"].pixels.uniform is False
    assert "kept for the next run: 0.00 GB; see resnetkit cache." in str(in_files.report)


def test_small_pictures_lie_in_files_only_where_the_memory_is_short(photos, monkeypatch):
    small = {"preprocess": Preprocess.for_size(32), "whole_short_side": 37}
    in_memory = ready(photos, **small)
    monkeypatch.setattr(runtime, "available_memory", lambda: 10_000)
    in_files = ready(photos, **small)
    assert (mapped(in_memory), mapped(in_files)) == ({False}, {True})
    assert_same_pictures(in_files, in_memory)


def test_the_next_run_decodes_nothing(photos, opened):
    first = ready(photos)
    assert len(opened) == 16
    second = ready(photos)
    assert len(opened) == 16
    assert_same_pictures(first, second)
    assert "kept for the next run" not in str(second.report)


def test_another_division_decodes_only_what_changed_sides(photos, opened):
    first, second = ready(photos, seed=0), None
    opened.clear()
    second = ready(photos, seed=1)
    before = {part: set(pictures(first.parts[part])) for part in first.parts}
    moved = [name for part in second.parts for name in pictures(second.parts[part]) if name not in before[part]]
    assert moved
    assert sorted(opened) == sorted(moved)


def test_a_changed_file_is_decoded_anew_and_a_renamed_one_is_not(photos, opened):
    ready(photos)
    opened.clear()
    (photos / "ants/0.jpg").write_bytes(photo(99))
    (photos / "bees/1.jpg").rename(photos / "bees/other.jpg")
    changed = ready(photos)
    assert opened == ["0.jpg"]
    name, part = next((n, p) for p in changed.parts.values() for n in pictures(p) if n == "0.jpg")
    assert abs(pictures(part)[name].mean() - np.asarray(Image.open(photos / "ants/0.jpg")).mean()) < 3


@pytest.mark.parametrize("change", ["resize", "size", "crop", "interpolation", "channels", "depth"])
def test_another_preprocessing_is_another_folder(change):
    grey = Preprocess.for_size(96, channels=1)
    changed = {
        "resize": PHOTO.changed(resize=100), "size": PHOTO.changed(size=97), "crop": PHOTO.changed(crop="pad"),
        "interpolation": PHOTO.changed(interpolation="bicubic"), "channels": grey, "depth": PHOTO.changed(depth=12),
    }[change]  # fmt: skip
    assert decoding.Form(preprocess=changed).folder() != decoding.Form(preprocess=PHOTO).folder()


def test_what_changes_no_pixel_changes_no_folder():
    form = decoding.Form(preprocess=PHOTO)
    assert decoding.Form(preprocess=PHOTO.changed(mean=(0, 0, 0), std=(1, 1, 1))).folder() == form.folder()
    whole = decoding.Form(preprocess=PHOTO, short_side=WHOLE)
    assert whole.folder() != form.folder()
    assert decoding.Form(preprocess=PHOTO.changed(size=64), short_side=WHOLE).folder() == whole.folder()


def test_whole_pictures_of_another_crop_are_in_another_folder():
    crops = ("center", "pad", "squash")
    forms = {decoding.Form(preprocess=PHOTO.changed(crop=crop), short_side=WHOLE).folder() for crop in crops}
    assert len(forms) == 3


def test_the_bytes_of_whole_pictures_are_estimated_from_their_sizes():
    surveyed = survey.Survey(digests={}, depths={}, unreadable={}, sizes=((400, 200), (50, 50)))
    for crop, pixels in (("center", 200 * 100), ("pad", 100 * 50), ("squash", 100 * 100)):
        form = decoding.Form(preprocess=PHOTO.changed(crop=crop), short_side=100)
        assert form.bytes_each(surveyed) == 3 * (pixels + 50 * 50) / 2


def test_large_jpegs_are_decoded_smaller_for_training_and_never_for_evaluation(photos):
    large = photo(50, size=(1_000, 800))
    for part, number in (("train", 0), ("val", 1)):
        for label in ("ants", "bees"):
            path = photos.parent / "large" / part / label / f"{number}.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(large)
    prepared = ready(photos.parent / "large")
    image = Image.open(io.BytesIO(large))
    assert (pictures(prepared.parts["val"])["1.jpg"] == PHOTO.pixels(image)).all()
    exact = PHOTO.whole(image, side=WHOLE)
    trained = pictures(prepared.parts["train"])["0.jpg"]
    assert trained.shape == exact.shape
    difference = np.abs(trained.astype(int) - exact)
    assert 0 < difference.mean() < 2, "nearly the same, decoded at a quarter of the size"
    unchanged = ready(photos.parent / "large", whole_short_side=None)
    assert (pictures(unchanged.parts["train"])["0.jpg"] == PHOTO.pixels(image)).all()


@pytest.mark.parametrize("short", ["disk", "cache is a file", "another's folder"])
def test_without_a_place_for_files_photos_stay_in_memory_and_it_is_said(photos, monkeypatch, short):
    if short == "disk":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    elif short == "another's folder":  # root may write everywhere, so the answer of the system is played
        for short_side in (None, WHOLE):
            Form(preprocess=PHOTO, short_side=short_side).folder().mkdir(parents=True)
        monkeypatch.setattr(os, "access", lambda path, _: path.name == "pixels")
    else:
        (photos.parent / "cache").write_text("in the way")
    prepared = ready(photos)
    assert mapped(prepared) == {False}
    assert "Decoded pictures stay in memory, for this run alone:" in str(prepared.report)


def test_neither_disk_nor_memory_is_told_with_the_ways_out(photos, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    monkeypatch.setattr(runtime, "available_memory", lambda: 100_000)
    with pytest.raises(ResourceError) as caught:
        ready(photos)
    told = str(caught.value)
    for part in ("--image-size", "(now 96)", "--limit", "RESNETKIT_CACHE"):
        assert part in told
    assert "\n" not in told


def test_photos_in_the_page_cache_do_not_count_as_used_memory_of_a_container(monkeypatch):
    said = {
        "/proc/meminfo": "MemAvailable:  9000000 kB\n",
        "/sys/fs/cgroup/memory.max": "4000000000\n",
        "/sys/fs/cgroup/memory.current": "3900000000\n",
        "/sys/fs/cgroup/memory.stat": "anon 400000000\nactive_file 500000000\ninactive_file 3000000000\nslab 7\n",
    }
    monkeypatch.setattr(runtime, "_read", lambda path: said.get(path, ""))
    assert runtime.available_memory() == 3_600_000_000
    del said["/sys/fs/cgroup/memory.stat"]
    assert runtime.available_memory() == 100_000_000


def test_a_disk_that_becomes_full_meanwhile_is_told_and_leaves_nothing(photos, monkeypatch):
    def full(*_: object, most_bytes: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_files, "_write_one", full)
    with pytest.raises(ResourceError, match=r"No space left on device.*RESNETKIT_CACHE") as caught:
        ready(photos)
    assert caught.value.exit_code == 5
    assert [path.suffix for path in cache_files.pixels_folder().rglob("*") if path.is_file()] == [".lock"]


def test_a_broken_photo_is_named_each_time_and_the_others_are_decoded_once(photos, opened):
    whole = (photos / "ants/0.jpg").read_bytes()
    for copy in ("0.jpg", "same.jpg"):
        (photos / "ants" / copy).write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        with pytest.raises(DataError, match=r"2 of 17 images cannot be read: .*0.jpg.*same.jpg"):
            ready(photos)
    prepared = ready(photos, bad_images="skip")
    assert sum(map(len, prepared.parts.values())) == 15
    others = [name for name in opened if name not in ("0.jpg", "same.jpg")]
    assert len(others) == 15
    (photos / "ants/0.jpg").write_bytes(whole)
    (photos / "ants/same.jpg").unlink()
    assert sum(map(len, ready(photos).parts.values())) == 16


def test_a_file_that_changes_between_the_two_looks_at_it_is_not_kept_under_its_old_content(photos, monkeypatch):
    dataset = open_data(photos)
    monkeypatch.setattr(cache, "MOST_KEPT", 0)
    surveyed = survey.survey(dataset, threads=1)
    (photos / "ants/0.jpg").write_bytes(photo(77))
    with pytest.raises(DataError, match=r"0.jpg \(was changed after the first look"):
        prepare(dataset, preprocess=PHOTO, threads=1, whole_short_side=WHOLE, surveyed=surveyed)
    assert sum(entry.pictures for entry in cache_files.entries()) == 15


def test_an_interruption_keeps_what_was_complete(photos, monkeypatch, opened):
    monkeypatch.setattr(cache_files, "_FIRST_BYTES", 1)
    before = set(threading.enumerate())

    def stop(done: int, total: int) -> None:
        if done >= total // 2 + 4:  # in the middle of decoding
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ready(photos, threads=1, progress=stop)
    assert not list(cache_files.pixels_folder().rglob("*.tmp"))
    done = sum(entry.pictures for entry in cache_files.entries())
    assert 0 < done < 16
    for thread in set(threading.enumerate()) - before:  # one may be busy with its last chunk: nobody waited for it
        thread.join(timeout=30)
        assert not thread.is_alive()
    opened.clear()
    ready(photos)
    assert len(opened) == 16 - done


ONE_RUN = """
import os, signal, sys
import numpy as np
from resnetkit.data.decoded import cache_files
from resnetkit.data.opening import images
from tests.data.prepared import prepare
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data

cache_files._FIRST_BYTES = 100_000
decode, write, count, num_files = images.decode, cache_files._write_one, 0, 0

def counted(data, **how):
    global count
    count += 1
    return decode(data, **how)

def killed(file, pictures, about, *, most_bytes):
    global num_files
    num_files += 1
    if num_files == int(sys.argv[2]):
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, pictures, about, most_bytes=most_bytes)

images.decode, cache_files._write_one = counted, killed
prepared = prepare(open_data(sys.argv[1]), preprocess=Preprocess.for_size(96), threads=1, whole_short_side=110)
taken = [picture for part in prepared.parts.values() for picture in part.pixels.take(np.arange(len(part)))]
print(count, sum(int(picture.sum()) for picture in taken))
"""


def started(photos: Path, *, kill_at: int = 0) -> subprocess.Popen[str]:
    environment = os.environ | {"RESNETKIT_CACHE": str(photos.parent / "cache")}
    command = [sys.executable, "-c", ONE_RUN, str(photos), str(kill_at)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_costs_only_the_file_that_was_being_written(photos, opened):
    killed = started(photos, kill_at=3)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    done = sum(entry.pictures for entry in cache_files.entries())
    assert done == 8, "the files of three and of five photos that were complete"
    (left_over,) = cache_files.pixels_folder().rglob("*.tmp")
    os.utime(left_over, (0, 0))
    ready(photos)
    assert len(opened) == 16 - done
    assert not list(cache_files.pixels_folder().rglob("*.tmp"))


def test_two_processes_at_once_wait_for_each_other_and_end_with_the_same_pictures(photos):
    both = [started(photos) for _ in range(2)]
    said = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][1] == said[1][1]
    # Each knows the photos before it makes its pixels; who comes to these first makes them for both.
    assert all(int(decoded) <= 16 for decoded, _ in said), "no photo is decoded twice by one of them"


def test_a_walk_left_half_done_may_be_collected_in_one_of_its_own_threads():
    """The garbage collector runs in any thread; one that waits for itself raises, which is an error here."""
    walks, go_on, gone = [], threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number == 1:
            go_on.wait()
            walks.clear()  # the last reference
            gone.set()
        return number

    walks.append(ordered(work, range(40), threads=2, progress=None, chunk=1))
    threading.Timer(0.2, go_on.set).start()

    def first() -> int:
        return next(iter(walks[0]))

    assert first() == 0
    assert gone.wait(20)
