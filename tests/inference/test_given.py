"""Whatever holds a picture in Python gets the same answer: paths, images, arrays, bytes, files, mixed and streamed."""

import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from resnetkit.errors import DataError, UsageError
from resnetkit.inference.predictor import Predictor

Paint = Callable[..., Path]


class Upload:
    """As Starlette's: its own read must be awaited, the ordinary file is inside."""

    def __init__(self, path: Path) -> None:
        self.file, self.filename = io.BytesIO(path.read_bytes()), path.name

    async def read(self) -> bytes:
        return b""


class OnlyAwaited:
    filename = "later.png"

    async def read(self) -> bytes:
        return b""


def ways(path: Path) -> Iterator[tuple[object, str]]:
    """Yield a picture in every way it can be held, and what its prediction is called."""
    content, image = path.read_bytes(), Image.open(path)
    array = np.asarray(image)
    yield path, str(path)
    yield str(path), str(path)
    yield image, str(path)
    yield Image.fromarray(array), "<image>"
    yield array, "<array>"
    yield np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]), "<array>"
    yield array[::1, ::-1, ::1], "<array>"
    yield torch.from_numpy(array.copy()), "<array>"
    yield content, "<bytes>"
    yield bytearray(content), "<bytes>"
    yield memoryview(content), "<bytes>"
    yield io.BytesIO(content), "<file>"
    with open(path, "rb") as file:
        yield file, str(path)
    yield Upload(path), path.name
    yield SimpleNamespace(read=lambda: content, name=f"photos/{path.name}"), f"photos/{path.name}"


def test_one_picture_held_in_any_way_gets_one_answer(predictor: Predictor, paint: Paint) -> None:
    tops = set()
    for given, source in ways(paint("sky.png", "blue")):
        answer = predictor.predict(given)  # type: ignore[arg-type]
        assert (answer.status, answer.label, answer.source) == ("ok", "blue", source)
        tops.add(answer.top)
    assert len(tops) == 1


def test_grey_arrays_may_have_a_channel_of_their_own(predictor: Predictor) -> None:
    grey = np.full((5, 9), 77, np.uint8)
    assert predictor.predict(grey).top == predictor.predict(grey[..., None]).top


def test_a_file_is_read_from_its_beginning_as_often_as_it_is_given(predictor: Predictor, paint: Paint) -> None:
    file = io.BytesIO(paint("a.png", "green").read_bytes())
    assert [predictor.predict(file).label for _ in range(2)] == ["green", "green"]


@pytest.mark.parametrize(
    ("array", "way_out"),
    [
        (np.zeros((4, 4, 3)), "floats in [0, 1] become that by (255 * x)"),
        (np.zeros((3, 40, 50), np.uint8), "channels come last: x.transpose(1, 2, 0)"),
        (torch.zeros(3, 40, 50), "x.permute(1, 2, 0)"),
        (np.zeros((4, 4), np.uint16), "(x >> 8)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "predict_many()"),
        (np.zeros((0, 4), np.uint8), "[0, 4] uint8"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4, 2), np.uint8), "[4, 4, 2]"),
        (torch.zeros(4, 4, 3, requires_grad=True), "no array in main memory"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused_with_the_way_out(
    predictor: Predictor, array: np.ndarray, way_out: str
) -> None:
    with pytest.raises(DataError) as refused:
        predictor.predict(array)
    assert way_out in str(refused.value)
    assert "\n" not in str(refused.value)
    [error] = predictor.predict_many([array])
    assert way_out in (error.error or "")


def test_what_is_no_picture_is_refused_with_what_is_one(predictor: Predictor, paint: Paint, tmp_path: Path) -> None:
    for wrong in (3, None, [[1, 2]], {"a": 1}):
        with pytest.raises(UsageError, match="a picture is a path, a PIL image, an array, bytes or an open file"):
            predictor.predict(wrong)  # type: ignore[arg-type]
    for array in (np.zeros((8, 9, 3), np.uint8), np.zeros((3, 8, 9), np.uint8), np.zeros((1, 8, 9), np.uint8)):
        for several in (array, torch.from_numpy(array)):
            with pytest.raises(UsageError, match=r"one picture goes to predict\(x.*, several grey ones as list\(x\)"):
                predictor.predict_many(several)
    for several in (3, [paint("a.png"), 3]):
        with pytest.raises(UsageError, match="not int"):
            predictor.predict_many(several)  # type: ignore[arg-type]
    (tmp_path / "a.txt").write_text("text")
    with open(tmp_path / "a.txt") as text, pytest.raises(DataError, match="mode 'rb'"):
        predictor.predict(text)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"a\.txt: cannot be read .*closed file"):
        predictor.predict(text)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"await file\.read\(\)"):
        predictor.predict(OnlyAwaited())  # type: ignore[arg-type]
    for empty in (b"", io.BytesIO()):
        with pytest.raises(DataError, match="empty"):
            predictor.predict(empty)


def test_a_mixed_list_is_answered_in_order_with_folders_and_archives_in_it(
    predictor: Predictor, paint: Paint, tmp_path: Path
) -> None:
    red, blue = paint("photos/1.png", "red"), paint("photos/2.png", "blue")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(paint("green.png", "green"), "green.png")
    mixed = [blue.read_bytes(), tmp_path / "photos", Image.open(red), tmp_path / "more.zip", b"no picture", str(blue)]
    expected = ["blue", "red", "blue", "red", "green", None, "blue"]
    assert [answer.label for answer in predictor.predict_many(mixed)] == expected
    assert [answer.label for answer in predictor.predict_many(one for one in mixed)] == expected
    assert [answer.label for answer in predictor.predict_many(np.stack([np.asarray(Image.open(blue))] * 3))] == (
        ["blue"] * 3
    )
    assert [answer.label for answer in predictor.predict_many(blue.read_bytes())] == ["blue"]
    with pytest.raises(UsageError, match=r"\[N, H, W\] or \[N, H, W, 3\]"):
        predictor.predict_many(np.asarray(Image.open(blue)))


def test_a_missing_path_stops_a_list_at_once_and_is_an_error_in_a_stream(predictor: Predictor, paint: Paint) -> None:
    given = [paint("a.png", "red"), b"", "missing.png", paint("b.png", "blue")]
    with pytest.raises(UsageError, match=r"missing\.png"):
        predictor.predict_many(given)
    answers = list(predictor.predict_many(iter(given)))
    assert [answer.status for answer in answers] == ["ok", "error", "error", "ok"]
    assert "missing.png: no such file" in (answers[2].error or "")


def test_a_generator_is_asked_for_two_batches_ahead_and_no_more(predictor: Predictor) -> None:
    asked = 0

    def pictures() -> Iterator[np.ndarray]:
        nonlocal asked
        while True:  # a camera never ends
            asked += 1
            yield np.full((8, 8, 3), 9, np.uint8)

    stream = predictor.predict_many(pictures(), batch_size=4, threads=2)
    for answered in range(50):
        next(stream)
        assert asked - answered <= 12
    stream.close()


def test_a_service_reads_in_threads_and_answers_in_batches(predictor: Predictor, paint: Paint) -> None:
    uploads = [paint(f"{name}.png", name).read_bytes() for name in ("red", "green", "blue")] + [b"broken"]
    with ThreadPoolExecutor(3) as threads:
        reads = list(threads.map(predictor.read, uploads))
    answers = predictor.answer(reads, top_k=1)
    assert predictor.engine.batches == [3]  # type: ignore[attr-defined]
    assert [answer.label for answer in answers] == ["red", "green", "blue", None]
    assert answers[3].status == "error"
    assert predictor.answer([]) == []
    assert predictor.answer([predictor.read(uploads[0], source="camera 7")])[0].source == "camera 7"
    assert predictor.read(b"broken", source="camera 8").error.startswith("camera 8: ")  # type: ignore[union-attr]
