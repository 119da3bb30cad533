"""What weights have seen, by content: what trained them and what they began from, chose them and calibrated them.

A picture is known by the first bytes of two digests, of its file and of its decoded pixels, so it is recognised under
another name, in an archive and saved again without loss; a group by those of its name. Reading that needs no torch.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from resnetkit.data.fingerprint import Digests
from resnetkit.errors import DataError

# 48 bits: among 50,000 pictures held against 50,000 others, one in 100,000 such comparisons mistakes a picture.
_BYTES = 6
# Why something is not listed, as what follows "what it was trained on".
UNKNOWN = "cannot be known"
LEFT_OUT = "was left out of the file (remember=false)"
COUNTED = "was left out of the export (DICOM files are among it, whose tags were read)"
# Of a run of before there was this: the bytes of files tell less, as pictures that were saved again are others then.
BY_BYTES = "is known by the bytes of files alone"
OLDER = f"{BY_BYTES}, and what it began from not at all"

Mark = Literal["trained", "chose"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What weights have seen. Each text holds sorted keys of 6 bytes in base64, read when it is asked for.

    `known`: everything that the weights and those they began from were trained on is listed; else `why` not, where
    that can be said. `pictures` trained these weights, `ancestors` others those they began from; `trained` has both.
    `chose`: pictures that an epoch was selected or a run stopped by; `calibrated`: those that temperature and
    thresholds were fitted on, which leaves the weights as they are; `scored`: the test part of their run, those of
    before are not in it; `groups`: names of groups that trained. `dicom`: any of all these were DICOM files, whose
    tags were read.
    """

    known: bool = False
    why: str = UNKNOWN
    pictures: int = 0
    ancestors: int = 0
    trained: str = field(default="", repr=False)
    chose: str = field(default="", repr=False)
    calibrated: str = field(default="", repr=False)
    scored: str = field(default="", repr=False)
    groups: str = field(default="", repr=False)
    dicom: bool = False

    def and_chosen(self, by: str) -> Seen:
        """Return this with the keys of pictures that an epoch was chosen by, as `packed` returns them."""
        return self if self._left_out else replace(self, chose=_joined(self.chose, by))

    def and_calibrated(self, on: str, *, dicom: bool = False) -> Seen:
        """Return this with the keys of pictures that temperature and thresholds were fitted on."""
        if self._left_out:
            return self
        return replace(self, calibrated=_joined(self.calibrated, on), dicom=self.dicom or dicom)

    def for_others(self) -> Seen:
        """Return what an export says of it: of DICOM files how many they are, and no digest of any."""
        if not self.dicom:
            return self
        why = COUNTED if self.pictures else self.why
        return Seen(why=why, pictures=self.pictures, ancestors=self.ancestors, dicom=True)

    @property
    def _left_out(self) -> bool:
        return not self.known and not self.trained and self.why in (LEFT_OUT, COUNTED)

    def marks(self, contents: Sequence[Digests], groups: Sequence[str | None]) -> list[Mark | None]:
        """Return of each picture whether it, or one of its group, trained the weights or chose them: the one judge."""
        trained, chose = _keys(self.trained), _keys(self.chose)
        marks: list[Mark | None] = [
            "trained" if _any(content, trained) else "chose" if _any(content, chose) else None for content in contents
        ]
        named = _keys(self.groups)
        known = {group for group in set(groups) if group is not None and _key_of_group(group) in named}
        pairs = list(zip(marks, groups, strict=True))
        of_group: dict[str | None, Mark] = {group: "chose" for mark, group in pairs if mark == "chose"}
        of_group |= {group: "trained" for mark, group in pairs if mark == "trained"}
        of_group |= dict.fromkeys(known, "trained")
        return [mark if group is None else of_group.get(group, mark) for mark, group in pairs]

    def calibrated_by(self, contents: Iterable[Digests]) -> bool:
        """Tell whether temperature and thresholds were fitted on any of these pictures."""
        return any(are_among(self.calibrated, contents))

    def tested_by(self, contents: Iterable[Digests]) -> bool:
        """Tell whether any of these pictures are of the test part, which fits nothing."""
        return any(are_among(self.scored, contents))

    @property
    def by_bytes(self) -> bool:
        """Whether some of what trained is known by the bytes of files alone."""
        return not self.known and self.why in (BY_BYTES, OLDER)

    def words(self) -> str:
        """Return what is known, as what follows "trained on"."""
        if not self.pictures and not self.known:
            return self.why
        ancestors = f" (+ {self.ancestors:,} by its ancestors)" if self.ancestors else ""
        if not self.known and not self.trained:
            return f"{self.pictures:,} pictures{ancestors}; which they are {self.why}"
        whom = "that" if self.by_bytes else "what its starting weights were trained on"
        rest = "" if self.known else f"; {whom} {self.why}"
        return f"{self.pictures:,} pictures{ancestors}{rest}"

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads: what differs from the defaults."""
        default = Seen()
        return {"known": self.known} | {
            name: value for name, value in asdict(self).items() if value != getattr(default, name)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Seen:
        """Read what `to_json` wrote, without keys of a later version; raises `DataError` for other types."""
        default, kept = cls(), {}
        for name in asdict(default):
            value = values.get(name, getattr(default, name))
            if type(value) is not type(getattr(default, name)):
                raise DataError(f"its trained_on.{name} must not be {value!r:.40}")
            kept[name] = value
        return cls(**kept)


def seen_in_training(
    trained: Collection[Digests], *, chose: Iterable[Digests] = (), groups: Iterable[str | None] = (),
    before: Seen | None = None, dicom: bool = False,
) -> Seen:  # fmt: skip
    """Return what weights have seen that were trained on these pictures.

    They began at random, or as those that had seen `before`. `dicom`: any of them are DICOM files.
    """
    names = {group for group in groups if group is not None}
    own = Seen(
        known=True, pictures=len(trained), trained=packed(trained), chose=packed(chose),
        groups=_text(_key_of_group(name) for name in names), dicom=dicom,
    )  # fmt: skip
    if before is None:
        return own
    again = sum(_any(content, _keys(before.trained)) for content in trained)
    return replace(
        own, known=before.known, why=before.why, ancestors=max(0, before.pictures + before.ancestors - again),
        trained=_joined(own.trained, before.trained), chose=_joined(own.chose, before.chose),
        groups=_joined(own.groups, before.groups), dicom=dicom or before.dicom,
    )  # fmt: skip


def are_among(keys: str, pictures: Iterable[Digests]) -> list[bool]:
    """Tell of each picture whether it is one of those that `packed` returned the keys of."""
    known = _keys(keys)
    return [_any(content, known) for content in pictures]


def packed(pictures: Iterable[Digests]) -> str:
    """Return the keys of pictures as text."""
    return _text(_key(digest) for content in pictures for digest in content)


def _key(digest: str) -> bytes:
    return bytes.fromhex(digest[: 2 * _BYTES])


def _key_of_group(name: str) -> bytes:
    return hashlib.blake2b(f"group {name}".encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


def _any(content: Digests, known: frozenset[bytes]) -> bool:
    return bool(known) and any(_key(digest) in known for digest in content)


def _text(keys: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(set(keys)))).decode("ascii")


def _joined(one: str, other: str) -> str:
    return _text(_keys(one) | _keys(other)) if one and other else one or other


@functools.lru_cache(maxsize=16)
def _keys(text: str) -> frozenset[bytes]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError("what it was trained on is damaged; fetch or copy the file again") from error
    return frozenset(raw[start : start + _BYTES] for start in range(0, len(raw), _BYTES))
