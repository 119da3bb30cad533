"""One self-describing file: a safetensors file whose metadata says what the network is. Reading that needs no torch."""

from __future__ import annotations

import json
import re
import shutil
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit import files
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResNetKitError, ResourceError, UsageError
from resnetkit.models.choice import choice_in
from resnetkit.models.decision import Decision
from resnetkit.models.detection.spec import BODY, DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.safetensors_file import first_bytes, header_bytes, read_safetensors_header, write_safetensors
from resnetkit.models.seen import Seen
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.thresholds import Thresholds

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnetkit.models.building import Network

FORMAT = 2
_READ = (1, FORMAT)  # the first had no `trained_on`, and refused keys that it did not know
METADATA_KEY = "resnetkit"
CLASSIFICATION = "classification"
MULTILABEL = "multilabel"
DETECTION = "detection"
TASKS = (CLASSIFICATION, MULTILABEL, DETECTION)
Spec = ResNetSpec | DetectorSpec
Deciding = Decision | Thresholds | Sureness
_DECISIONS: Mapping[str, type[Deciding]] = {
    CLASSIFICATION: Decision, MULTILABEL: Thresholds, DETECTION: Sureness,
}  # fmt: skip
_TABLES = ("aliases", "metrics", "recipe", "data", "chosen")
# Sides of pictures in pixels; more is a slip or a damaged file, and takes all memory.
MAX_IMAGE_SIZE = 16_384
_FLOATING = ("F32", "F16", "BF16", "F64")
_NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a checkpoint says about itself, as `docs/` and the design list it.

    `spec`, `classes`, `preprocess` and `decision` are what the task makes of them: `spec` is a detector's where it is
    detection. `classes` in the order of the logits, NFC, unique ignoring case, none for a trunk; `aliases` other names
    of classes (such as WordNet ids) to their class; `metrics` as in metrics.json; `decision` how logits become an
    answer; `data` counts and a fingerprint; `trained_on` what the weights and their ancestors have seen; `license` what
    is known about the weights' licence: a line in words, below it the text of one that copies must carry; `version` of
    the package that wrote it; `chosen` which epoch it is and what chose it (`choice.Choice`), empty in older files;
    `more` keys that a later version wrote, which are kept.
    """

    spec: Spec
    classes: tuple[str, ...]
    preprocess: Preprocess
    task: str = CLASSIFICATION
    aliases: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    decision: Deciding = field(default_factory=Decision)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    trained_on: Seen = field(default_factory=Seen)
    license: str | None = None
    version: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_fields(self)
        object.__setattr__(self, "classes", tuple(unicodedata.normalize("NFC", name) for name in self.classes))
        if len({name.casefold() for name in self.classes}) != len(self.classes):
            twice = _first_double(self.classes)
            raise DataError(f"the class {twice!r} is there twice: class names must be unique, ignoring case")
        if isinstance(self.spec, DetectorSpec) != (self.task == DETECTION):
            raise DataError(f"its task is {self.task}, and its network is one for another task")
        if len(self.classes) != self.spec.num_classes:
            raise DataError(f"{len(self.classes)} class names for a network of {self.spec.num_classes} classes")
        if self.preprocess.channels != self.spec.in_channels:
            raise DataError(
                f"preprocessing makes {self.preprocess.channels} channels, the network reads {self.spec.in_channels}"
            )

    @property
    def resnet(self) -> ResNetSpec:
        """The network of a model that names pictures; raises `UsageError` for one that finds objects."""
        self.check_names_pictures()
        assert not isinstance(self.spec, DetectorSpec)
        return self.spec

    def check_names_pictures(self) -> None:
        """Raise `UsageError` for a model that finds objects."""
        if isinstance(self.spec, DetectorSpec):
            raise UsageError("this model finds objects, and that is for models that name pictures")

    @property
    def license_in_short(self) -> str:
        """The licence in a line."""
        return (self.license or "not stated").partition("\n")[0]

    @property
    def license_text(self) -> str:
        """The text that copies of the weights must carry, empty where none is known."""
        return (self.license or "").partition("\n")[2].lstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "more"}
        return {
            **self.more,
            "format": FORMAT,
            **plain,
            "spec": self.spec.to_json(),
            "preprocess": self.preprocess.to_json(),
            "decision": self.decision.to_json(),
            "trained_on": self.trained_on.to_json(),
            "classes": list(self.classes),
            **{name: dict(plain[name]) for name in _TABLES},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Header:
        """Read what `to_json` wrote, here or in an older version, with keys that this one does not know.

        Raises `DataError` for a newer format, another task and missing fields.
        """
        values = dict(values)
        if values.pop("format", None) not in _READ:
            raise DataError("it has a checkpoint format that is newer than this version: upgrade resnetkit")
        if (task := values.get("task", CLASSIFICATION)) not in TASKS:
            raise DataError(f"it is for the task {task!r}, this version knows {', '.join(TASKS)}: upgrade resnetkit")
        if missing := {"spec", "classes", "preprocess"} - set(values):
            raise DataError(f"its description lacks {', '.join(sorted(missing))}: make it again")
        known = {item.name for item in fields(cls)} - {"more"}
        values["more"] = {name: values.pop(name) for name in set(values) - known}
        values["spec"] = spec_from_json(values["spec"])
        values["preprocess"] = Preprocess.from_json(values["preprocess"])
        if not isinstance(values["classes"], list):
            raise DataError(f"its classes must be a list of texts, not {type(values['classes']).__name__}")
        values["classes"] = tuple(values["classes"])
        values["decision"] = _DECISIONS[task].from_json(_table(values, "decision"))
        values["trained_on"] = Seen.from_json(_table(values, "trained_on"))
        return cls(**values)


def spec_from_json(values: Mapping[str, Any]) -> Spec:
    """Read what the `to_json` of a network's spec wrote; a detector's has a backbone."""
    return (DetectorSpec if "backbone" in values else ResNetSpec).from_json(dict(values))


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, Mapping):
        raise DataError(f"its {name} must be a table, not {table!r:.80}")
    return table


def _check_fields(header: Header) -> None:
    """Refuse values of types that would fail, or mislead, only where they are used."""
    for name in _TABLES:
        if not isinstance(getattr(header, name), Mapping):
            raise DataError(f"its {name} must be a table, not {getattr(header, name)!r:.80}")
    texts = {"classes": header.classes, "aliases": header.aliases.values(), "version": [header.version]}
    for name, values in (texts | {"license": [header.license or ""]}).items():
        if not all(isinstance(value, str) for value in values):
            raise DataError(f"its {name} must be text, not {list(values)!r:.80}")
    for name in ("size", "resize", "width"):
        value = getattr(header.preprocess, name)
        if name == "width" and value is None:
            continue
        if type(value) is not int or value > MAX_IMAGE_SIZE:
            raise DataError(f"its preprocess.{name} must be a whole number up to {MAX_IMAGE_SIZE}, not {value!r}")
    side = header.data.get("picture_side", 1)
    if type(side) is not int or side < 1:
        raise DataError(f"its data.picture_side must be a whole number of pixels, not {side!r:.40}")
    choice_in(header.chosen)


def _first_double(names: tuple[str, ...]) -> str:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    raise AssertionError("no name is there twice")


def read_header(path: str | Path) -> Header:
    """Read what the checkpoint at `path` says about itself, without torch and without its tensors.

    Raises `DataError` for a file that is no checkpoint of ours, is cut short, comes from a newer version or is for
    another task.
    """
    path = Path(path)
    described = read_description(path)
    try:
        return Header.from_json(described)
    except ResNetKitError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error


def read_description(path: str | Path) -> dict[str, Any]:
    """Return the JSON of a checkpoint of any task and version; raises `DataError` where there is none."""
    path = Path(path)
    metadata = read_safetensors_header(path).get("__metadata__", {})
    if METADATA_KEY not in metadata:
        raise DataError(
            f"{path}: a safetensors file without ResNetKit's description (foreign weights); "
            f"as weights to start from it works: --weights {path}"
        )
    try:
        return dict(json.loads(metadata[METADATA_KEY]))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: its description is damaged ({error}); fetch or copy it again")


def is_checkpoint(path: Path) -> bool:
    """Tell whether the file is a checkpoint of this package; raises as `read_safetensors_header` does."""
    if first_bytes(path, 9)[8:] != b"{":
        return False
    return METADATA_KEY in read_safetensors_header(path).get("__metadata__", {})


def save(path: str | Path, network: nn.Module | Mapping[str, Tensor], header: Header) -> None:
    """Write the tensors of `network` (or a state dict) and `header` to `path`, atomically, dtypes as they are.

    The same tensors and header give the same bytes. Raises `ResourceError` when the disk does not take it.
    """
    state = network if isinstance(network, Mapping) else network.state_dict()
    text = json.dumps(header.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False)
    try:
        with files.replacing(Path(path)) as temporary:
            write_safetensors(temporary, state, {METADATA_KEY: text})
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def save_copy(source: str | Path, path: str | Path, header: Header) -> None:
    """Write the checkpoint at `source` to `path` with another header: its tensors byte for byte, without torch.

    Raises `DataError` for a damaged source or another network, `ResourceError` when the disk does not take it.
    """
    source, path = Path(source), Path(path)
    described = read_safetensors_header(source)
    _check_tensors(source, header.spec)
    start = 8 + struct.unpack("<Q", first_bytes(source, 8))[0]
    text = json.dumps(header.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False)
    described["__metadata__"] = described["__metadata__"] | {METADATA_KEY: text}
    try:
        with files.replacing(path) as temporary, open(source, "rb") as old, open(temporary, "wb") as new:
            new.write(header_bytes(described))
            old.seek(start)
            shutil.copyfileobj(old, new)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def load(path: str | Path) -> tuple[Network, Header]:
    """Build the network of the checkpoint at `path`, in evaluation mode and fp32, and return it with its header.

    Raises `DataError` for a file that is no checkpoint of ours or is damaged.
    """
    from resnetkit.models.building import without_values

    path = Path(path)
    header = read_header(path)
    _check_tensors(path, header.spec)
    network = without_values(header.spec)
    try:
        network.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise DataError(f"{path}: its tensors are not those it describes; fetch or make it again") from error
    return network.eval(), header


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of any safetensors file; raises `DataError` for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_safetensors_header(path)
    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:  # The KeyError is a dtype that this torch has not.
        raise DataError(f"{path}: its tensors are damaged ({error}); fetch or copy it again") from error


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of any safetensors file as NumPy arrays, without torch; bf16 and fp16 become fp32.

    Raises `DataError` for a damaged file and for a type of numbers that NumPy has not.
    """
    entries = read_safetensors_header(path)
    entries.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + struct.unpack("<Q", first_bytes(path, 8))[0]) if entries else None
    arrays = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        dtype = _NUMPY_TYPES.get(entry["dtype"])
        if dtype is None:
            raise DataError(f"{path}: {name} holds {entry['dtype']}, which is not read; make it again in F32")
        values = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"]) if data is not None else np.empty(0)
        if entry["dtype"] == "BF16":  # the upper half of an fp32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        arrays[name] = values.astype(np.float32) if entry["dtype"] == "F16" else values
    return arrays


def _check_tensors(path: Path, spec: Spec) -> None:
    """Refuse tensors that cannot be those of `spec` before a network is built, which a false size makes endless.

    These few bind every size of the network to that of the file; loading compares all the others.
    """
    tensors = {name: entry for name, entry in read_safetensors_header(path).items() if name != "__metadata__"}
    for name, entry in tensors.items():
        wanted = ("I64",) if name.endswith("num_batches_tracked") else _FLOATING
        if entry["dtype"] not in wanted:
            raise DataError(f"{path}: {name} holds {entry['dtype']}, not {' or '.join(wanted)}; make it again")
    found = {name: entry["shape"] for name, entry in tensors.items()}
    body, beyond = (spec.backbone, spec.bound) if isinstance(spec, DetectorSpec) else (spec, {})
    fits = _fits(body, found, prefix=BODY if isinstance(spec, DetectorSpec) else "")
    if not fits or any(found.get(name) != shape for name, shape in beyond.items()):
        raise DataError(f"{path}: its tensors are not those it describes; fetch or make it again")


def _fits(spec: ResNetSpec, found: Mapping[str, list[int]], *, prefix: str) -> bool:
    stem = spec.stem_convolution
    shapes = {
        "conv1.weight": [stem.channels, stem.in_channels, stem.filters.size, stem.filters.size],
        "fc.weight": [spec.num_classes, spec.num_features] if spec.num_classes else None,
    }
    inner = (found.get(f"{prefix}layer1.0.conv1.weight") or [0])[0]
    counts = [
        sum(re.fullmatch(rf"{re.escape(prefix)}layer{i + 1}\.\d+\.conv1\.weight", name) is not None for name in found)
        for i in range(len(spec.blocks))
    ]
    stems = {name: found.get(prefix + name) for name in shapes}
    return stems == shapes and inner == spec.width * spec.widening and counts == list(spec.blocks)
