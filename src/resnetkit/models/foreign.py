"""State dicts that other programs saved: reading them, cleaning their names, and seeing which network they fit."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnetkit.errors import DataError
from resnetkit.models import catalog
from resnetkit.models.checkpoint import load_tensors
from resnetkit.models.class_names import class_names_in
from resnetkit.models.parts import WRAPPERS, Shape, called, meant, part_names, plain_names, prefixes_in
from resnetkit.models.safetensors_file import first_bytes, kind_of
from resnetkit.models.spec import MAX_STAGES, Activation, ResNetSpec, Shortcut, StridePlacement

State = dict[str, Tensor]

_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")
_TRUNK = re.compile(r"(conv1|bn1|layer\d+)\.")
_HEAD = ("fc.weight", "fc.bias")
_FIRST = ("conv1.weight", "layer1.0.conv1.weight")
# Names of widely copied tutorials: `layer1.0.left.0`, `residual_function`, `shortcut.0`, `conv2_x`, `blocks`, ...
_TUTORIAL = re.compile(
    r"(^|\.)(left|right|residual_function|residual|shortcut|blocks?|res_?blocks?|conv[2-5]_x|identity_downsample"
    r"|i_downsample|skip(_connection)?|conv_block\d*)\.|^conv1\.0\.|^layer0\."
)
# Counts and not weights: how often PyTorch's averaged models were updated.
_NO_WEIGHTS = "n_averaged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """One network of another program's file.

    `state`: its tensors under torchvision's names, as the file has them; `classes`: names beside it, in the order of
    the outputs; `beside`: shapes of what else is in the file, and of what is no trunk in the network, by the file's
    names; `others`: further networks in it, with their numbers of tensors.
    """

    state: State
    classes: tuple[str, ...] = ()
    beside: Mapping[str, Shape] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)

    def without_odd_head(self) -> Foreign:
        """Return it with its head where that is `fc`, one layer and alone; else the trunk is what there is."""
        trunk = {name: value for name, value in self.state.items() if _TRUNK.match(name)}
        whole = set(self.state) - set(trunk) == set(_HEAD)
        is_ours = set(_FIRST) <= set(trunk) and not tutorial_note(trunk)
        return self if whole or not is_ours else replace(self, state=trunk)


def read_state(path: str | Path) -> State:
    """Read the tensors of a `.pth`/`.pt` file (`weights_only=True`, no fallback) or of a safetensors file.

    Dicts around them (`state_dict`, `model`, ...) and what stands before the network's names (`module.`, `backbone.`,
    ...) are stripped; `linear.` is `fc.`. Raises `DataError` for a missing, damaged or other file, and for one that
    would run code when opened, `UsageError` where it is not clear which network is meant.
    """
    return read_foreign(path).state


def read_foreign(path: str | Path, *, part: str | None = None) -> Foreign:
    """Return what `read_state` does, of the network called `part` where there are several, and what lies beside it."""
    found = _read(Path(path))
    return replace(_network_in(found, name=str(path), part=part), classes=class_names_in(found))


def read_tensors(path: str | Path) -> State:
    """Return all tensors of a file by the names that it has, those in dicts within it with dots between.

    Raises as `read_state` does.
    """
    found = _read(Path(path))
    tensors = {} if not isinstance(found, Mapping) else dict(_flat(found))
    if not tensors:
        raise DataError(f"{path}: holds no tensors by name; save model.state_dict()")
    return _checked(tensors, str(path))


def _read(path: Path) -> Any:
    start = first_bytes(path, 9)
    if start[8:9] == b"{":
        return load_tensors(path)
    if not start.startswith((b"PK", b"\x80")):
        raise DataError(
            f"{path}: not weights ({kind_of(start, path.stat().st_size)}); .pth or .safetensors files are wanted"
        )
    return _unpickle(path)


def _unpickle(path: Path) -> Any:
    import pickle

    try:
        with warnings.catch_warnings():
            # What torch warns of here (sparse, quantised tensors) is refused below, in a line that names the tensor.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds more than tensors (a whole pickled model?) and could run code when opened, or is damaged: "
            "where it was made, save model.state_dict() with torch.save"
        ) from error
    except Exception as error:  # Damaged bytes make the unpickler raise anything; all of it means this.
        raise DataError(
            f"{path}: damaged or cut short, or no state dict ({type(error).__name__}); fetch or copy it again"
        ) from error


def clean(state: Any, *, name: str) -> State:
    """Return the tensors of a state dict under their plain names; `name` names it in errors.

    Raises `DataError` where there are none, and for one that has no plain values (sparse, quantised, complex, meta).

    >>> sorted(clean({"state_dict": {"module.linear.bias": torch.zeros(2)}}, name="x"))
    ['fc.bias']
    """
    return _network_in(state, name=name).state


def _network_in(found: Any, *, name: str, part: str | None = None) -> Foreign:
    if not isinstance(found, Mapping):
        raise DataError(f"{name}: holds {type(found).__name__}, not a state dict; save model.state_dict()")
    tensors = {key: value for key, value in _flat(found) if key.rpartition(".")[2] != _NO_WEIGHTS}
    if not tensors:
        raise DataError(f"{name}: holds no tensors by name; save model.state_dict()")
    there = _networks(tensors)
    networks = _without_copies(there)
    if not networks:
        return Foreign(state=_checked(_common_names(found), name))
    prefix = meant(tuple(networks), part=part, file=name)
    plain = plain_names(networks[prefix], prefix)
    state = _checked({plain[key]: value for key, value in networks[prefix].items()}, name)
    in_others = {key for other in there if other != prefix for key in there[other]}
    beside = {
        called(key): tuple(value.shape)
        for key, value in tensors.items()
        if key not in in_others and not _TRUNK.match(plain.get(key, ""))
    }
    names = part_names(tuple(networks))
    return Foreign(
        state=state,
        beside=beside,
        others={names[other]: len(networks[other]) for other in networks if other != prefix},
    )


def _flat(found: Mapping[Any, Any], start: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested dicts by names with dots between; the state of an optimizer is none of them."""
    if "param_groups" in found:
        return
    for key, value in found.items():
        if isinstance(value, Tensor):
            yield f"{start}{key}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")


def _networks(tensors: State) -> dict[str, State]:
    """Return the tensors of each network of ours by what stands before its names; one may lie in another."""
    networks: dict[str, State] = {prefix: {} for prefix in prefixes_in(tensors)}
    longest_first = sorted(networks, key=len, reverse=True)
    for key, value in tensors.items():
        prefix = next((prefix for prefix in longest_first if key.startswith(prefix)), None)
        if prefix is not None:
            networks[prefix][key] = value
    return networks


def _without_copies(networks: dict[str, State]) -> dict[str, State]:
    """Return the networks but for those that are another one under a second name."""
    kept: dict[str, State] = {}
    for prefix, tensors in networks.items():
        inner = {key.removeprefix(prefix): value for key, value in tensors.items()}
        if not any(_same(inner, {k.removeprefix(other): v for k, v in kept[other].items()}) for other in kept):
            kept[prefix] = tensors
    return kept


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        not _kind_of_tensor(value) and not _kind_of_tensor(other[key]) and torch.equal(value, other[key])
        for key, value in one.items()
    )


def _common_names(found: Mapping[Any, Any]) -> State:
    """Return the tensors of what is no network of ours by its names, without what their names have in common."""
    while inner := next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None):
        found = inner
    tensors = dict(_flat(found))
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), ""):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {re.sub(r"^linear\.", "fc.", key): value for key, value in tensors.items()}


def _checked(tensors: State, name: str) -> State:
    """Return the tensors; raises `DataError` for one that has no plain values."""
    for key, value in tensors.items():
        if kind := _kind_of_tensor(value):
            raise DataError(f"{name}: {key} is a {kind} tensor: save the network's state with plain (dense) ones")
    return tensors


def _kind_of_tensor(value: Tensor) -> str:
    """Return what makes a tensor unfit for our networks, or nothing; a nested one cannot be in a file we open."""
    if value.is_meta:
        return "meta (valueless)"
    if value.layout is not torch.strided:
        return "sparse"
    if value.is_quantized:
        return "quantised"
    return "complex" if value.is_complex() else ""


def infer_spec(
    state: Mapping[str, Tensor],
    *,
    without_projections: Shortcut | None = None,
    stride: StridePlacement = "v1.5",
    activation: Activation = "relu",
) -> ResNetSpec:
    """Return the network whose parameters have the names and shapes of `state`.

    One without `fc.weight` is a trunk. What leaves no trace there is said: `stride` and `activation`, else those of
    torchvision, and `without_projections`, the shortcut of basic blocks without projections. Raises `DataError` where
    it is no network of ours, and where a network with shortcut A and a plain one are alike.
    """
    missing = [key for key in _FIRST if key not in state]
    if missing:
        note = f"; {note}" if (note := tutorial_note(state)) else ""
        raise DataError(f"not a ResNet by its names: {missing[0]} is missing{note}")
    head = state.get("fc.weight")
    ranks = state["conv1.weight"].ndim, state["layer1.0.conv1.weight"].ndim, 2 if head is None else head.ndim
    if ranks != (4, 4, 2):
        raise DataError(
            f"not a ResNet by its shapes: conv1, layer1.0.conv1 and fc have {ranks} dimensions, not 4, 4, 2"
        )
    width, in_channels, kernel, _ = state["conv1.weight"].shape
    if kernel not in (3, 7):
        raise DataError(f"not a ResNet of ours: its first convolution is {kernel}x{kernel}, 3x3 or 7x7 is wanted")
    bottleneck = "layer1.0.conv3.weight" in state
    told = ResNetSpec(
        block="bottleneck" if bottleneck else "basic",
        blocks=_blocks(state),
        width=width,
        widening=max(1, state["layer1.0.conv1.weight"].shape[0] // width) if bottleneck else 1,
        stem="imagenet" if kernel == 7 else "cifar",
        shortcut="B" if any(".downsample.0." in key for key in state) else "none",
        stride=stride,
        activation=activation,
        in_channels=in_channels,
        num_classes=num_classes_of(state),
    )
    if bottleneck or told.shortcut == "B" or without_projections == "none":
        return told
    if without_projections == "A":
        return told.changed(shortcut="A")
    raise DataError(_alike_without_projections(told))


def num_classes_of(state: Mapping[str, Tensor]) -> int:
    """Return the rows of the head, 0 where there is none; raises `DataError` for a head without rows."""
    head = state.get("fc.weight")
    if head is not None and not head.shape[0]:
        raise DataError("num_classes must be at least 1, and fc.weight has no rows")
    return 0 if head is None else head.shape[0]


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    counts = []
    for stage in range(1, MAX_STAGES + 1):
        pattern = re.compile(rf"layer{stage}\.(\d+)\.conv1\.weight")
        counts.append(sum(1 for key in state if pattern.fullmatch(key)))
    return tuple(count for count in counts if count)


def _alike_without_projections(plain: ResNetSpec) -> str:
    names = [catalog.called(plain.changed(shortcut=shortcut)) for shortcut in ("A", "none")]
    ways = ["shortcut=A", "shortcut=none"] if any(" " in name for name in names) else names
    return (
        "a ResNet with shortcut A and a plain network have the same parameters: name the network, as "
        f"{ways[0]}=FILE or {ways[1]}=FILE"
    )


def tutorial_note(keys: Iterable[str]) -> str:
    """Return a sentence for the names of a hand-written tutorial network, or of timm's deep stem; else nothing."""
    keys = list(keys)
    if "conv1.3.weight" in keys and "layer1.0.conv1.weight" in keys:
        return "its stem has three convolutions (timm's resnet..d): this package has no such network"
    for key in keys:
        if _TUTORIAL.search(key):
            return (
                f"names like {key!r} come from a hand-written tutorial network, whose layers have other names and "
                "may be arranged otherwise: use it with the program that made it, or train again here"
            )
    return ""
