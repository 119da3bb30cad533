import errno
import fcntl
import mmap
import os
import stat
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from resnetkit import files
from resnetkit.data.decoded import cache, cache_files
from resnetkit.data.decoded.cache import Pixels


def picture(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_of_one_shape_are_one_array():
    pixels = Pixels.collect((picture(4, 5, i) for i in range(10)), count=10)
    taken = pixels.take(np.array([7, 2, 2]))
    assert pixels.uniform
    assert isinstance(taken, np.ndarray)
    assert taken.shape == (3, 4, 5, 3)
    assert taken[:, 0, 0, 0].tolist() == [7, 2, 2]
    assert (len(pixels), pixels.nbytes) == (10, 600)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_pictures_of_several_shapes_keep_theirs(monkeypatch, chunk):
    monkeypatch.setattr(cache, "_CHUNK", chunk)
    sizes = [(4, 5), (4, 5), (6, 3), (4, 5), (1, 1), (9, 9)]
    pixels = Pixels.collect((picture(h, w, i) for i, (h, w) in enumerate(sizes)), count=9)
    taken = pixels.take(np.arange(6))
    assert not pixels.uniform
    assert [one.shape[:2] for one in taken] == sizes
    assert all((one == i).all() for i, one in enumerate(taken))
    assert pixels.nbytes == sum(h * w * 3 for h, w in sizes)


def test_fewer_pictures_than_announced_are_fine():
    assert len(Pixels.collect((picture(2, 2, i) for i in range(3)), count=5)) == 3
    assert len(Pixels.collect(iter([]), count=5)) == 0


@pytest.mark.parametrize("last_height", [100, 101])
def test_nothing_is_held_twice(last_height):
    tracemalloc.start()
    heights = [100] * 199 + [last_height]
    pixels = Pixels.collect((picture(height, 100, 0) for height in heights), count=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes + cache._CHUNK + 1_000_000


def digest_of(number: int) -> str:
    """Return a digest that ends in zeros, which arrays of bytes would drop."""
    return f"{number:02x}".ljust(32, "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path))
    return cache_files.pixels_folder() / "whole"


def kept(folder: Path, pictures: list[np.ndarray], *, first: int = 0, data: str = "photos") -> list[Path]:
    """Keep pictures under the digests `first`, `first + 1`, ..."""
    digests = [digest_of(first + number) for number in range(len(pictures))]
    with cache_files.writing(folder, data):
        about = {"data": data, "what": "whole", "channels": 3}
        return list(cache_files.write(folder, zip(digests, pictures, strict=True), about=about))


def found(folder: Path, numbers: list[int]) -> Pixels:
    digests = [digest_of(number) for number in numbers]
    return Pixels(cache_files.find(folder, digests).mapped(digests, channels=3))


SHAPES = {"one shape": [(4, 5)] * 4, "several shapes": [(4, 5), (6, 3), (1, 1), (4, 5)]}


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("file_bytes", [1, 100, 1 << 20])
def test_mapped_pictures_behave_as_those_in_memory(folder, monkeypatch, shapes, file_bytes):
    monkeypatch.setattr(cache_files, "_FIRST_BYTES", file_bytes)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in SHAPES[shapes]]
    kept(folder, pictures)
    order = [2, 0, 3, 1, 1]
    memory = Pixels.collect((pictures[number] for number in order), count=5)
    mapped = found(folder, order)
    assert (len(mapped), mapped.nbytes, mapped.uniform) == (5, memory.nbytes, memory.uniform)
    chosen = np.array([4, 0, 1])
    assert type(mapped.take(chosen)) is type(memory.take(chosen))
    for one, other in zip(mapped.take(chosen), memory.take(chosen), strict=True):
        assert one.flags.writeable
        assert np.array_equal(one, other)


def test_no_file_changes_when_what_was_taken_is_written_to(folder):
    kept(folder, [picture(2, 2, 1), picture(3, 2, 1)])
    taken = found(folder, [0, 1]).take(np.array([0, 1]))
    taken[0][...] = 9
    assert found(folder, [0, 1]).take(np.array([0, 1]))[0].max() == 1


def test_a_system_that_maps_files_for_reading_only_will_do(folder, monkeypatch):
    def strict(handle: int, length: int, *, access: int) -> mmap.mmap:
        if access == mmap.ACCESS_COPY:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return original(handle, length, access=access)

    original = mmap.mmap
    kept(folder, [picture(2, 2, 1), picture(3, 2, 1)])
    monkeypatch.setattr(cache_files.mmap, "mmap", strict)
    taken = found(folder, [0, 1]).take(np.array([0, 1]))
    assert all(one.flags.writeable for one in taken)


def test_what_is_not_there_is_said_and_what_comes_later_is_found(folder):
    kept(folder, [picture(2, 2, 0)])
    assert cache_files.find(folder, [digest_of(0), digest_of(7)]).missing == (digest_of(7),)
    kept(folder, [picture(3, 2, 7)], first=7)
    assert [one[0, 0, 0] for one in found(folder, [7, 0]).take(np.arange(2))] == [7, 0]


DAMAGE = {
    "cut short": lambda content: content[:-1],
    "cut to nothing": lambda content: b"",
    "cut in the pictures": lambda content: content[:10],
    "more behind it": lambda content: content + b"\0",
    "bytes lost before the index": lambda content: content[1:],
    "another index": lambda content: content[:245] + bytes([content[245] ^ 1]) + content[246:],
    "of another program": lambda content: content[:-1] + b"2",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_not_trusted_and_taken_away(folder, damage, caplog):
    (path,) = kept(folder, [picture(4, 4, i) for i in range(5)])  # the index begins at byte 240
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert len(cache_files.find(folder, [digest_of(0)]).missing) == 1
    assert not path.exists()
    assert "is broken" in caplog.text
    kept(folder, [picture(4, 4, 9)])
    assert found(folder, [0]).take(np.array([0]))[0, 0, 0, 0] == 9


def test_an_interruption_leaves_nothing_that_passes_for_complete(folder, monkeypatch):
    monkeypatch.setattr(cache_files, "_FIRST_BYTES", 2 * 48)

    def interrupted() -> Iterator[tuple[str, np.ndarray]]:
        yield from ((digest_of(number), picture(4, 4, number)) for number in range(3))
        raise KeyboardInterrupt

    with cache_files.writing(folder, "photos"):
        writing = cache_files.write(folder, interrupted(), about={"channels": 3})
        next(writing)
        with pytest.raises(KeyboardInterrupt):
            next(writing)
    assert len(cache_files.find(folder, map(digest_of, range(3))).missing) == 1, "files that were complete stay"
    assert list(folder.glob(".*.tmp")) == []


def test_what_a_kill_left_half_written_is_cleared_away_and_what_is_being_written_stays(folder):
    folder.mkdir(parents=True)
    old, running, young = (folder / f".{name}.pixels.x.tmp" for name in ("old", "running", "young"))
    for path in (old, running, young):
        path.write_bytes(b"half")
    for path in (old, running):
        os.utime(path, (0, 0))
    with open(running, "rb") as file:
        files.hold(file.fileno())
        kept(folder, [picture(2, 2, 0)])
    assert [path.exists() for path in (old, running, young)] == [False, True, True]


def locks_of_nfs(flock):
    """Return `flock` as NFS has it: the lock of one process alone is for handles that may write."""

    def answered(handle, how):
        if how & fcntl.LOCK_EX and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(handle, how)

    return answered


def unknown_locks(flock):
    def answered(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    return answered


@pytest.mark.parametrize(("locks", "free", "held"), [(locks_of_nfs, False, True), (unknown_locks, True, True)])
def test_what_a_living_process_may_write_is_not_taken(tmp_path, monkeypatch, locks, free, held):
    left, living = tmp_path / "left", tmp_path / "living"
    for path in (left, living):
        path.write_text("half")
    monkeypatch.setattr(fcntl, "flock", locks(fcntl.flock))
    with open(living, "rb+") as file:
        files.hold(file.fileno())
        assert (files.in_use(left), files.in_use(living)) == (free, held)
    assert not files.in_use(tmp_path / "gone")


def test_a_file_that_nobody_may_open_may_be_in_use(tmp_path, monkeypatch):
    (path := tmp_path / "left").write_text("half")
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    assert files.in_use(path)


def test_only_its_owner_may_look_into_the_cache(folder):
    kept(folder, [picture(2, 2, 0)])
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_entries_say_what_is_kept(folder):
    assert cache_files.entries() == []
    kept(folder, [picture(4, 4, i) for i in range(3)])
    kept(folder, [picture(4, 4, 9)], first=9)
    kept(folder, [picture(2, 2, 20)], first=20, data="more")
    (folder / "ours.txt").write_text("no picture")
    (folder / "broken.pixels").write_text("no picture")
    entries = {entry.data: entry for entry in cache_files.entries()}
    assert {name: (entry.pictures, entry.what, entry.path) for name, entry in entries.items()} == {
        "photos": (4, "whole", str(folder)),
        "more": (1, "whole", str(folder)),
    }
    assert entries["photos"].bytes > 4 * 48
    assert abs(entries["photos"].last_used - time.time()) < 100


def test_clearing_removes_what_is_ours_and_nobody_uses(folder, tmp_path):
    (first,) = kept(folder, [picture(4, 4, 0)])
    (second,) = kept(folder, [picture(4, 4, 1)], first=1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "photo.pixels").write_bytes(b"mine")
    (folder.parent / "link").symlink_to(outside)
    (folder / "link.pixels").symlink_to(outside / "photo.pixels")
    (folder / "notes.txt").write_text("mine")
    in_use = found(folder, [1])
    size = first.stat().st_size
    assert cache_files.clear() == cache_files.Cleared(files=1, bytes=size, kept=1, failed=0)
    assert [first.exists(), second.exists()] == [False, True]
    assert (outside / "photo.pixels").read_bytes() == b"mine"
    assert (folder / "notes.txt").exists()
    assert in_use.take(np.array([0]))[0, 0, 0, 0] == 1
    del in_use
    assert cache_files.clear().kept == 0
    assert not second.exists()


def test_clearing_leaves_no_empty_folder(folder):
    kept(folder, [picture(4, 4, 0)])
    cache_files.clear()
    assert not folder.exists()
    assert cache_files.clear() == cache_files.Cleared(files=0, bytes=0, kept=0, failed=0)


def test_clearing_leaves_what_a_run_is_decoding_and_its_lock(folder):
    with cache_files.writing(folder, "others"):
        (finished,) = kept(folder, [picture(4, 4, 0)])
        locks = list(folder.glob("*.lock")) + list(folder.glob(".*.lock"))
        assert locks
        cleared = cache_files.clear()
        assert (cleared.files, cleared.kept) == (0, 1)
        assert finished.exists()
        assert all(lock.exists() for lock in locks)
    assert cache_files.clear().files == 1


def test_clearing_counts_what_it_cannot_remove(folder, monkeypatch):
    kept(folder, [picture(4, 4, 0)])
    monkeypatch.setattr(cache_files, "_remove", lambda path: False)
    assert cache_files.clear() == cache_files.Cleared(files=0, bytes=0, kept=0, failed=1)
