"""One look at every file: what its pixels are, and that it is not read again."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.decoded import cache, contents
from resnetkit.data.decoded.survey import Survey, survey
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from tests.data.prepared import prepare


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were read, as they come."""
    sources: list[str] = []
    original = Dataset.read

    def read(dataset: Dataset, item: Item) -> bytes | np.ndarray:
        sources.append(item.source)
        return original(dataset, item)

    monkeypatch.setattr(Dataset, "read", read)
    return sources


def picture(seed: int, *, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)  # type: ignore[arg-type]
    return path


def look(folder: Path) -> tuple[Dataset, Survey]:
    dataset = open_data(folder)
    return dataset, survey(dataset, threads=1)


def pixels_by_name(folder: Path) -> dict[str, str]:
    return {Path(source).name: digest for source, digest in look(folder)[1].pixels.items()}


def test_pixels_have_one_digest_in_whatever_file_they_lie(tmp_path: Path) -> None:
    data, photo, grey = tmp_path / "data", picture(0), picture(1, mode="L")
    for name, image, how in (
        ("a.png", photo, {}), ("a.bmp", photo, {}), ("a.webp", photo, {"lossless": True}),
        ("a.tif", photo, {"compression": "tiff_lzw"}),
        ("grey.png", grey, {}), ("grey_rgb.png", grey.convert("RGB"), {}),
        ("other.png", picture(2), {}), ("turned.png", photo.transpose(Image.Transpose.ROTATE_90), {}),
    ):  # fmt: skip
        saved(data / "one" / name, image, **how)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by ROTATE_270 when it is opened
    saved(data / "two" / "exif.png", photo.transpose(Image.Transpose.ROTATE_90), exif=exif)
    found = pixels_by_name(data)
    assert len({found[name] for name in ("a.png", "a.bmp", "a.webp", "a.tif", "exif.png")}) == 1
    assert found["grey.png"] == found["grey_rgb.png"]
    assert len(set(found.values())) == 4
    array = np.asarray(photo)
    assert found["a.png"] == contents.digest_of_pixels(array)
    content, _ = contents.look(array, name="a.npz::0")
    assert content is not None
    assert content.pixels == found["a.png"]


def test_photos_known_from_an_earlier_run_have_the_same_digest_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        saved(tmp_path / "data" / "ab"[number % 2] / f"{number}.jpg", picture(number, size=(130, 120)))
    saved(tmp_path / "data" / "a" / "large.jpg", picture(9, size=(700, 600)))
    first = look(tmp_path / "data")[1]
    assert first.contents[str(tmp_path / "data/a/large.jpg")].size == (700, 600)
    monkeypatch.setattr(contents, "look", None)
    again = look(tmp_path / "data")[1]
    assert (again.pixels, again.contents) == (first.pixels, first.contents)


def noted(data: bytes, orientation: int, *, comment: bytes = b"") -> bytes:
    """Return the JPEG with an EXIF segment (and a comment) before all others, and a second picture behind it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    segments = [(b"\xff\xe1", exif.tobytes()), (b"\xff\xfe", comment)]
    head = b"".join(marker + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments)
    return data[:2] + head + data[2:] + data


@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_is_known_whatever_its_notes_but_not_turned(tmp_path: Path, progressive: bool) -> None:
    def jpeg(number: int, **options: object) -> bytes:
        file = io.BytesIO()
        picture(number, size=(640, 560)).save(file, "JPEG", progressive=progressive, **options)
        return file.getvalue()

    def known(data: bytes) -> str | None:
        content, _ = contents.look(data, name="a.jpg")
        assert content is not None
        return content.pixels

    photo = jpeg(1)
    stripped = {known(photo), known(noted(photo, 1)), known(noted(photo, 99, comment=b"made by hand"))}
    assert len(stripped) == 1
    assert None not in stripped
    others = [noted(photo, 6), noted(photo, 3), jpeg(2), jpeg(1, quality=90), jpeg(1, restart_marker_rows=1)]
    others += [photo[:-9] + bytes([photo[-9] ^ 1]) + photo[-8:]]
    assert len({*stripped, *map(known, others)}) == 7


def filled(folder: Path) -> Path:
    for number in range(12):
        kind = (".jpg", ".png", ".webp")[number % 3]
        mode = "L" if number == 4 else "P" if number == 10 else "RGB"
        saved(folder / "ab"[number % 2] / f"{number}{kind}", picture(number, size=(60, 50), mode=mode))
    return folder


@pytest.mark.parametrize("whole", [None, 20, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_kept_becomes_the_pixels_that_reading_again_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], whole: int | None, channels: int
) -> None:
    data, how = filled(tmp_path / "data"), {"preprocess": Preprocess.for_size(24, channels=channels), "threads": 1}
    once = prepare(open_data(data), whole_short_side=whole, **how)  # type: ignore[arg-type]
    assert len(reads) == 12
    monkeypatch.setattr(cache, "MOST_KEPT", 20_000)
    reads.clear()
    twice = prepare(open_data(data), whole_short_side=whole, **how)  # type: ignore[arg-type]
    assert 12 < len(reads) <= 24
    assert f"{len(reads) - 12} images were read twice: no more than 2e-05 GB" in str(twice.report)
    assert "read twice" not in str(once.report)
    for part in once.parts:
        number = np.arange(len(once.parts[part]))
        for one, two in zip(once.parts[part].pixels.take(number), twice.parts[part].pixels.take(number), strict=True):
            assert np.array_equal(one, two)


def test_identical_pixels_stay_on_one_side_and_count_as_identical(tmp_path: Path) -> None:
    for number in range(30):
        saved(tmp_path / "data" / "ab"[number % 2] / f"{number}.png", picture(number))
        saved(tmp_path / "data" / "ab"[number % 2] / f"{number}.bmp", picture(number))
    for seed in range(3):
        prepared = prepare(open_data(tmp_path / "data"), preprocess=Preprocess.for_size(24), threads=1, seed=seed)
        sides: dict[str, set[str]] = {}
        for item in prepared.items:
            sides.setdefault(Path(item.source).stem, set()).add(str(item.split))
        assert [name for name, side in sides.items() if len(side) > 1] == []
    (tmp_path / "data").rename(tmp_path / "train")
    (tmp_path / "parts").mkdir()
    (tmp_path / "train").rename(tmp_path / "parts" / "train")
    saved(tmp_path / "parts" / "test" / "a" / "again.webp", picture(0), lossless=True)
    report = prepare(open_data(tmp_path / "parts"), preprocess=Preprocess.for_size(24), threads=1).report
    assert report.across[0][:3] == ("test", "train", 1)


def test_a_picture_is_kept_only_where_there_is_room() -> None:
    kept = cache.Kept(10)
    kept.add("a", b"12345", None)
    kept.add("b", b"123456", None)
    kept.add("c", b"12345", None)
    assert (kept.take("a"), kept.take("a"), kept.take("b"), kept.take("c")) == (b"12345", None, None, b"12345")


def test_jpegs_that_training_opens_smaller_come_as_bytes() -> None:
    file = io.BytesIO()
    picture(0, size=(80, 60)).save(file, "JPEG")
    kept = cache.Kept(1_000_000)
    kept.add("a", file.getvalue(), np.zeros((60, 80, 3), np.uint8))
    assert isinstance(kept.look("a", at_least=30), bytes)
    assert isinstance(kept.look("a", at_least=31), np.ndarray)
    assert isinstance(kept.look("a"), np.ndarray)
