"""How figures and names read: the same everywhere on screen, in files and on pages."""

from __future__ import annotations

import re
import unicodedata

# At the foot of every page, checklist and card, for whether a picture shows a patient is not known.
NO_MEDICAL_DEVICE = "Not a medical device: figures on these pictures are no proof for patients."
_LONGEST_NAME = 56  # cells of a terminal
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # directions of text


def percent(share: float | None) -> str:
    """Return a share as people read it.

    >>> percent(0.97123), percent(None)
    ('97.1 %', '-')
    """
    return "-" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Return seconds as people read them.

    >>> duration(0.42), duration(32.4), duration(75), duration(4020)
    ('0.4 s', '32 s', '1 min 15 s', '1 h 07 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def seconds_of(text: str) -> float | None:
    """Return the seconds that a person asks for in seconds, minutes or hours; None for what is no such length.

    >>> seconds_of("0.5s"), seconds_of("10m"), seconds_of("2h"), seconds_of("5")
    (0.5, 600.0, 7200.0, None)
    """
    said = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?([smh])", text, re.ASCII)
    seconds = float(said[1]) * {"s": 1, "m": 60, "h": 3600}[said[2]] if said else 0.0
    return seconds if 1e-3 <= seconds <= 1e6 else None


def clock(seconds: float) -> str:
    """Return a place in a video, to a hundredth of a second.

    >>> clock(12.48), clock(75), clock(4020.999)
    ('0:12.48', '1:15.00', '1:07:01.00')
    """
    minutes, hundredths = divmod(round(100 * seconds), 6000)
    hours, minutes = divmod(minutes, 60)
    last = f"{hundredths // 100:02}.{hundredths % 100:02}"
    return f"{hours}:{minutes:02}:{last}" if hours else f"{minutes}:{last}"


def counted(number: int, thing: str) -> str:
    """Return a number of things.

    >>> counted(1, "picture"), counted(2000, "picture")
    ('1 picture', '2,000 pictures')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def steers_terminal(letter: str) -> bool:
    """Tell whether a character breaks a line, moves the cursor or turns the direction of what follows it.

    Other format characters (joiners of emoji and of Persian) belong to names and stay.
    """
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in _TURNS


def escaped(text: str) -> str:
    """Return text for a terminal: characters of hostile names that would steer it or turn its text are escaped.

    >>> print(escaped("a\u202egpj.exe"))
    a\\u202egpj.exe
    """
    return "".join(f"\\u{ord(c):04x}" if steers_terminal(c) else c for c in text)


def one_line(text: str) -> str:
    """Return text with a `?` for each character that would break a line or steer a terminal."""
    return "".join("?" if steers_terminal(letter) else letter for letter in text)


def shortened(name: str) -> str:
    """Return a path in one line, its front cut off where it is long: the end tells files apart."""
    from rich.cells import cell_len

    name = one_line(name)
    while cell_len(name) > _LONGEST_NAME:
        name = "…" + name[max(2, cell_len(name) - _LONGEST_NAME) :]
    return name
