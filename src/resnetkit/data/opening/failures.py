"""What goes wrong while a file of somebody else is read, as one line that names it."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from resnetkit.data.opening.silence import libraries_silenced
from resnetkit.errors import DataError, UsageError

# What Pillow raises for broken files; a decoder that meets bytes it never expected fails in ordinary Python ways too.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@contextmanager
def told(shown: str, kind: str) -> Iterator[None]:
    """Make one line that names the file of whatever goes wrong while it is read."""
    try:
        with libraries_silenced():
            yield
    except UsageError:  # an optional package is missing
        raise
    except DataError as error:
        raise DataError(f"{shown}: {error}") from error
    except MemoryError as error:
        raise DataError(f"{shown}: needs more memory than there is; make it smaller or leave it out") from error
    except BROKEN as error:
        raise DataError(
            f"{shown}: broken or cut-off {kind} ({reason(error)}); copy or save it again, or leave it out"
        ) from error


def one_line(name: str) -> str:
    """Return `name` with characters that would break the line or the terminal written as escapes."""
    if name.isprintable():
        return name
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter
        for letter in name
    )


def reason(error: BaseException) -> str:
    """Return what a library says of a broken file, short and in one line."""
    text = str(error).partition("<_io.")[0].strip() or type(error).__name__
    text = text.replace("not identified by this driver", "its header makes no sense")
    return one_line(" ".join(text.split()))[:120]
