"""What libraries say while they decode stays off the terminal: a broken file is one line of ours, an odd one none."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from PIL import Image


class _InsideDecoding:
    """Stands where a warning filter has its module pattern: matches decoders, in threads that are decoding right now.

    `warnings.catch_warnings` swaps a process-wide list and so cannot be used by threads; this entry stays in the list
    and changes nothing outside of `libraries_silenced`.
    """

    def __init__(self) -> None:
        self.thread = threading.local()

    def match(self, module: str) -> bool:
        return getattr(self.thread, "decoding", False) and module.startswith(("PIL.", "pillow_heif", "pydicom"))


_INSIDE = _InsideDecoding()
_FILTER: Any = ("ignore", None, Warning, _INSIDE, 0)


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Keep remarks on odd files from users; a broken file is an error, an odd one that opens is fine."""
    _silence_for_good()
    filters = cast(list[Any], warnings.filters)
    if not filters or filters[0] is not _FILTER:
        filters.insert(0, _FILTER)
    outer = getattr(_INSIDE.thread, "decoding", False)
    _INSIDE.thread.decoding = True
    try:
        yield
    finally:
        _INSIDE.thread.decoding = outer


@cache
def silence(package: str) -> None:
    """Keep what an imported package logs while this thread decodes from all who listen: it may quote a patient."""
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == package]:
        logging.getLogger(name).addFilter(lambda record: not getattr(_INSIDE.thread, "decoding", False))


@cache
def _silence_for_good() -> None:
    """Silence what no filter reaches: Pillow's log where nobody reads it, and libtiff, which writes to the descriptor.

    libtiff lies under Pillow; where that hides its functions (as Windows does) it keeps its voice.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        library = ctypes.CDLL(Image.core.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)
    except (OSError, AttributeError):
        pass
