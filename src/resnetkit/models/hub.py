"""Published weights as verified files in torch's hub cache; needs no torch."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from resnetkit.data.sources.fetch import fetch
from resnetkit.errors import ResourceError
from resnetkit.models.catalog import Purpose, WeightsRecord
from resnetkit.runtime import cache_folder, system_cache
from resnetkit.watcher import Count


def hub_folder() -> Path:
    """Return the folder where torch keeps published weights, as `torch.hub` works it out."""
    return Path(os.environ.get("TORCH_HOME") or system_cache() / "torch").expanduser() / "hub" / "checkpoints"


def fetch_weights(record: WeightsRecord, progress: Count | None = None, *, purpose: Purpose = "accuracy") -> Path:
    """Return the verified file of published weights, downloading it into torch's hub cache where it is not there yet.

    Where that takes no files, as in a home that is read-only, it goes to our own cache. Raises `NetworkError` with the
    ways out when it cannot be had.
    """
    if record.path is not None:
        return record.path
    try:
        return _fetched(record, hub_folder(), progress, purpose)
    except ResourceError:
        return _fetched(record, cache_folder() / "weights", progress, purpose)


def _fetched(record: WeightsRecord, folder: Path, progress: Count | None, purpose: Purpose) -> Path:
    assert record.url, f"{record.name} is neither bundled nor anywhere"
    assert record.checksum, f"{record.name} has no checksum"
    return fetch(
        record.url,
        folder / PurePosixPath(urlsplit(record.url).path).name,
        checksum=record.checksum,
        what=f"the weights {record.name}",
        progress=progress,
        ways_out=(
            f"`resnetkit download {record.name} --output FILE` on a computer with a network",
            "--weights FILE for a file you have",
            *(("--weights none to start without",) if purpose == "transfer" else ()),
        ),
    )
