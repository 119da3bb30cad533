"""Which fonts a picture needs so that class names in any script are shown, not boxes."""

import dataclasses
import functools
import importlib.util
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

# Travels with matplotlib, so pictures look the same everywhere; has Latin, Greek, Cyrillic, Hebrew, Arabic and signs.
DEFAULT_FAMILY = "DejaVu Sans"

# First word of a character's Unicode name -> the language people know it by; the extra `fonts` has all of these.
_LANGUAGES = {"HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "CJK": "Chinese"}
_IN_EXTRA = frozenset(_LANGUAGES.values())
_LEFT_TO_RIGHT, _FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u200e", "\u2068", "\u2069"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The font families of one picture, first choice first, and one line for the user when they do not suffice."""

    families: tuple[str, ...]
    warning: str | None


def choose(texts: Iterable[str]) -> Choice:
    """Return the families that together show every character of `texts`, as far as this computer has them.

    Looked through in this order: matplotlib's own font, installed fonts, the fonts of the extra `fonts`. A font found
    is made known to matplotlib's font list; no setting is changed.
    """
    default = font_manager.fontManager.findfont(DEFAULT_FAMILY)
    missing = _missing(default, _characters(texts))
    families = [DEFAULT_FAMILY]
    for path in _candidates() if missing else ():
        still_missing = _missing(path, missing)
        if len(still_missing) < len(missing):
            families.append(_register(path))
            missing = still_missing
        if not missing:
            break
    return Choice(families=tuple(families), warning=_warning(missing) if missing else None)


def drawable(name: str) -> str:
    """Return `name` as it can be drawn: composed (NFC), on one line, without characters that are no text.

    >>> drawable("ants\\n(red)"), drawable("bad \\udcff byte")
    ('ants (red)', 'bad � byte')
    """
    composed = unicodedata.normalize("NFC", " ".join(name.split()))
    return "".join(_drawn(character) for character in composed)


def isolated(name: str) -> str:
    """Return `name` so that a right-to-left one keeps its order inside a line, and the line keeps its own."""
    return f"{_LEFT_TO_RIGHT}{_FIRST_STRONG_ISOLATE}{name}{_POP_ISOLATE}"


def _drawn(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
        return "\ufffd"
    # A direction override inside a name would turn the words drawn around it.
    return "" if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" else character


def _characters(texts: Iterable[str]) -> frozenset[str]:
    """Return the characters of `texts` that need a glyph: no spaces, format marks or variation selectors."""
    drawn = frozenset("".join(texts))
    return frozenset(c for c in drawn if unicodedata.category(c)[0] not in "ZC" and not "\ufe00" <= c <= "\ufe0f")


@functools.lru_cache(maxsize=4096)  # a run draws several pictures of the same names
def _missing(path: str, characters: frozenset[str]) -> frozenset[str]:
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # a damaged or unsupported font of the system is no reason to stop
        return characters
    return frozenset(c for c in characters if not font.get_char_index(ord(c)))


def _candidates() -> Iterator[str]:
    yield from _installed()
    yield from _of_the_extra()


def _installed() -> list[str]:
    """Return the installed upright fonts of normal weight, sans serif first."""
    entries = [
        entry
        for entry in font_manager.fontManager.ttflist
        # matplotlib's own last resort has a box for every character; bold and italic fonts add no characters.
        if "Last Resort" not in entry.name and entry.style == "normal" and entry.weight in (400, "normal", "regular")
    ]
    return [
        entry.fname for entry in sorted(entries, key=lambda entry: ("Sans" not in entry.name, entry.name, entry.fname))
    ]


def _of_the_extra() -> list[str]:
    """Return the font files of mplfonts, sans serif first; the package is not imported: that would change settings."""
    found = importlib.util.find_spec("mplfonts")
    if found is None or found.origin is None:
        return []
    files = Path(found.origin).parent.glob("fonts/*.[ot]tf")
    return [str(path) for path in sorted(files, key=lambda path: ("NotoSansCJK" not in path.name, path.name))]


def _register(path: str) -> str:
    """Make `path` known to matplotlib under its family name, which is returned."""
    known = font_manager.fontManager
    if not any(entry.fname == path for entry in known.ttflist):
        known.addfont(path)
    return next(entry.name for entry in known.ttflist if entry.fname == path)


def _warning(missing: frozenset[str]) -> str:
    scripts = sorted({_script(character) for character in missing})
    sample = "".join(sorted(missing)[:8])
    fix = "install a font that has them (Noto has one for every script)"
    if _IN_EXTRA.issuperset(scripts) and not _of_the_extra():
        fix = 'pip install "resnetkit[fonts]"'
    return f"pictures cannot show {' and '.join(scripts)} names: no font here has the characters {sample!r}; {fix}"


def _script(character: str) -> str:
    if unicodedata.category(character).startswith("S"):
        return "emoji or sign"
    first = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    return _LANGUAGES.get(first, first.capitalize())
