"""Models prepared for OpenVINO: converted once and kept in the cache, found by what the weights file holds. No torch.

`prepared/KEY/` below the cache folder holds `header.json` (what a checkpoint says of itself, and the sizes of the
graph's files), `network.xml` and `network.bin` (OpenVINO's graph, pixels to logits), `compiled/` (what OpenVINO made of
it for this processor) and `batch_sizes.json` (what was measured). It appears by rename with the first three files;
OpenVINO fills `compiled/` and checks what lies there itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from resnetkit import files, runtime
from resnetkit.data.decoded.cache_entries import Cleared, Entry
from resnetkit.errors import DataError, ResourceError
from resnetkit.models.checkpoint import Header

_LOG = logging.getLogger(__name__)
# Counts what changes the graph, or the class names, that are made of the same weights.
_GRAPH = 2
_HEADER, _NETWORK, _COMPILED, _BATCH_SIZES = "header.json", "network.xml", "compiled", "batch_sizes.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A converted network that `header` describes: in a `folder`, or as bytes where the cache takes no files.

    `graph` is what OpenVINO's `read_model` takes: an ONNX graph, or its own as XML and weights.
    """

    header: Header
    folder: Path | None = None
    graph: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def network(self) -> Path:
        """OpenVINO's graph from `[N, S, S, C] uint8` pixels to `[N, K]` logits, where there is a folder."""
        assert self.folder is not None
        return self.folder / _NETWORK

    @property
    def compiled(self) -> Path | None:
        """The folder of what OpenVINO compiled; None where nothing can be kept."""
        folder = None if self.folder is None else self.folder / _COMPILED
        return folder if folder is not None and os.access(folder, os.W_OK | os.X_OK) else None

    def carried(self) -> Converted:
        """Return it with the bytes of its graph, for another process that may not see the folder."""
        if self.folder is None:
            return self
        try:
            return replace(self, graph=_bytes_of(self.network))
        except OSError as error:
            raise ResourceError(
                f"{self.folder}: the prepared model is gone ({error.strerror}); load it again"
            ) from error

    def unpacked(self) -> Converted:
        """Return what was carried here: what the cache has under that key, else its bytes."""
        there = None if self.folder is None else find(self.folder.name)
        return there or replace(self, folder=None)


def prepared_folder() -> Path:
    """Return the folder of all prepared models, below `RESNETKIT_CACHE`."""
    return runtime.cache_folder() / "prepared"


def key_of(*paths: Path, arch: str | None = None) -> str:
    """Return the name under which the network of a file of weights, or of several together, is kept.

    Made from the files' bytes, from `arch` where the file was opened as that network, and from the versions that
    convert. Raises `DataError` where the file cannot be read.
    """
    digest = hashlib.sha256(f"{arch} {_GRAPH} {metadata.version('openvino')}".encode())
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); a file of weights is wanted") from error
    return digest.hexdigest()[:32]


def find(key: str) -> Converted | None:
    """Return the prepared model of that key, or None where there is none that is whole."""
    folder = prepared_folder() / key
    try:
        described = _described(folder)
        header = Header.from_json(described["header"])
        whole = described["bytes"] == _sizes(folder)
    except (OSError, ValueError, TypeError, LookupError):
        return None
    if not whole:
        return None
    with contextlib.suppress(OSError):  # a cache that only others may write to is read all the same
        os.utime(folder)
    return Converted(folder=folder, header=header)


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of the graph's files, which tell one that was cut off."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("network.*"))}


def _described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _HEADER).read_text(encoding="utf-8"))


def keep(
    key: str, name: str, header: Header, write: Callable[[Path], None], *, graph: bytes | None = None
) -> Converted:  # fmt: skip
    """Keep under `key` the network `name` that `header` describes; `write` makes the file it is given the path of.

    Where the cache takes no files that is told once, and the network is returned as bytes: as `graph`, else written to
    a temporary folder and read. Raises `ResourceError` where that does not go either.
    """
    place = prepared_folder() / key
    try:
        _write(place, name, header, write)
        if (found := find(key)) is not None:
            return found
        why = "it is gone again"
    except OSError as error:
        why = error.strerror or str(error)
    _tell(
        f"{place.parent}: the prepared model cannot be kept ({why}) and is prepared anew each time: "
        "set RESNETKIT_CACHE to a folder that can be written to"
    )
    return Converted(header=header, graph=_in_passing(place, write) if graph is None else (graph,))


def _write(place: Path, name: str, header: Header, write: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making.", dir=place.parent))
    try:
        write(making / _NETWORK)
        described = {"name": name, "header": header.to_json(), "bytes": _sizes(making)}
        files.write_text(making / _HEADER, json.dumps(described, ensure_ascii=False))
        (making / _COMPILED).mkdir()
        os.chmod(making, 0o755)
        if place.exists():  # one that is broken, or another process was faster; both are as good as ours or worse
            shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(FileExistsError, OSError):
            os.rename(making, place)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _in_passing(place: Path, write: Callable[[Path], None]) -> tuple[bytes, ...]:
    """Return what `write` writes, by way of a folder for temporary files."""
    try:
        with tempfile.TemporaryDirectory(prefix="resnetkit.") as folder:
            write(Path(folder) / _NETWORK)
            return _bytes_of(Path(folder) / _NETWORK)
    except OSError as error:
        raise ResourceError(
            f"{place.parent}: the prepared model cannot be kept ({error.strerror or error}), nor in a temporary "
            "folder: set RESNETKIT_CACHE to another folder, or use --engine torch"
        ) from error


def _bytes_of(network: Path) -> tuple[bytes, ...]:
    return network.read_bytes(), network.with_suffix(".bin").read_bytes()


@cache
def _tell(line: str) -> None:
    """Say something once in a process."""
    _LOG.warning(line)


def entries() -> list[Entry]:
    """Return the models that are kept; `data` is what people called them."""
    listed = []
    for folder in _folders():
        try:
            name = str(_described(folder)["name"])
        except (OSError, ValueError, TypeError, LookupError):
            name = "unfinished"
        used = folder.stat().st_mtime
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        listed.append(Entry(data=name, what="for OpenVINO", pictures=0, bytes=size, last_used=used, path=str(folder)))
    return listed


def clear() -> Cleared:
    """Remove all prepared models; a process that has one open goes on with it."""
    files_of = {folder: [path for path in folder.rglob("*") if path.is_file()] for folder in _folders()}
    removed = num_bytes = failed = 0
    for folder, paths in files_of.items():
        size = sum(path.stat().st_size for path in paths)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            failed += len(paths)
        else:
            removed, num_bytes = removed + len(paths), num_bytes + size
    return Cleared(files=removed, bytes=num_bytes, kept=0, failed=failed)


def _folders() -> list[Path]:
    root = prepared_folder()
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()) if root.is_dir() else []


def batch_sizes(model: Converted) -> dict[str, int]:
    """Return the batch sizes that were measured for the model, by what computed; none where that cannot be read."""
    if model.folder is None:
        return {}
    try:
        kept = json.loads((model.folder / _BATCH_SIZES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: size for name, size in kept.items() if type(size) is int and size > 0} if type(kept) is dict else {}


def keep_batch_sizes(model: Converted, sizes: Mapping[str, int]) -> None:
    """Keep measured batch sizes with the model; where the cache takes no files they are measured again next time."""
    if model.folder is None:
        return
    with contextlib.suppress(OSError):
        files.write_text(model.folder / _BATCH_SIZES, json.dumps(dict(sizes)))
