"""Pictures as callers hold them: paths, PIL images, arrays, bytes, open files, and any mixture of these."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image

from resnetkit.data.dataset import Dataset
from resnetkit.data.frames import of_files
from resnetkit.data.opening import dicom_header, images, measured
from resnetkit.data.opening.silence import libraries_silenced
from resnetkit.data.sources import open_pictures
from resnetkit.data.sources.arrays import is_array, way_to_pixels
from resnetkit.data.sources.by_number import may_be_dicom, numbered, tells
from resnetkit.errors import DataError, ResNetKitError, UsageError

_KINDS = "a path, a PIL image, an array, bytes or an open file"


class Readable(Protocol):
    """A file opened in binary mode, `io.BytesIO`, an upload of a web framework."""

    def read(self) -> bytes:
        """Return what is left of the content."""
        ...


Given = str | os.PathLike[str] | Image.Image | np.ndarray | bytes | bytearray | memoryview | Readable


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what it is called, by a number where it is `hidden`.

    `open` takes the page that is read of a file, not of what is no file. It raises `DataError` or `OSError` where it
    cannot be read.
    """

    source: str
    open: Callable[[int], images.Opened]
    hidden: bool = False


def picture_of(given: Given, *, source: str | None = None) -> Picture:
    """Return the one picture that was given, called `source`.

    Arrays are `[H, W]`, `[H, W, 1]`, `[H, W, 3]` RGB or `[H, W, 4]` RGBA, uint8, or `[H, W]` of other numbers for a
    model that has windows; so are pydicom's data sets. Without `source` it is the file's name, and where there is none
    `<image>`, `<array>`, `<dataset>`, `<bytes>` or `<file>`. Raises `UsageError` for anything else,
    and for a path that is missing or holds several pictures.
    """
    if isinstance(given, (str, os.PathLike)):
        found = _only(open_pictures(os.fspath(given)), os.fspath(given))
        return found if source is None else replace(found, source=source)
    if isinstance(given, Image.Image):
        return Picture(source or str(getattr(given, "filename", "") or "<image>"), lambda page: given)
    if isinstance(given, (bytes, bytearray, memoryview)):
        name = source or "<bytes>"
        return Picture(name, lambda page: _decoded(bytes(given), name, page))
    if hasattr(given, "read"):
        name = source or _name(given)
        if source is None and name != "<file>" and may_be_dicom(name):
            return _of_dicom(given, name)
        return Picture(name, lambda page: _decoded(_content(given, name), name, page))
    if _is_dataset(given):
        name = source or "<dataset>"
        return Picture(name, lambda page: _from_dataset(given, name, page))
    if hasattr(given, "__array__"):
        return Picture(source or "<array>", lambda page: _from_array(given))
    raise UsageError(f"a picture is {_KINDS}, not {type(given).__name__}")


def pictures_of(
    given: Dataset | Given | Iterable[Given], *, frames: str = "one"
) -> tuple[Iterator[Picture], int | None]:
    """Return the pictures of one source or of several, folders and archives among them, and how many there are.

    A list is looked at before the first picture is read: a path that is missing raises `UsageError`. A generator is
    asked for no more than is read next; there such a path is a picture that cannot be opened, and the count is None.
    `frames`: which ones of files of several are pictures (`data.frames`); of what is no path it is the first.
    """
    if isinstance(given, Dataset):
        given = of_files(given, page=given.page, frames=frames)
        return _of_dataset(given), len(given)
    if is_array(given):
        given = _one_by_one(_array_of(given))
    elif _is_one(given):
        given = [cast(Given, given)]
    if isinstance(given, (list, tuple)) and not given:
        return iter(()), 0
    if not isinstance(given, (list, tuple)):
        return _counted(_lazily(cast(Iterable[Given], given), frames)), None
    if all(isinstance(one, (str, os.PathLike)) for one in given):
        return pictures_of(open_pictures(*given), frames=frames)
    found = list(_counted(picture for one in given for picture in _each(one, frames)))
    return iter(found), len(found)


def _is_one(given: object) -> bool:
    if isinstance(given, (str, os.PathLike, Image.Image, bytes, bytearray, memoryview)) or hasattr(given, "read"):
        return True
    if _is_dataset(given):
        return True
    if isinstance(given, Iterable):
        return False
    raise UsageError(f"pictures are {_KINDS}, or several of them, not {type(given).__name__}")


def _one_by_one(several: np.ndarray) -> list[np.ndarray]:
    """Return the pictures of `[N, H, W]` or `[N, H, W, C]`; what may as well be one picture is not guessed at."""
    if several.dtype.kind in "OU" or several.ndim == 4:
        return list(several)
    if several.ndim == 3 and several.shape[2] > 4 and several.shape[0] not in (1, 3, 4):
        return list(several)
    hint = ""
    if several.ndim == 3:
        first = several.shape[0] in (1, 3, 4) and several.shape[2] > 4
        one = "predict(x.transpose(1, 2, 0)), of a tensor x.permute(1, 2, 0)" if first else "predict(x)"
        hint = f"; one picture goes to {one}, several grey ones as list(x)"
    raise UsageError(f"an array of several pictures is [N, H, W] or [N, H, W, 3], not {list(several.shape)}{hint}")


def _each(given: Given, frames: str) -> Iterator[Picture]:
    if isinstance(given, (str, os.PathLike)):
        return pictures_of(open_pictures(os.fspath(given)), frames=frames)[0]
    return iter([picture_of(given)])


def _counted(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Yield pictures of several sources; those named by number by their place among all of them."""
    for number, picture in enumerate(pictures, start=1):
        yield replace(picture, source=numbered(picture.source, number)) if picture.hidden else picture


def _lazily(given: Iterable[Given], frames: str) -> Iterator[Picture]:
    for one in given:
        try:
            yield from _each(one, frames)
        except ResNetKitError as error:
            if not isinstance(one, (str, os.PathLike)):
                raise
            yield Picture(os.fspath(one), _raising(error))


def _raising(error: ResNetKitError) -> Callable[[int], Image.Image]:
    def fail(page: int) -> Image.Image:
        raise error

    return fail


def _of_dataset(dataset: Dataset) -> Iterator[Picture]:
    return (
        Picture(item.source, lambda page, item=item: dataset.on_page(page).open(item), dataset.hidden is not None)  # type: ignore[misc]
        for item in dataset.items
    )


def _decoded(data: bytes, name: str, page: int) -> images.Opened:
    return images.decode(images.of_page(data, name=name, page=page), name=name)


def _only(pictures: Dataset, path: str) -> Picture:
    """Return the one picture behind a path."""
    if len(pictures) != 1:
        raise UsageError(f"{path} holds {len(pictures)} pictures, predict() takes one: use predict_many()")
    return next(_of_dataset(pictures))


def _name(file: object) -> str:
    """Return the name of an open file or an upload; one that was opened by number has none."""
    names = (getattr(file, attribute, None) for attribute in ("filename", "name"))
    return next((os.fsdecode(name) for name in names if name and isinstance(name, (str, bytes))), "<file>")


def _of_dicom(file: object, name: str) -> Picture:
    """Return the picture of an open file that may be DICOM, called `<file>` where its path tells who is pictured."""
    try:
        content = _content(file, name)
    except ResNetKitError as error:
        return Picture(name, _raising(error))
    return picture_of(content, source="<file>" if tells(name, content) else name)


def _content(file: Any, name: str) -> bytes:
    """Return all of a file, from its beginning where it can be rewound (as Pillow does).

    Uploads of Starlette and Django have the ordinary file inside; that of Starlette is read without `await`.
    """
    inner = getattr(file, "file", None)
    file = inner if hasattr(inner, "read") else file
    try:
        with contextlib.suppress(AttributeError, OSError):
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if inspect.iscoroutine(content):
        content.close()
        raise UsageError(f"{name}: its read() is asynchronous; give the bytes: await file.read()")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise UsageError(f"{name}: is open as text; open it with mode 'rb'")
    return bytes(content)


def _array_of(given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one that needs its gradient
        raise DataError(f"this {type(given).__name__} is no array in main memory ({error})") from error


def _is_dataset(given: object) -> bool:
    """Tell whether something is a data set of pydicom, which is then imported already."""
    pydicom = sys.modules.get("pydicom")
    return pydicom is not None and isinstance(given, pydicom.Dataset)


def _from_dataset(given: Any, name: str, page: int) -> images.Opened:
    with dicom_header.told(
        f"{name}: this data set cannot be written as a file, so it cannot be read; save_as() says why"
    ):
        written = io.BytesIO()
        with libraries_silenced():
            if getattr(given, "file_meta", None) and "TransferSyntaxUID" in given.file_meta:
                given.save_as(written, enforce_file_format=False)
            else:
                given.save_as(written, implicit_vr=False, little_endian=True)
    return _decoded(written.getvalue(), name, page)


def _from_array(given: Any) -> images.Opened:
    array = _array_of(given)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    several = "; several pictures go to predict_many()" if array.ndim == 4 else ""
    if array.dtype != np.uint8 or not fits or array.size == 0:
        refused = (
            f"an array must be [H, W] or [H, W, 3] uint8, not {list(array.shape)} {array.dtype}"
            f"{way_to_pixels(array) or several}"
        )
        if array.ndim != 2 or array.dtype.kind not in "iuf" or array.size == 0:
            raise DataError(refused)
        return measured.of_values(array, refused=refused)
    return Image.fromarray(np.ascontiguousarray(array))
