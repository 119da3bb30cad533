"""Safetensors files: the header, checked against its length, without torch or the library; and how one is written."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

# The format itself caps its header at 100 MB.
_MAX_HEADER_BYTES = 100_000_000
# Bytes of one number; types that are not here are measured by safetensors itself.
_NUM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of any safetensors file: name -> dtype, shape, data_offsets, and `__metadata__`.

    Raises `UsageError` for a missing file, `DataError` for another kind of file and one that is cut short.
    """
    start = first_bytes(path, 8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    text = first_bytes(path, 8 + length)[8:] if 2 <= length <= _MAX_HEADER_BYTES else b""
    size = path.stat().st_size
    if not text.startswith(b"{"):
        raise DataError(f"{path}: not a checkpoint ({kind_of(start, size)}); a .safetensors file is wanted")
    if len(text) < length:
        raise DataError(f"{path}: cut short ({size:,} bytes, its header alone is longer); fetch or copy it again")
    return _parsed_header(path, text, size)


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first `count` bytes of a file, fewer where it has fewer.

    Raises `UsageError` where there is no such file, `DataError` where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); a file of weights is wanted") from error


def _parsed_header(path: Path, text: bytes, size: int) -> dict[str, Any]:
    try:
        header = json.loads(text)
        if not isinstance(header.get("__metadata__", {}), dict):
            raise TypeError("metadata is a table of texts")
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + len(text) + _end_of_data(entries)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: its safetensors header is damaged; fetch or copy it again") from error
    if size != expected:
        what = "cut short" if size < expected else "longer than it says"
        raise DataError(f"{path}: {what} ({size:,} of {expected:,} bytes); fetch or copy it again")
    return header


def _end_of_data(entries: list[dict[str, Any]]) -> int:
    """Return where the data of the tensors end; raises `ValueError` or another error where they do not fit together.

    Each tensor begins where another ends and is as long as its shape says, as the format demands.
    """
    end = 0
    for start, stop, entry in sorted((*entry["data_offsets"], i) for i, entry in enumerate(entries)):
        shape, width = entries[entry]["shape"], _NUM_BYTES.get(entries[entry]["dtype"])
        if not all(type(number) is int and number >= 0 for number in (start, stop, *shape)):
            raise ValueError("sizes are whole numbers")
        if start != end or stop < start or (width is not None and stop - start != width * math.prod(shape)):
            raise ValueError("tensors do not fit together")
        end = stop
    return end


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of any layout and device, one after the other: none but one is in memory twice.

    The library makes all bytes of a file first, twice, or puts the file together under a name of its own, which a kill
    leaves behind. Numbers of more bytes come first, so that all are aligned. Raises `OSError` as the disk does.
    """
    import torch

    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        tensor, start = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        kind = _NAMES[str(tensor.dtype).removeprefix("torch.")]
        described[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    with open(path, "wb") as file:
        file.write(header_bytes(described))
        for name in order:
            file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def header_bytes(described: Mapping[str, Any]) -> bytes:
    """Return how a file with this header begins, up to the data, which is aligned."""
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def kind_of(start: bytes, size: int) -> str:
    """Say in words what a file of `size` bytes that begins with `start` seems to be, when it is no safetensors file."""
    if size == 0:
        return "an empty file"
    if start.startswith(b"PK"):
        return "a zip file, perhaps PyTorch weights: as weights to start from use --weights"
    if start[:1] == b"\x80":
        return "a pickle, perhaps PyTorch weights: as weights to start from use --weights"
    if start.lstrip().startswith(b"<"):
        return "a web page"
    if start.startswith(b"version"):
        return "a Git LFS pointer: git lfs pull"
    return "some other kind of file"
