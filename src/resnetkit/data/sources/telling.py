"""Whether a path tells who is pictured: what identifying tags say, held against the names of files and folders.

Only letters and digits count, whatever their case and accents. A name counts in parts of three letters or more, as a
word of the path, also with an initial beside it; longer ones wherever they stand. Numbers count from four digits on.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from resnetkit.data.opening.dicom_identity import Kind

_LEAST, _ANYWHERE, _LEAST_DIGITS, _DIGITS_ANYWHERE, _UID = 3, 5, 4, 6, 10
# fmt: off
# Words in names of people and places that name nobody and nowhere, folded.
_NO_NAMES = frozenset((
    "abdomen", "and", "anon", "anonym", "anonymised", "anonymized", "anonymous", "archive", "brain", "breast", "case",
    "center", "centre", "chest", "city", "clinic", "clinical", "collection", "compressed", "compressedsamples",
    "control", "data", "dataset", "demo", "department", "dept", "dicom", "dummy", "example", "export", "female",
    "folder", "for", "general", "head", "hospital", "imag", "image", "images", "imaging", "institute", "institution",
    "knee", "laboratory", "liver", "lung", "machine", "male", "medical", "medicine", "mri", "name", "negative",
    "none", "normal", "null", "patient", "patients", "pelvis", "phantom", "pneumonia", "positive", "private",
    "prostate", "public", "radiology", "removed", "research", "room", "sample", "samples", "scan", "scanner", "scans",
    "school", "science", "sciences", "sequence", "series", "service", "skull", "spine", "station", "study", "subject",
    "test", "the", "thorax", "train", "training", "tumor", "unit", "university", "unknown", "val", "valid",
    "validation", "ward", "workstation",
))
# fmt: on
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
# Letters that are no others with an accent, as people write them without.
_PLAIN = str.maketrans({
    "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ı": "i", "æ": "ae", "Æ": "AE",
    "œ": "oe", "Œ": "OE", "ħ": "h", "Ħ": "H",
})  # fmt: skip
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Telling:
    """What would tell who is pictured: `words` as words of a path, `anywhere` also within others. Never shown."""

    words: frozenset[str] = field(default=frozenset(), repr=False)
    anywhere: frozenset[str] = field(default=frozenset(), repr=False)

    def stands_in(self, path: str) -> bool:
        """Tell whether one of them stands in a path, or in another text."""
        return self.is_word_of(path) or any(map(self._is_within, _joined(path)))

    def _is_within(self, name: str) -> bool:
        if len(name) ** 2 > len(self.anywhere):
            return any(one in name for one in self.anywhere)
        ends = range(_ANYWHERE, len(name) + 1)
        return any(name[start:end] in self.anywhere for end in ends for start in range(end - _ANYWHERE + 1))

    def is_word_of(self, path: str) -> bool:
        """Tell it of the words of a path alone, which takes as long however many they are."""
        words = _words(path)
        return not self.words.isdisjoint(words) or not self.anywhere.isdisjoint(words)


def telling(said: Iterable[tuple[Kind, str]]) -> Telling:
    """Return what of the values of identifying tags would tell who is pictured."""
    words: set[str] = set()
    anywhere: set[str] = set()
    for kind, value in said:
        for one in _needles(kind, value):
            least = _DIGITS_ANYWHERE if one.isdigit() else _ANYWHERE
            (anywhere if len(one) >= least and kind != "place" else words).add(one)
            if kind == "date" and len(one) < len("19700101"):
                anywhere.discard(one)
                words.add(one)
            if kind == "person" and one.isalpha() and len(one) < _ANYWHERE:
                words |= {f"{one} ", f" {one}"}  # with an initial
    return Telling(frozenset(words), frozenset(anywhere))


def together(several: Iterable[Telling]) -> Telling:
    """Return what would tell it of any of several files."""
    everything = list(several)
    return Telling(
        frozenset().union(*(one.words for one in everything)), frozenset().union(*(one.anywhere for one in everything))
    )


def _needles(kind: Kind, value: str) -> Iterator[str]:
    """Yield what stands for a value in a path, folded."""
    if kind == "date":
        digits = "".join(filter(str.isdigit, value))[:8]
        if len(digits) == 8 and digits.strip("0"):
            year, month, day = digits[:4], digits[4:6], digits[6:]
            yield from {digits, f"{day}{month}{year}", f"{month}{day}{year}"}
            yield from {digits[2:], f"{day}{month}{year[2:]}", f"{month}{day}{year[2:]}"}
        return
    if kind == "uid":
        digits = _folded(value)
        if len(digits) >= _UID:
            yield digits
        return
    for group in value.split("=") if kind == "person" else [value]:
        for folded in {_folded(group, keep=" "), _folded(group.casefold().translate(_UMLAUTS), keep=" ")}:
            parts = folded.split()
            for parts_in_order in itertools.permutations(parts) if kind == "person" and len(parts) < 4 else [parts]:
                whole = "".join(parts_in_order)
                if len(parts) > 1 and _counts(whole) and not _NO_NAMES.issuperset(parts):
                    yield whole
            if kind != "number" or all(map(str.isalpha, parts)):  # letters before a number are those of a collection
                yield from (part for part in parts if _counts(part))
            yield from (part for part in parts if not part.isalpha() and _counts(part))
            yield from (part.lstrip("0") for part in parts if part.isdigit() and _counts(part.lstrip("0")))


def _counts(word: str) -> bool:
    if word in _NO_NAMES:
        return False
    if word.isdigit():
        return len(word) >= _LEAST_DIGITS and bool(word.strip("0"))
    short = all(ord(letter) >= 0x2E80 for letter in word)  # scripts that write a name with two signs
    return len(word) >= (2 if short else _LEAST)


def _words(path: str) -> set[str]:
    """Return the words of a path: of each of its names the parts, what they make together, and these less a letter."""
    found: set[str] = set()
    for name in _names(path):
        pieces = [piece for piece in re.split(r"[\W_]+", _without_accents(name)) if piece]
        parts = [part for piece in pieces for camel in _CAMEL.split(piece) for part in _WORDS.findall(camel)]
        folded = {_folded(piece) for piece in (*pieces, *parts, name, name.rpartition(".")[0])}
        runs = {*re.findall(r"\d+", name), *re.findall(r"\d+", _folded(name))}
        found |= folded | runs | {run.lstrip("0") for run in runs}
        found |= {other for word in folded if word.isalpha() for other in (f"{word[:-1]} ", f" {word[1:]}")}
    return found - {""}


def _joined(path: str) -> list[str]:
    return [_folded(name) for name in _names(path)]


def _names(path: str) -> list[str]:
    return [name for name in re.split(r"[/\\]|::", path) if name]


def _folded(text: str, *, keep: str = "") -> str:
    """Return the letters and digits of a text without case and accents; others become `keep`."""
    return "".join(letter if letter.isalnum() else keep for letter in _without_accents(text).casefold())


def _without_accents(text: str) -> str:
    whole = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return unicodedata.normalize("NFC", "".join(letter for letter in whole if not unicodedata.combining(letter)))
