"""One self-describing file: a safetensors file whose metadata says what the network is. Reading that needs no torch."""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResNetKitError, ResourceError, UsageError
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnetkit.models.resnet import ResNet

FORMAT = 1
METADATA_KEY = "resnetkit"
# The safetensors format itself caps its header at 100 MB.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a checkpoint says about itself, as `docs/` and the design list it.

    `classes` in the order of the logits, NFC, unique ignoring case; `aliases` other names of classes (such as WordNet
    ids) to their class; `metrics` as in metrics.json; `decision` the temperature and threshold; `data` counts and a
    fingerprint; `license` what is known about the weights' licence, in words; `version` of the package that wrote it.
    """

    spec: ResNetSpec
    classes: tuple[str, ...]
    preprocess: Preprocess
    format: int = FORMAT
    task: str = "classification"
    aliases: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    version: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(unicodedata.normalize("NFC", name) for name in self.classes))
        if len({name.casefold() for name in self.classes}) != len(self.classes):
            twice = _first_double(self.classes)
            raise DataError(f"the class {twice!r} is there twice: class names must be unique, ignoring case")
        if self.task == "classification" and len(self.classes) != self.spec.num_classes:
            raise DataError(f"{len(self.classes)} class names for a network of {self.spec.num_classes} classes")
        if self.preprocess.channels != self.spec.in_channels:
            raise DataError(
                f"preprocessing makes {self.preprocess.channels} channels, the network reads {self.spec.in_channels}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return plain | {
            "spec": self.spec.to_json(),
            "preprocess": self.preprocess.to_json(),
            "classes": list(self.classes),
            **{name: dict(plain[name]) for name in ("aliases", "metrics", "decision", "recipe", "data")},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Header:
        """Read what `to_json` wrote; raises `DataError` for a newer format or missing fields."""
        values = dict(values)
        if values.get("format") != FORMAT:
            raise DataError(
                f"it has checkpoint format {values.get('format')!r}, this version reads {FORMAT}: upgrade resnetkit"
            )
        known = {item.name for item in fields(cls)}
        missing = {"spec", "classes", "preprocess"} - set(values)
        if missing or set(values) - known:
            raise DataError(
                f"its description lacks {sorted(missing)} and has unknown fields {sorted(set(values) - known)}: "
                "make it again, or upgrade resnetkit"
            )
        values["spec"] = ResNetSpec.from_json(values["spec"])
        values["preprocess"] = Preprocess.from_json(values["preprocess"])
        values["classes"] = tuple(values["classes"])
        return cls(**values)


def _first_double(names: tuple[str, ...]) -> str:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    raise AssertionError("no name is there twice")


def read_header(path: str | Path) -> Header:
    """Read what the checkpoint at `path` says about itself, without torch and without its tensors.

    Raises `DataError` for a file that is no checkpoint of ours, is cut short or comes from a newer version.
    """
    path = Path(path)
    metadata = read_safetensors_header(path).get("__metadata__", {})
    if METADATA_KEY not in metadata:
        raise DataError(
            f"{path}: a safetensors file without ResNetKit's description (foreign weights); "
            f"as weights to start from it works: --weights {path}"
        )
    try:
        return Header.from_json(json.loads(metadata[METADATA_KEY]))
    except ResNetKitError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: its description is damaged ({error}); fetch or copy it again") from error


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


def is_checkpoint(path: Path) -> bool:
    """Tell whether the file is a checkpoint of this package; raises as `read_safetensors_header` does."""
    if first_bytes(path, 9)[8:] != b"{":
        return False
    return METADATA_KEY in read_safetensors_header(path).get("__metadata__", {})


def _parsed_header(path: Path, text: bytes, size: int) -> dict[str, Any]:
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + len(text) + max(ends, default=0)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: its safetensors header is damaged; fetch or copy it again") from error
    if size != expected:
        what = "cut short" if size < expected else "longer than it says"
        raise DataError(f"{path}: {what} ({size:,} of {expected:,} bytes); fetch or copy it again")
    return header


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


def save(path: str | Path, network: nn.Module | Mapping[str, Tensor], header: Header) -> None:
    """Write the tensors of `network` (or a state dict) and `header` to `path`, atomically, dtypes as they are.

    The same tensors and header give the same bytes. Raises `ResourceError` when the disk does not take it.
    """
    from safetensors.torch import save as to_bytes

    state = network if isinstance(network, Mapping) else network.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # One metadata key alone: the order of several is not fixed, and the bytes shall be.
    text = json.dumps(header.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False)
    try:
        with files.replacing(Path(path)) as temporary:
            # Written by us, not by save_file: what the disk refuses is then an OSError that says why.
            temporary.write_bytes(to_bytes(tensors, metadata={METADATA_KEY: text}))
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def load(path: str | Path) -> tuple[ResNet, Header]:
    """Build the network of the checkpoint at `path`, in evaluation mode and fp32, and return it with its header.

    Raises `DataError` for a file that is no checkpoint of ours or is damaged.
    """
    from safetensors.torch import load_file

    from resnetkit.models.resnet import without_values

    header = read_header(path)
    network = without_values(header.spec)
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise DataError(f"{path}: its tensors are not those it describes; fetch or make it again") from error
    return network.eval(), header
