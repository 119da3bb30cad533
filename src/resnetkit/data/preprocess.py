"""Everything between a decoded image and the tensor a network reads, defined once for every part of the package."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from resnetkit.data.frames import ONE, normal
from resnetkit.data.opening import images, windows
from resnetkit.data.opening.images import Opened, Shown
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.opening.measured import Measured
from resnetkit.data.shape import can_crop, check_shape
from resnetkit.data.view import View
from resnetkit.errors import DataError, UsageError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

Crop = Literal["center", "pad", "squash"]
MOST_BANDS = 64

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """Turn a picture into `[height, width, channels]` uint8 pixels, and say how those are normalised.

    The pixels have a `frame` of `size` x `size`, or of `size` (height) x `width` where that is given. `crop="center"`:
    the shorter side becomes `resize`, then the middle `size` x `size` is cut out (padded with black when `size` exceeds
    `resize`), as torchvision's `ImageClassification` preset does; `"pad"`: the longer side becomes `size` and the rest
    is filled with black; `"squash"`: both sides become `size`. Of a frame with a `width` the same is meant in its own
    aspect: the picture covers it (`resize` is then its height), fits into it, or becomes it. Pillow's resize is the
    reference; it always antialiases, and `antialias` records that for exports. `depth`: the bits that 16-bit images use
    (None: the smallest of 8, 10, 12, 14, 16 that holds the image's own maximum). `page`: which of a file's pages or
    frames, counted from 1; `frames`: `all`, or `every 5`, where each is a picture of its own. `windows`: which measured
    values are black and white (`opening.windows`), of DICOM's greys and of 16-bit greys: names, centre and width, or
    `file`; several are the channels; without any that of each DICOM file. `mean` and `std` are in units of [0, 1].
    """

    resize: int = 256
    size: int = 224
    width: int | None = None
    crop: Crop = "center"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    channels: int = 3
    depth: int | None = None
    page: int = 1
    frames: str = ONE
    windows: tuple[str, ...] = ()
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        object.__setattr__(self, "windows", windows.all_normal(self.windows))
        if self.size < 1 or self.resize < 1:
            raise UsageError(f"image size must be at least 1 pixel, not {self.size} (resize {self.resize})")
        if self.width is not None and self.width < 1:
            raise UsageError(f"image size must be at least 1 pixel, not {self.size}x{self.width}")
        if self.width == self.size:
            object.__setattr__(self, "width", None)
        if self.crop not in ("center", "pad", "squash"):
            raise UsageError(f"unknown crop {self.crop!r}: choose center, pad, squash")
        if self.interpolation not in _RESAMPLING:
            raise UsageError(f"unknown interpolation {self.interpolation!r}: choose bilinear, bicubic")
        if not self.antialias:
            raise UsageError("antialias=False is not supported: Pillow's resize is the reference")
        if not 1 <= self.channels <= MOST_BANDS:
            raise UsageError(
                f"channels must be 1 (grey), 3 (RGB) or the number of a TIFF's bands, at most {MOST_BANDS}, "
                f"not {self.channels}"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(f"mean and std need {self.channels} values each")
        if not all(value > 0 for value in self.std):
            raise UsageError(f"std must be above 0, not {self.std}")
        if self.depth is not None and not 8 <= self.depth <= 16:
            raise UsageError(f"depth must be 8 to 16 bits, not {self.depth}")
        if type(self.page) is not int or self.page < 1:
            raise UsageError(f"page must be a whole number from 1 on, not {self.page!r}")
        object.__setattr__(self, "frames", normal(self.frames))
        if self.page > 1 and self.frames != ONE:
            raise UsageError(f"preprocess.page={self.page} is one frame, and preprocess.frames several: leave one out")
        if len(self.windows) > 1 and len(self.windows) != self.channels:
            raise UsageError(
                f"{len(self.windows)} windows are {len(self.windows)} channels, not {self.channels}: "
                f"--set preprocess.channels={len(self.windows)}"
            )

    @classmethod
    def for_size(cls, size: int, *, width: int | None = None, channels: int = 3) -> Preprocess:
        """Return the preprocessing for networks trained at `size`: resize 8/7 of it from 96 pixels, else the size."""
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.25,) * channels)
        return cls(
            size=size,
            width=width,
            resize=round(size * 256 / 224) if size >= 96 else size,
            channels=channels,
            mean=mean,
            std=std,
        )

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the pixels."""
        return self.size, self.size if self.width is None else self.width

    @property
    def sides(self) -> str:
        """The frame in words.

        >>> Preprocess().sides, Preprocess(size=36, width=96).sides
        ('224', '36x96')
        """
        return f"{self.size}" if self.width is None else f"{self.size}x{self.width}"

    def scaled(self, height: int) -> tuple[int, int]:
        """Return the frame enlarged or made smaller to this height, at least one pixel wide."""
        return height, max(1, round(height * self.frame[1] / self.size))

    def pixels(self, image: Opened) -> np.ndarray:
        """Return `[height, width, channels]` uint8: upright, converted, resized and cropped.

        Raises `DataError` where the mode or the shape cannot be used.
        """
        return np.ascontiguousarray(_with_channels(self._fit(self.convert(image))))

    def whole(self, image: Opened, *, side: int) -> np.ndarray:
        """Return `[h, w, channels]` uint8 of the whole picture for training crops: never enlarged; see `whole_size`."""
        shown = self.convert(image)
        size = self.whole_size(shown.size, side=side)
        if size != shown.size:
            shown = self._resized(shown, size)
        return np.ascontiguousarray(_with_channels(shown))

    def whole_size(self, size: tuple[int, int], *, side: int) -> tuple[int, int]:
        """Return (width, height) of a whole picture made smaller to `side`, of frames with a width their height.

        Of square frames that is its shorter side where the crop cuts the middle out, its longer one where it pads, both
        where it squashes; where it squashes not, the aspect is kept.

        >>> [Preprocess(crop=crop).whole_size((900, 300), side=258) for crop in ("center", "pad", "squash")]
        [(774, 258), (258, 86), (258, 258)]
        """
        (width, height), (down, across) = size, self.scaled(side)
        if self.crop == "squash":
            return min(width, across), min(height, down)
        if self.crop == "pad":
            return _fitted(size, (down, across)) if width > across or height > down else size
        return _covering(size, (down, across)) if width > across and height > down else size

    def convert(self, image: Opened) -> Shown:
        """Return the picture upright and in mode RGB or L, or its bands with 8 bits each.

        `images` documents the rule of each mode. Raises `DataError` for another number of bands than `channels`, and
        for measured values that need a window and have none.
        """
        if self.windows or isinstance(image, Measured):
            image = images.measured_values(image).windowed(self.windows)
        if isinstance(image, ManyBands) and image.count == self.channels:
            return image.eight_bits(depth=self.depth)
        if self.channels not in (1, 3):
            has = image.count if isinstance(image, ManyBands) else len(image.getbands())
            raise DataError(f"the picture has {has} bands, not {self.channels}, as preprocess.channels says")
        return images.convert(image, mode="RGB" if self.channels == 3 else "L", depth=self.depth)

    def _resized(self, image: Shown, size: tuple[int, int]) -> Shown:
        """Resize to (width, height), always across first and then down.

        Pillow does so up to version 12; from 13 on it goes down first where that shrinks a picture far more, and both
        round to whole grey levels in between: one level of difference, and up to 14 for bicubic at sharp edges.
        """
        resampling = _RESAMPLING[self.interpolation]
        if image.width != size[0] and image.height > size[1]:
            image = image.resize((size[0], image.height), resampling)
        return image.resize(size, resampling)

    def _fit(self, image: Shown) -> Shown:
        size = self._new_size(image.size)
        if self.crop != "center":
            return _center_crop(self._resized(image, size), self.frame)
        if size != image.size:
            check_shape(*image.size, crop=self.crop, resize=self.resize, frame=self.frame)
            image = self._resized(image, size)
        return _center_crop(image, self.frame)

    def _new_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (width, height) to which a picture of this (width, height) is resized before it is cut or padded."""
        if self.crop == "squash":
            return self.frame[1], self.frame[0]
        return _fitted(size, self.frame) if self.crop == "pad" else _covering(size, self.scaled(self.resize))

    def can_crop(self, width: int, height: int) -> bool:
        """Tell whether `pixels` takes a picture of this size: a strip enlarged to `resize` would fill the memory."""
        return can_crop(width, height, crop=self.crop, resize=self.resize, frame=self.frame)

    def seen(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the box (left, top, right, bottom) of an upright picture that `pixels` shows, in its own pixels.

        Where `pixels` adds black, the box reaches outside of the picture.

        >>> Preprocess(resize=256, size=224).seen(1024, 512), Preprocess(size=224, crop="pad").seen(200, 100)
        ((288, 32, 736, 480), (0, -50, 200, 150))
        """
        (left, top), (right, bottom) = self.view(width, height).back([[0, 0], self.frame[::-1]])
        return round(left), round(top), round(right), round(bottom)

    def view(self, width: int, height: int) -> View:
        """Return where the pixels that `pixels` makes of an upright picture of this size lie on it."""
        across, down = self._new_size((width, height))
        left, top = _middle(across, self.frame[1]), _middle(down, self.size)
        resized = View.whole(width, height).resized(height=down, width=across)
        return resized.cropped(top=top, left=left, height=self.size, width=self.frame[1])

    def left_out(self, width: int, height: int) -> float:
        """Return the share of a picture's area that `pixels` does not show.

        >>> Preprocess(size=32, resize=32).left_out(96, 36), Preprocess(crop="pad").left_out(96, 36)
        (0.625, 0.0)
        """
        if self.crop != "center":
            return 0.0
        share, of = min(1.0, self.size / self.resize), self.frame[1] / self.size
        return 1 - min(height, width / of) * share * min(width, height * of) * share / (width * height)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        plain = asdict(self) | {name: list(getattr(self, name)) for name in ("mean", "std", "windows")}
        # Left out, so that older versions read what they know.
        usual: dict[str, Any] = {"width": None, "page": 1, "frames": ONE, "windows": []}
        return {name: value for name, value in plain.items() if name not in usual or value != usual[name]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocess:
        """Read what `to_json` wrote; raises `DataError` for unknown fields and for values that make no sense."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise DataError(
                f"preprocessing has unknown fields {sorted(unknown)}: a newer version wrote it; upgrade resnetkit"
            )
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise DataError(f"preprocessing is broken: {error}") from error

    def changed(self, **changes: Any) -> Preprocess:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def _fitted(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (width, height) within a frame: at least one pixel, halves up (whole numbers, so exactly)."""
    (width, height), (down, across) = size, frame
    length, side = (width, across) if width * down >= height * across else (height, down)
    width, height = (max(1, (2 * each * side + length) // (2 * length)) for each in size)
    return width, height


def _covering(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (width, height) that covers a frame; the longer side is truncated, as torchvision does."""
    (width, height), (down, across) = size, frame
    if width * down <= height * across:
        return across, max(1, int(across * height / width))
    return max(1, int(down * width / height)), down


def _center_crop(image: Shown, frame: tuple[int, int]) -> Shown:
    """Cut out the middle, padding with black first where the image is smaller (torchvision `center_crop`)."""
    left, top = _middle(image.width, frame[1]), _middle(image.height, frame[0])
    return image.crop((left, top, left + frame[1], top + frame[0]))


def _middle(length: int, size: int) -> int:
    """Return where the middle of a side begins; before its first pixel where the side is shorter than `size`."""
    return round((length - size) / 2.0) if length >= size else -((size - length) // 2)


def _with_channels(image: Shown) -> np.ndarray:
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
