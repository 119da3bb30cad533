"""Objects found on pictures as YOLO's label files: a text for each picture, an object a line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from resnetkit.errors import UsageError
from resnetkit.files import numbered, safe_name, umask
from resnetkit.inference.prediction import Prediction

_NAMES = "data.yaml"
_ABOUT = "# labels/: class, middle x, middle y, width, height as shares of the picture; an object a line"


@contextlib.contextmanager
def to_folder(path: Path, *, classes: Sequence[str]) -> Iterator[Callable[[Prediction], None]]:
    """Yield the function that adds a prediction; the folder appears, whole, when the block ends well.

    `labels/` holds a text for each picture that could be read, under its path below the folder that all lie in; that
    of a picture without objects is empty. `data.yaml` holds the names of `classes`. It is a set to correct and to train
    on once the pictures lie in `images/`; scores and masks are in the other formats.
    """
    refuse_present(path)
    texts: list[tuple[str, str]] = []
    numbers = {name: number for number, name in enumerate(classes)}

    def write(prediction: Prediction) -> None:
        if prediction.objects is not None:
            texts.append((prediction.source, "".join(_lines(prediction, numbers))))

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent))
    try:
        yield write
        named = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for name, number in numbers.items())
        told = f"{_ABOUT}\nnc: {len(numbers)}\nnames:\n{named}"
        (temporary / _NAMES).write_text(told, encoding="utf-8")
        for place, text in zip(_places([source for source, _ in texts]), (text for _, text in texts), strict=True):
            file = temporary / "labels" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        temporary.chmod(0o777 & ~umask())
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_present(path: Path) -> None:
    """Raise `UsageError` where something of that name is there."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"--output {path}: is there already; name another folder, or take it away")


def _lines(prediction: Prediction, numbers: dict[str, int]) -> Iterator[str]:
    assert prediction.size is not None, "objects lie on a picture of a size"
    width, height = prediction.size
    for one in prediction.objects or ():
        left, top, right, bottom = one.box
        shares = (
            (left + right) / 2 / width,
            (top + bottom) / 2 / height,
            (right - left) / width,
            (bottom - top) / height,
        )
        yield f"{numbers[one.label]} {' '.join(f'{share:.6f}' for share in shares)}\n"


def _places(sources: Sequence[str]) -> list[Path]:
    """Return where the text of each picture goes, each its own: where it lies below the folder that all lie in.

    >>> [place.as_posix() for place in _places(["in/a/1.jpg", "in/b/1.jpg", "in/b/1.png", "in/c.zip::d/2.jpg"])]
    ['a/1.txt', 'b/1.txt', 'b/1_2.txt', 'c.zip/d/2.txt']
    """
    paths = [os.path.abspath(source.replace("::", "/", 1)) for source in sources]
    above = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    taken: set[str] = set()
    places = []
    for path in paths:
        *folders, name = os.path.relpath(path, above).split(os.sep)
        folder = Path(*map(safe_name, folders))
        free = (folder / file for file in numbered(safe_name(os.path.splitext(name)[0]), ".txt"))
        places.append(next(place for place in free if str(place).casefold() not in taken))
        taken.add(str(places[-1]).casefold())
    return places
