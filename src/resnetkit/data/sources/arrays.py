"""Pictures that come as arrays: MedMNIST-style .npz files, CIFAR-10 and scikit-learn's digits."""

from __future__ import annotations

import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnetkit import runtime
from resnetkit.data.classes import normal_name, several_names
from resnetkit.data.dataset import SPLITS, Item, Split
from resnetkit.errors import DataError, UsageError

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"

_ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)
# As medmnist 2.1 states them (github.com/MedMNIST/MedMNIST, medmnist/info.py).
_MEDMNIST = {
    "pathmnist": (
        *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
        *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
    ),
    "dermamnist": (
        *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions"),
        *("dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal, benign"),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}


class Arrays:
    """Pictures in memory: for each part `[N, H, W]` or `[N, H, W, 3]` uint8, or `[N, H, W]` of other numbers.

    Keys are `train/12`, or `12`.
    """

    def __init__(self, parts: dict[str, np.ndarray]) -> None:
        self._parts = parts

    def read(self, key: str) -> np.ndarray:
        """Return one picture, `[H, W]` or `[H, W, 3]` uint8, or `[H, W]` of other numbers."""
        part, _, index = key.rpartition("/")
        return self._parts[part][int(index)]


Found = tuple[Arrays, list[tuple[str, Item]]]


def read_npz(source: str) -> Found:
    """Read a MedMNIST-style .npz (`train_images`, `train_labels`, `val_images`, ...).

    Classes are the label numbers, or their published names where the file is called as MedMNIST calls it.
    Raises `DataError` for pickled, 3-D or multi-label content.
    """
    arrays = _load(source)
    parts: list[Split] = [split for split in SPLITS if f"{split}_images" in arrays]
    if not parts:
        raise DataError(f"{source}: has no array train_images; found {', '.join(arrays) or 'nothing'}")
    names = _MEDMNIST.get(Path(source).stem.split("_")[0].lower(), ())
    images: dict[str, np.ndarray] = {}
    items = []
    for part in parts:
        images[part] = _checked_images(source, f"{part}_images", arrays[f"{part}_images"])
        labels = _checked_labels(source, f"{part}_labels", arrays.get(f"{part}_labels"), len(images[part]))
        split = None if parts == ["train"] else part
        named = [names[label] if 0 <= label < len(names) else str(label) for label in labels]
        items += _items(source, f"{part}/", named, split)
    if not items:
        raise DataError(f"{source}: has no rows: its arrays hold no image")
    return Arrays(images), items


def _load(source: str) -> dict[str, np.ndarray]:
    try:
        with np.load(source, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError, TypeError) as error:
        raise DataError(f"{source}: is no readable .npz of plain arrays ({error})") from error


def _checked_images(source: str, name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    pixels = images.dtype == np.uint8 and (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3))
    if not pixels and not (images.ndim == 3 and images.dtype.kind in "iuf"):
        raise DataError(
            f"{source}: {name} is {images.dtype} {list(images.shape)}; expected uint8 [N, H, W] or [N, H, W, 3], or "
            "other numbers [N, H, W] that preprocess.windows show"
        )
    return images


def _checked_labels(source: str, name: str, labels: np.ndarray | None, count: int) -> np.ndarray:
    if labels is None:
        raise DataError(f"{source}: has no array {name}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iub":
        raise DataError(
            f"{source}: {name} is {labels.dtype} {list(labels.shape)}; expected one whole number for each of the "
            f"{count} images (data with several labels per image cannot be used)"
        )
    return labels.astype(np.int64)


# What stands for arrays that were given from Python where a source has a name.
GIVEN = "<arrays>"


def pair_of(data: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return (images, labels) where DATA is that, None where it is paths or lists of them.

    Raises `UsageError` for anything else.
    """
    if all(_is_path(one) or (isinstance(one, (list, tuple)) and all(map(_is_path, one))) for one in data):
        return None
    if len(data) == 1 and isinstance(data[0], (list, tuple)) and len(data[0]) == 2:
        return data[0][0], data[0][1]
    if len(data) == 2 and not any(map(_is_path, data)):
        raise UsageError("images and labels go together as one argument: train((X, y)), evaluate((X, y), model=...)")
    kind = type(next(one for one in data if not _is_path(one))).__name__
    raise UsageError(
        f"DATA is a path or several, or arrays as one pair of images and labels, train((images, labels)), not {kind}"
    )


def paths_of(data: Sequence[Any]) -> list[str]:
    """Return the paths of DATA that is no pair of arrays, lists of them one after the other."""
    return [os.fspath(path) for given in data for path in (given if isinstance(given, (list, tuple)) else [given])]


def _is_path(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike))


def is_array(given: Any) -> bool:
    """Tell whether something is an array of any library; pictures of Pillow, which can become one, are none."""
    return hasattr(given, "__array__") and hasattr(given, "shape")


def read_given(images: Any, labels: Any, *, several: bool = False) -> Found:
    """Take `[N, H, W]` or `[N, H, W, 3]` uint8 images, or a list of N of one shape, and N labels: numbers or names.

    Where `several`, a label may be names with `;` between them, or empty; they stay as they are.

    Raises `DataError` for arrays of other kinds, with the way out.
    """
    pixels = pixels_of(images)
    if pixels.ndim == 4 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[-1] == 3)):
        raise DataError(
            f"images must be [N, H, W] or [N, H, W, 3] uint8, not {list(pixels.shape)} {pixels.dtype}"
            f"{way_to_pixels(pixels) if pixels.ndim > 2 else ''}"
        )
    if not len(pixels):
        raise DataError("images and labels are empty: give one picture and one label at least")
    named = _names_of(_as_array(labels, "labels"), several=several)
    if len(named) != len(pixels):
        raise DataError(f"there are {len(pixels):,} images and {len(named):,} labels: each image needs one")
    return Arrays({"": pixels}), _items(GIVEN, "", named, None)


def pixels_of(images: Any) -> np.ndarray:
    """Return pictures as one array: an array of any library as it is, a list of pictures of one shape stacked."""
    if is_array(images):
        return _as_array(images, "images")
    if not isinstance(images, (list, tuple)):
        raise DataError(f"images must be an array or a list of pictures, not {type(images).__name__}")
    pictures = [_pixels_of_one(image, index) for index, image in enumerate(images)]
    other = next((index for index, one in enumerate(pictures) if one.shape != pictures[0].shape), None)
    if other is not None:
        raise DataError(
            f"images of a list must have one shape: image 0 is {list(pictures[0].shape)}, image {other} is "
            f"{list(pictures[other].shape)}; give all one size and as many channels, or save them as files"
        )
    return np.stack(pictures) if pictures else np.empty((0, 0, 0), np.uint8)


def _pixels_of_one(image: Any, index: int) -> np.ndarray:
    if _is_path(image):
        raise DataError(f"image {index} is a path: files and their labels are named in a .csv (image_path,label)")
    if isinstance(image, Image.Image) and image.mode not in ("L", "RGB"):
        raise DataError(f"image {index} is a picture of mode {image.mode}: give image.convert('RGB')")
    pixels = _as_array(image, f"image {index}")
    # Numbers in plain lists have no type of their own.
    plain = isinstance(image, (list, tuple)) and pixels.dtype == np.int64 and pixels.ndim > 1 and pixels.size > 0
    return pixels.astype(np.uint8) if plain and pixels.min() >= 0 and pixels.max() <= 255 else pixels


def _as_array(given: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError, OSError) as error:  # ragged lists, tensors on a GPU, broken pictures
        reason = " ".join(str(error).split())
        raise DataError(f"{what}: no array in main memory can be made of it ({reason})") from error


def _names_of(labels: np.ndarray, *, several: bool) -> list[str]:
    """Return labels as class names."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    values = labels.tolist()
    names = labels.ndim == 1 and all(isinstance(value, str) and (several or value.strip()) for value in values)
    if not (names or (labels.ndim == 1 and labels.dtype.kind in "iub")):
        hint = "; of one-hot rows they are labels.argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"labels must be [N] whole numbers or names, not {list(labels.shape)} {labels.dtype}{hint}")
    if names and (wrong := several_names(values, parted=several)):
        raise DataError(min(wrong.values()))
    return [normal_name(value) if isinstance(value, str) else str(int(value)) for value in values]


def way_to_pixels(array: np.ndarray) -> str:
    """Return how an array of another kind becomes pictures, as the end of a sentence."""
    channels = {3: 0, 4: 1}.get(array.ndim)
    if channels is not None and array.shape[channels] in (1, 3, 4) and array.shape[-1] not in (1, 3, 4):
        order = "1, 2, 0" if channels == 0 else "0, 2, 3, 1"
        return f"; channels come last: x.transpose({order}), of a tensor x.permute({order})"
    if array.dtype.kind == "f":
        return "; floats in [0, 1] become that by (255 * x).round().astype('uint8')"
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        return "; whole numbers up to 255 become that by x.astype('uint8'), 16 bits by (x >> 8).astype('uint8')"
    return ""


def _items(source: str, prefix: str, labels: list[str], split: Split | None) -> list[tuple[str, Item]]:
    return [
        (f"{prefix}{index}", Item(f"{source}::{prefix}{index}", (label,), split)) for index, label in enumerate(labels)
    ]


def read_digits(source: str) -> Found:
    """Return scikit-learn's 1,797 handwritten digits, 8x8 grey (it carries them; nothing is downloaded)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Arrays({"": images}), _items(source, "", [str(label) for label in digits.target], None)


def read_cifar10(source: str) -> Found:
    """Return CIFAR-10's 50,000 + 10,000 pictures; downloaded and verified once."""
    archive = fetch_cifar10()
    folder = archive.parent
    _unpack(archive, folder)
    from torchvision.datasets import CIFAR10

    images: dict[str, np.ndarray] = {}
    items = []
    for part in ("train", "test"):
        data = CIFAR10(str(folder), train=part == "train", download=False)
        images[part] = data.data
        items += _items(source, f"{part}/", [data.classes[target] for target in data.targets], part)
    return Arrays(images), items


def fetch_cifar10() -> Path:
    """Return CIFAR-10's archive in the cache, downloaded where it is not there; without torch, which takes seconds."""
    from resnetkit.data.sources.fetch import fetch

    archive = runtime.cache_folder() / "datasets" / CIFAR10_URL.rpartition("/")[2]
    ways_out = ("a folder or .zip of it as DATA", f"the archive put at {archive}")
    return fetch(CIFAR10_URL, archive, checksum=f"md5:{CIFAR10_MD5}", what="CIFAR-10", ways_out=ways_out)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside the target and rename, so that a folder that is there is complete."""
    target = folder / "cifar-10-batches-py"
    if target.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        with tarfile.open(archive) as packed:
            packed.extractall(temporary, filter="data")
        try:
            os.rename(Path(temporary) / target.name, target)
        except OSError:
            if not target.is_dir():  # otherwise another process was first
                raise


NAMED: dict[str, Callable[[str], Found]] = {"cifar10": read_cifar10, "digits": read_digits}
