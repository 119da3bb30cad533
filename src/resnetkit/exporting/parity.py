"""Does the export answer as the model does? Both see the same files, each from the first byte on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image

from resnetkit.data.opening import images
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.exporting.standalone.pictures import read

# Of float32 probabilities whose pixels agree within one grey level.
TOLERANCE = 1e-3
MODES = ("RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "turned by EXIF")


Verdict = Literal["same", "tie", "other"]
# How the export's `[K]` probabilities, the second, answer as the model's, the first, do.
Differ = Callable[[np.ndarray, np.ndarray], Verdict]


def by_first_class(wanted: np.ndarray, answered: np.ndarray) -> Verdict:
    """Tell whether the most probable class is the same; it may be another that is as probable within the tolerance."""
    first, second = int(wanted.argmax()), int(answered.argmax())
    if first == second:
        return "same"
    return "tie" if wanted[first] - wanted[second] <= TOLERANCE else "other"


def by_labels(at: np.ndarray) -> Differ:
    """Return what tells whether the labels are the same, for their thresholds `[K]`."""

    def differ(wanted: np.ndarray, answered: np.ndarray) -> Verdict:
        others = (wanted >= at) != (answered >= at)
        if not others.any():
            return "same"
        return "tie" if (abs(wanted - at)[others] <= TOLERANCE).all() else "other"

    return differ


@dataclass(kw_only=True, slots=True)
class Parity:
    """What was compared and how far apart the two are; `largest_difference` is one of probabilities, in [0, 1].

    `same_top1`: pictures of the same answer, the first class or all labels; `ties`: those whose answers differ since
    two probabilities, or one and its threshold, are equal within the tolerance.
    """

    pictures: int = 0
    largest_difference: float = 0.0
    same_top1: int = 0
    ties: list[str] = field(default_factory=list)
    different_top1: list[str] = field(default_factory=list)
    largest_pixel_difference: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `parity.json`."""
        return {
            "pictures": self.pictures,
            "tolerance": TOLERANCE,
            "largest_difference": round(self.largest_difference, 7),
            "same_top1": self.same_top1,
            "ties": self.ties,
            "different_top1": self.different_top1,
            "decoded_pixels_differ_by_at_most": self.largest_pixel_difference,
            "tested_modes": dict(self.modes),
            "untested_modes": [mode for mode in MODES if mode not in self.modes],
            "unreadable": self.unreadable,
        }

    def check(self) -> None:
        """Raise `DataError` where the two disagree: a picture with another answer, or by more than `TOLERANCE`."""
        if self.pictures == 0:
            raise DataError("no picture could be read to compare the export with the model: give others with --images")
        if self.different_top1 or self.largest_difference > TOLERANCE:
            worst = f"; another answer for {self.different_top1[0]}" if self.different_top1 else ""
            raise DataError(
                f"the export answers differently: probabilities differ by up to {self.largest_difference:.4f}{worst}; "
                "nothing was written. Please report it, with this picture if you can"
            )


def compare(
    pictures: Iterable[tuple[str, bytes]],
    *,
    reference: Callable[[np.ndarray], np.ndarray],
    exported: Callable[[np.ndarray], np.ndarray],
    preprocess: Preprocess,
    differ: Differ = by_first_class,
) -> Parity:
    """Compare the two on picture files, given as name and content.

    `reference` maps `[1, S, S, C] uint8` pixels to `[K]` probabilities, and reads the file as this package does;
    `exported` maps a decoded `[H, W, C] uint8` picture to them, and reads it as the export's `predict.py` does.
    `differ` tells how two answers differ.
    """
    parity = Parity()
    for name, content in pictures:
        try:
            image = images.decode(images.of_page(content, name=name, page=preprocess.page), name=name)
            theirs = read(content, preprocess.channels, preprocess.depth, preprocess.page)
            assert isinstance(image, Image.Image), "`read` refuses more bands than colours"
        except (ResNetKitError, OSError, SyntaxError, ValueError):
            parity.unreadable.append(name)
            continue
        parity.modes[image.mode] += 1
        parity.modes["turned by EXIF"] += image.getexif().get(0x0112, 1) in range(2, 9)
        _add(parity, name, image, theirs, reference, exported, preprocess, differ)
    parity.modes += Counter()  # drops zeros
    return parity


def _add(
    parity: Parity, name: str, image: Image.Image, theirs: np.ndarray,
    reference: Callable[[np.ndarray], np.ndarray], exported: Callable[[np.ndarray], np.ndarray], preprocess: Preprocess,
    differ: Differ,
) -> None:  # fmt: skip
    decoded = np.asarray(preprocess.convert(image)).reshape(theirs.shape).astype(int)
    wanted, answered = reference(preprocess.pixels(image)[None]), exported(theirs)
    parity.pictures += 1
    parity.largest_pixel_difference = max(parity.largest_pixel_difference, int(abs(decoded - theirs).max()))
    parity.largest_difference = max(parity.largest_difference, float(abs(wanted - answered).max()))
    verdict = differ(wanted, answered)
    parity.same_top1 += verdict == "same"
    if verdict != "same":
        (parity.ties if verdict == "tie" else parity.different_top1).append(name)
