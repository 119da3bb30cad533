"""Objects cut out of their pictures into a folder per class: pictures to train a classifier on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from resnetkit.data.marks import Box
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.sorting import class_folders, hidden_file, place
from resnetkit.words import counted

# The picture that a crop is from is in its name: such pictures belong on one side of a split.
GROUP_BY = r"([^/]+)-[0-9]+(?:_[0-9]+)?\.png$"


@dataclass(frozen=True, slots=True)
class Crops:
    """A folder that gets the objects of a detector of `classes`; `counts` how many of each there are by now."""

    directory: Path
    classes: Sequence[str]
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, prediction: Prediction, picture: Image.Image, name: str) -> None:
        """Cut the objects of a prediction out of its upright `picture`, into `<class>/<name>-<number>.png`.

        The pixels are the original's, and the numbers those of the objects in CSV. Every file appears whole; a name
        that is taken gets another number, and a file that already holds the same crop stays.
        """
        folders = class_folders(self.classes)
        for number, one in enumerate(prediction.objects or (), start=1):
            folder = self.directory / folders[one.label]
            save_png(picture.crop(_pixels_of(one.box, picture.size)), folder, f"{name}-{number}.png")
            self.counts[one.label] += 1

    def __str__(self) -> str:
        crops = f"{counted(self.counts.total(), 'crop')} in {counted(len(self.counts), 'folder')} of {self.directory}"
        if len(self.counts) < 2:
            return crops
        return (
            f"{crops}; a classifier of them: resnetkit train {shlex.quote(str(self.directory))} --group-by '{GROUP_BY}'"
        )


def save_png(picture: Image.Image, folder: Path, name: str) -> Path:
    """Write a picture to `folder` under a name that is free, or that holds the same picture already."""
    folder.mkdir(parents=True, exist_ok=True)
    with hidden_file(folder) as temporary:
        # Through an array: what a file said about itself (colour profile, resolution) is not that of its crops.
        Image.fromarray(np.asarray(picture)).save(temporary, format="PNG")
        temporary.chmod(0o644)
        return place(temporary, folder, name)


def _pixels_of(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the pixels (left, top, right, bottom) that a box covers, at least one.

    >>> _pixels_of((9.6, -0.2, 10.1, 0.3), (10, 10))
    (9, 0, 10, 1)
    """
    left, top = (min(max(round(edge), 0), side - 1) for edge, side in zip(box[:2], size, strict=True))
    right, bottom = (min(round(edge), side) for edge, side in zip(box[2:], size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)
