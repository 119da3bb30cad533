"""The reference of a model: what its network makes of pictures that it did not learn from, in one small file.

`reference.npz` holds numbers alone: no picture, no name, no path, no digest.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit import files
from resnetkit.checking.drift.looks import looks_of
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError
from resnetkit.inference.engines import Engine

FILE = "reference.npz"
FORMAT = 1
MOST_PICTURES = 2_000
# Pixels `[n, H, W, C]`, features `[n, C]` and the group of each picture.
Batch = tuple[np.ndarray, np.ndarray, Sequence[str]]
# What engines in fp32 differ by is a hundredth of this; what an epoch of training changes is more.
_AS_EQUAL = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Pictures as one network sees them: `features` `[N, C]`, `looks` `[N, 4]`, `groups` `[N]` that belong together.

    `made`: features of pictures that `probes` makes, which tell whether a network is the one; `counts`: how many
    pictures of which part; `preprocess`: as a checkpoint has it.
    """

    features: np.ndarray = field(repr=False)
    looks: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    made: np.ndarray = field(repr=False)
    counts: Mapping[str, int]
    preprocess: Mapping[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def words(self) -> str:
        """Say what it is of: `1,200 val and 800 test pictures`."""
        return f"{' and '.join(f'{count:,} {part}' for part, count in self.counts.items())} pictures"

    def write(self, path: Path) -> None:
        """Write the file; the same reference has the same bytes."""
        about = {"format": FORMAT, "counts": dict(self.counts), "preprocess": dict(self.preprocess)}
        largest = np.finfo(np.float16).max
        arrays = {
            "about": np.array(json.dumps(about, sort_keys=True)),
            "features": np.clip(self.features, -largest, largest).astype(np.float16),
            "looks": self.looks.astype(np.float32),
            "groups": self.groups.astype(np.int32),
            "made": self.made.astype(np.float32),
        }
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():  # not by numpy.savez, which writes the time into the file
                content = io.BytesIO()
                np.lib.format.write_array(content, array, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
        with files.replacing(path) as temporary:
            temporary.write_bytes(whole.getvalue())

    def check_fits(self, engine: Engine, preprocess: Preprocess, *, name: str, file: str) -> None:
        """Raise `DataError` where it is of another network, or of pictures that are prepared in another way."""
        way_out = "give pictures like those of training with --reference DATA"
        if dict(self.preprocess) != preprocess.to_json():
            raise DataError(f"{file}: is of pictures prepared otherwise than {name} does: {way_out}")
        made = engine.logits(probes(preprocess))
        same = made.shape == self.made.shape and np.linalg.norm(made - self.made) <= _AS_EQUAL * np.linalg.norm(made)
        if not same:
            raise DataError(f"{file}: is of other weights than {name}, or of another precision: {way_out}")


def probes(preprocess: Preprocess) -> np.ndarray:
    """Return made pictures `[4, H, W, C]` as `Preprocess.pixels` gives them: coarse noise, the same everywhere."""
    height, width = preprocess.frame
    coarse = np.random.default_rng(0).integers(0, 256, (4, height // 8 + 1, width // 8 + 1, preprocess.channels))
    return coarse.astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def gathered(
    batches: Iterable[Batch], *, engine: Engine, preprocess: Preprocess, counts: Mapping[str, int] | None = None
) -> Reference:
    """Return the reference of batches of pictures; `counts`: of which part how many are, where they are of parts.

    Raises `DataError` where there is no picture, or features are not finite.
    """
    features, looks, groups = [], [], list[str]()
    for pixels, features_of_them, groups_of_them in batches:
        features.append(features_of_them)
        looks.append(looks_of(pixels))
        groups.extend(groups_of_them)
    if not features:
        raise DataError("none of the pictures of the reference can be read")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}  # by which nobody is known
    reference = Reference(
        features=np.concatenate(features), looks=np.concatenate(looks),
        groups=np.array([numbers[group] for group in groups], np.int32), made=engine.logits(probes(preprocess)),
        counts=counts or {"given": len(groups)}, preprocess=preprocess.to_json(),
    )  # fmt: skip
    if not np.isfinite(reference.features).all():
        raise DataError("the network gives features that are not finite: train it again or use another")
    return reference


def spread(count: int) -> np.ndarray:
    """Return which of `count` pictures become the reference: all, or `MOST_PICTURES` evenly among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_PICTURES)).round().astype(np.int64))


def read(path: Path) -> Reference:
    """Read the file; raises `DataError` where it is damaged or of a newer version."""
    try:
        with files.open_file(str(path)) as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("features", "looks", "groups", "made")}
            about = json.loads(str(stored["about"]))
        if about["format"] > FORMAT:
            raise DataError(f"{path}: was written by a newer version of ResNetKit, which reads it")
        arrays["features"] = arrays["features"].astype(np.float32)
        count = len(arrays["features"])
        if {len(arrays["looks"]), len(arrays["groups"])} != {count} or arrays["features"].ndim != 2:
            raise ValueError("its parts do not fit each other")
        return Reference(**arrays, counts=about["counts"], preprocess=about["preprocess"])
    except DataError:
        raise
    except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: is no reference, or damaged ({error}): make it again by watch with --reference DATA "
            "--save-reference FILE, DATA being pictures that the network did not learn from"
        ) from error


def is_reference(path: Path) -> bool:
    """Tell whether a file is a reference, and not pictures as `.npz`; of one that is cut off its reading says so."""
    try:
        with files.open_file(str(path)) as file, zipfile.ZipFile(file) as archive:
            return {"about.npy", "made.npy"} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return path.suffix == ".npz"
    except OSError:
        return False
