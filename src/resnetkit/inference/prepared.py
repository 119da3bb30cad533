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
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from resnetkit import files, runtime
from resnetkit.data.cache_entries import Cleared, Entry
from resnetkit.errors import DataError, ResourceError
from resnetkit.models.checkpoint import Header

# Counts what changes the graph that is made of the same weights.
_GRAPH = 1
_HEADER, _NETWORK, _COMPILED, _BATCH_SIZES = "header.json", "network.xml", "compiled", "batch_sizes.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A converted network in a folder: `header` says what it is."""

    folder: Path
    header: Header

    @property
    def network(self) -> Path:
        """OpenVINO's graph from `[N, S, S, C] uint8` pixels to `[N, K]` logits."""
        return self.folder / _NETWORK

    @property
    def compiled(self) -> Path:
        """The folder of what OpenVINO compiled."""
        return self.folder / _COMPILED


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


def find(key: str) -> Prepared | None:
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
    return Prepared(folder=folder, header=header)


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of the graph's files, which tell one that was cut off."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("network.*"))}


def _described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _HEADER).read_text(encoding="utf-8"))


def keep(key: str, name: str, header: Header, write: Callable[[Path], None]) -> Prepared:
    """Keep under `key` the network `name` that `header` describes; `write` makes the file it is given the path of.

    Raises `ResourceError` where the cache takes no files.
    """
    place = prepared_folder() / key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making.", dir=place.parent))
    except OSError as error:
        raise _no_room(place.parent, error) from error
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
    except OSError as error:
        raise _no_room(place.parent, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    found = find(key)
    if found is None:
        raise ResourceError(f"{place}: the prepared model is gone or broken: resnetkit cache clear, then try again")
    return found


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


def batch_sizes(model: Prepared) -> dict[str, int]:
    """Return the batch sizes that were measured for the model, by what computed; none where that cannot be read."""
    try:
        kept = json.loads((model.folder / _BATCH_SIZES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: size for name, size in kept.items() if type(size) is int and size > 0} if type(kept) is dict else {}


def keep_batch_sizes(model: Prepared, sizes: Mapping[str, int]) -> None:
    """Keep measured batch sizes with the model; where the cache takes no files they are measured again next time."""
    with contextlib.suppress(OSError):
        files.write_text(model.folder / _BATCH_SIZES, json.dumps(dict(sizes)))


def _no_room(folder: Path, error: OSError) -> ResourceError:
    why = error.strerror or error
    return ResourceError(
        f"{folder}: the prepared model cannot be kept ({why}): "
        "set RESNETKIT_CACHE to another folder, or use --engine torch"
    )
