"""Stacks of which a page is used that is not the first, from the file to the answer."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import resnetkit as rk
from resnetkit.data.opening import images
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, UsageError
from resnetkit.exporting.standalone.pictures import read
from resnetkit.training.request import Request
from tests.conftest import Output
from tests.data.prepared import prepare

RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (128, 128, 128)
SHAPE = (18, 24)


def page_of(colour: tuple[int, int, int], *, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-25, 25, (*SHAPE, 3))
    return Image.fromarray((np.array(colour) + noise).astype(np.uint8))


def stack(*colours: tuple[int, int, int], kind: str = "TIFF", seed: int = 0, **how: object) -> bytes:
    first, *others = (page_of(colour, seed=10 * seed + number) for number, colour in enumerate(colours))
    content = io.BytesIO()
    first.save(content, kind, save_all=True, append_images=others, **how)
    return content.getvalue()


def shown(content: bytes, page: int) -> np.ndarray:
    """The pixels of a page as the package reads them, which the script of an export reads alike."""
    found = images.decode(images.of_page(content, name="x", page=page), name="x")
    pixels = np.asarray(images.convert(found, mode="RGB", depth=None))
    np.testing.assert_array_equal(pixels, read(content, 3, None, page))
    return pixels


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that the second page tells apart; the third says the opposite, and the first nothing."""
    folder = tmp_path_factory.mktemp("stacks")
    for kind, second, third in (("blue", BLUE, RED), ("red", RED, BLUE)):
        (folder / kind).mkdir()
        for seed in range(16):
            suffix, format = ("gif", "GIF") if seed % 4 == 0 else ("tif", "TIFF")
            content = stack(GREY, second, third, kind=format, seed=seed + 50 * (kind == "red"))
            (folder / kind / f"{seed:02d}.{suffix}").write_bytes(content)
    return folder


def train(stacks: Path, output: Path, page: int) -> rk.Run:
    settings = (f"preprocess.page={page}", "augment.crop=shift")
    return rk.train(
        stacks, model="resnet8", weights="none", epochs=6, batch_size=8, threads=1, quiet=True, settings=settings,
        output=output,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(stacks: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return train(stacks, tmp_path_factory.mktemp("run") / "second", 2)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP", "MPO", "big TIFF"])
def test_each_page_is_what_was_written_there(kind: str) -> None:
    how = {"WEBP": {"lossless": True}, "MPO": {"quality": 95}, "big TIFF": {"big_tiff": True}}.get(kind, {})
    content = stack(GREY, RED, BLUE, kind=kind.rpartition(" ")[2], **how)
    for number, colour in enumerate((GREY, RED, BLUE)):
        found, written = shown(content, number + 1), np.asarray(page_of(colour, seed=number), float)
        assert found.shape == (*SHAPE, 3)
        assert abs(found - written).mean() < (0.5 if kind in ("TIFF", "PNG", "WEBP", "big TIFF") else 12)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG"])
def test_a_page_that_is_not_there_is_told(kind: str) -> None:
    for content, words in ((stack(GREY, RED, kind=kind), "2 pages"), (stack(GREY, kind=kind), "1 page")):
        with pytest.raises(DataError, match=rf"^x: holds {words}, and page 3 was asked for$"):
            images.of_page(content, name="x", page=3)
        with pytest.raises(ValueError, match=f"^holds {words}, and page 3 was asked for$"):
            read(content, 3, None, 3)


def test_a_page_behind_the_end_of_a_file_is_broken() -> None:
    content = stack(GREY, RED)
    with pytest.raises(DataError, match=r"^x: broken TIFF: page 2 is cut off"):
        images.of_page(content[: len(stack(GREY))], name="x", page=2)


def test_an_empty_page_that_was_asked_for_is_one() -> None:
    content = io.BytesIO()
    full, empty = page_of(RED, seed=0), Image.new("RGB", SHAPE[::-1])
    full.save(content, "TIFF", save_all=True, append_images=[empty, full])
    assert shown(content.getvalue(), 2).max() == 0


def test_16_bit_pages_keep_their_bits() -> None:
    pages = np.stack([np.full(SHAPE, 40_000), np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)]).astype(np.uint16)
    content = io.BytesIO()
    tifffile.imwrite(content, pages, photometric="minisblack")
    second = images.of_page(content.getvalue(), name="x", page=2)
    assert images.bits(second, name="x") == 8 + 2 * (pages[1].max() > 255)
    np.testing.assert_array_equal(np.asarray(images.decode(second, name="x")), pages[1])
    read(content.getvalue(), 1, 12, 2)


def test_the_exif_turn_of_a_frame_is_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert shown(stack(GREY, RED, kind="WEBP", exif=exif), 2).shape == (*SHAPE[::-1], 3)


def test_of_many_bands_the_page_alone_says_which_they_are(tmp_path: Path) -> None:
    first, second = np.zeros((6, 9, 3), np.uint8), np.random.default_rng(0).integers(0, 250, (6, 9, 5), np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(first, photometric="rgb")
        file.write(second, photometric="minisblack", planarconfig="contig")
    content = (tmp_path / "x.tif").read_bytes()
    found = images.decode(images.of_page(content, name="x", page=2), name="x")
    assert isinstance(found, ManyBands)
    np.testing.assert_array_equal(found.values, second)
    with pytest.raises(ValueError, match="has 5 bands"):
        read(content, 3, None, 2)


def test_the_first_page_is_written_nowhere() -> None:
    assert "page" not in Preprocess().to_json()
    second = Preprocess(page=2)
    assert second.to_json()["page"] == 2
    assert Preprocess.from_json(second.to_json()) == second
    assert Preprocess.from_json(Preprocess().to_json()).page == 1
    with pytest.raises(UsageError, match="page must be a whole number from 1 on, not 0"):
        Request(data=("stacks",), settings=("preprocess.page=0",))


def test_pages_are_decoded_apart_and_those_that_lack_are_counted(stacks: Path, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(stacks, tmp_path / "tree"))
    Image.new("RGB", (8, 8), GREY).save(tree / "red" / "single.png")
    preprocess = Preprocess(size=96, resize=96, page=2)  # kept in files

    def mean(page: int) -> np.ndarray:
        found = prepare(
            open_data(tree), preprocess=preprocess.changed(page=page), val_share=0.25, bad_images="skip", threads=1
        )
        words = "the first" if page == 1 else f"page {page}"
        assert any(
            f"32 files hold several pages or frames, of which {words} is used" in s for s in found.report.sentences
        )
        assert len(found.report.unreadable) == (page > 1)
        part = found.parts["train"]
        reds = np.array([item.label == "red" for item in part.items])
        return np.stack(list(part.pixels.take(np.flatnonzero(reds)))).mean((0, 1, 2))

    for _ in range(2):  # the second time from files
        assert mean(2) == pytest.approx(RED, abs=9)
        assert mean(3) == pytest.approx(BLUE, abs=9)
        assert mean(1) == pytest.approx(GREY, abs=9)
    with pytest.raises(DataError, match=r"1 of 33 .*single.png \(holds 1 page, and page 2 was asked for\)"):
        prepare(open_data(tree), preprocess=preprocess, threads=1, hint="")


def test_a_run_of_the_second_page_answers_by_it(
    run: rk.Run, stacks: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    assert run.metrics is not None
    assert run.metrics["top1"] == 1.0
    model = rk.load(run)
    assert model.header.preprocess.page == 2
    for name in ("new.tif", "new.gif"):
        (tmp_path / name).write_bytes(stack(BLUE, RED, BLUE, kind="GIF" if "gif" in name else "TIFF", seed=99))
    page_of(RED, seed=1).save(tmp_path / "single.png")
    code, out, said = resnetkit("predict", "new.tif", "new.gif", "single.png", "--model", run.path, "--format", "jsonl")
    assert code == 4
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["red", "red", None]
    assert "reads page 2 of every file" in said
    assert "single.png: holds 1 page, and page 2 was asked for" in said + out
    content = (tmp_path / "new.tif").read_bytes()
    assert [model.predict(given).label for given in (content, io.BytesIO(content))] == ["red", "red"]
    assert model.predict(page_of(BLUE, seed=3)).label == "blue"  # is no file, and has no pages
    scored = rk.evaluate(stacks, model=run.path)
    assert scored.metrics["top1"] == 1.0
    assert any("page 2 is used" in note for note in scored.notes)


def test_resumed_it_reads_the_same_page_also_where_the_pictures_moved(
    run: rk.Run, stacks: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "copied")
    moved = shutil.copytree(stacks, tmp_path / "moved")
    for more in ({}, {"data": [moved]}):
        again = rk.resume(copied, epochs=7, quiet=True, **more)
        assert rk.load(again).header.preprocess.page == 2


def test_what_is_shown_of_it_is_that_page(run: rk.Run, stacks: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    [answer] = rk.explain(stacks / "red" / "01.tif", model=run.path, top_k=1)
    assert answer.picture is not None
    assert answer.picture.mean((0, 1)) == pytest.approx(RED, abs=9)
    assert "page 2" in run.report(output=tmp_path / "page.html").read_text()
    found = rk.check(stacks, weights=run.path, threads=1)
    assert {f.why for f in found.findings if f.kind == "several pages"} == {
        "holds several pages or frames: page 2 is used"
    }


@pytest.mark.parametrize("preprocess", ["inside", "outside"])
def test_the_script_of_an_export_reads_the_same_page(run: rk.Run, tmp_path: Path, preprocess: str) -> None:
    pytest.importorskip("onnxruntime")
    made = rk.export(run.path, to="onnx", preprocess=preprocess, output=tmp_path / "out", threads=1)
    assert made.parity.pictures > 0
    assert made.parity.unreadable == []
    (tmp_path / "new.tif").write_bytes(stack(BLUE, RED, BLUE, seed=99))
    page_of(RED, seed=1).save(tmp_path / "single.png")
    command = [sys.executable, made.folder / "predict.py", tmp_path / "new.tif", tmp_path / "single.png"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.partition(": ")[2].split()[0]) == (1, "red")
    assert "new.tif: holds several frames or pages: page 2 was used" in ran.stderr
    assert "single.png: holds 1 page, and page 2 was asked for" in ran.stderr
    model = rk.load(made.folder, threads=1)
    assert model.predict(tmp_path / "new.tif").label == "red"


def test_an_export_that_has_no_pictures_is_compared_on_generated_ones(run: rk.Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    alone = Path(shutil.copy(run.path / "best.safetensors", tmp_path / "alone.safetensors"))
    made = rk.export(alone, to="onnx", output=tmp_path / "out", threads=1)
    assert (made.parity.pictures, made.parity.unreadable) == (6, [])


def test_which_page_is_trained_on_is_said_anew_and_arrays_have_none(run: rk.Run, stacks: Path) -> None:
    with pytest.raises(UsageError, match=r"reads page 2 of every file, .* --set preprocess\.page=2"):
        rk.plan(str(stacks), weights=str(run.path), quiet=True)
    with pytest.raises(UsageError, match="digits holds arrays, which have no pages"):
        rk.plan("digits", model="resnet8", limit=40, settings=("preprocess.page=2",), quiet=True)
