"""What was seen of a video so far, in a file beside the output, so that the same command goes on after an interruption.

Outputs of the network are what takes time. They are appended frame by frame, and everything that is told (states,
events, tracks, rows, an annotated video) is made of them anew, so that going on gives the same as never having stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from resnetkit.errors import DataError, UsageError
from resnetkit.files import hold
from resnetkit.inference.video.seen import Seen

_BEGIN = b"RNKSEEN1"
_LENGTH = struct.Struct("<II")  # of a record, and its check sum
_MOST = 2**28  # bytes of a record: more is no length


@dataclass(slots=True)
class Kept:
    """The file of one video: `frames` is how many it held when it was opened, `last` the number of the last one, or -1.

    A context manager; a record that was cut off while it was written is taken away when it is opened.
    """

    path: Path
    frames: int = 0
    last: int = -1
    _file: BinaryIO | None = field(default=None, repr=False)
    _begin: int = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, made_with: Mapping[str, Any]) -> Iterator[Kept]:
        """Open what was kept, or begin.

        Raises `UsageError` where that was `made_with` something else, and where another command is writing it.
        """
        kept = cls(path)
        with open(path, "a+b") as file:
            _hold(path, file)
            file.seek(0)
            kept._file = file
            kept._take_up(json.dumps(made_with, sort_keys=True).encode())
            yield kept

    def _take_up(self, made_with: bytes) -> None:
        assert self._file is not None
        begin = self._file.read(len(_BEGIN))
        header = self._record() if begin == _BEGIN else None
        if begin and header is None and begin != _BEGIN[: len(begin)]:
            raise DataError(f"{self.path}: is not what an interrupted command left behind; take it away")
        if header is None:  # new, or killed before there was anything
            self._file.seek(0)
            self._file.truncate()
            self._file.write(_BEGIN)
            self._append(made_with)
        elif header != made_with:
            raise UsageError(
                f"{self.path}: is of an interrupted command with another model, video or choice of frames: give the "
                "same ones to go on, or take it away to begin anew"
            )
        self._begin = self._file.tell()
        whole = self._begin
        while (record := self._record()) is not None:
            self.frames, self.last, whole = self.frames + 1, _of(record).number, self._file.tell()
        self._file.seek(whole)
        self._file.truncate()

    def again(self) -> Generator[Seen]:
        """Yield what was kept, in order; nothing can be added meanwhile."""
        assert self._file is not None
        self._file.seek(self._begin)
        for _ in range(self.frames):
            record = self._record()
            assert record is not None, "which was read before"
            yield _of(record)
        self._file.seek(0, os.SEEK_END)

    def add(self, one: Seen) -> None:
        """Append a frame, which is handed to the system at once."""
        values = {
            "number": one.number, "time": one.time, "size": one.size, "warnings": one.warnings, "error": one.error,
            "shape": None if one.row is None else one.row.shape,
        }  # fmt: skip
        numbers = b"" if one.row is None else one.row.astype("<f4").tobytes()
        self._append(json.dumps(values).encode() + b"\n" + numbers)

    def _append(self, record: bytes) -> None:
        assert self._file is not None
        packed = zlib.compress(record, 1)
        self._file.write(_LENGTH.pack(len(packed), zlib.crc32(packed)) + packed)
        self._file.flush()

    def _record(self) -> bytes | None:
        """Return the next record, None at the end or where the rest is no whole one."""
        assert self._file is not None
        begin = self._file.read(_LENGTH.size)
        if len(begin) < _LENGTH.size:
            return None
        length, check = _LENGTH.unpack(begin)
        if not length:  # zeros, which a loss of power leaves, and which fit their check sum
            return None
        packed = self._file.read(length) if length <= _MOST else b""
        return zlib.decompress(packed) if len(packed) == length and zlib.crc32(packed) == check else None


def refuse_taken(path: Path) -> None:
    """Raise `UsageError` where another command is writing it."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        _hold(path, file)


def _hold(path: Path, file: BinaryIO) -> None:
    if not hold(file.fileno(), alone=True):
        raise UsageError(
            f"{path}: another command is writing it and makes the same output: wait for it, or name another output"
        )


def _of(record: bytes) -> Seen:
    text, numbers = record.split(b"\n", 1)
    values = json.loads(text)
    shape, size = values.pop("shape"), values.pop("size")
    row = None if shape is None else np.frombuffer(numbers, "<f4").reshape(shape)
    values["warnings"] = tuple(values["warnings"])
    return Seen(row=row, size=None if size is None else (size[0], size[1]), **values)
