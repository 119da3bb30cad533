"""Run lengths of a bitmap as the short text that COCO's tools write and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_DIGIT, _SIGN, _MORE = 0x1F, 0x10, 0x20  # five bits a letter, low ones first; the sixth says that more follow
_FIRST = 48  # the letter "0"


def packed(counts: Sequence[int]) -> str:
    """Return run lengths as text: from the third on, each as what it differs from the last but one of it.

    >>> packed([6, 2, 4, 1]), unpacked("624O")
    ('624O', (6, 2, 4, 1))
    """
    return "".join(
        letter
        for place, count in enumerate(counts)
        for letter in _letters(count - counts[place - 2] if place > 2 else count)
    )


def _letters(number: int) -> Iterator[str]:
    while True:
        digit, number = number & _DIGIT, number >> 5
        more = number != (-1 if digit & _SIGN else 0)
        yield chr(_FIRST + (digit | _MORE if more else digit))
        if not more:
            return


def unpacked(text: str) -> tuple[int, ...]:
    """Return the run lengths in a text that `packed` or COCO's tools wrote; raises `ValueError` for any other."""
    counts: list[int] = []
    number = shift = 0
    for letter in text:
        digit = ord(letter) - _FIRST
        if not 0 <= digit < 2 * _MORE:
            raise ValueError(f"{letter!r} is in no text of run lengths")
        number |= (digit & _DIGIT) << shift
        shift += 5
        if digit & _MORE:
            continue
        number -= (1 << shift) if digit & _SIGN else 0
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift or any(count < 0 for count in counts):
        raise ValueError("the text of run lengths is cut short or damaged")
    return tuple(counts)
