"""State dicts that other programs saved: reading them, cleaning their names, and seeing which network they fit."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnetkit.errors import DataError
from resnetkit.models.checkpoint import first_bytes, kind_of, load_tensors
from resnetkit.models.spec import MAX_STAGES, ResNetSpec, Shortcut

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")
_TRUNK = re.compile(r"(conv1|bn1|layer\d+)\.")
# Names of widely copied tutorials: `layer1.0.left.0`, `residual_function`, `shortcut.0`, `conv2_x`, `blocks`, ...
_TUTORIAL = re.compile(
    r"(^|\.)(left|right|residual_function|residual|shortcut|blocks?|res_?blocks?|conv[2-5]_x|identity_downsample"
    r"|i_downsample|skip(_connection)?|conv_block\d*)\.|^conv1\.0\.|^layer0\."
)


def read_state(path: str | Path) -> State:
    """Read the tensors of a `.pth`/`.pt` file (`weights_only=True`, no fallback) or of a safetensors file.

    Wrapper keys (`state_dict`, `model`, ...) and prefixes (`module.`, `_orig_mod.`, ...) are stripped, and so is any
    one that the network's names have in common, as `backbone.`; `linear.` is `fc.`. Raises `DataError` for a missing,
    damaged or other file, and for one that would run code when opened.
    """
    return read_named(path)[0]


def read_named(path: str | Path) -> tuple[State, tuple[str, ...]]:
    """Return what `read_state` does, and the class names beside it in the order of the logits (`class_to_idx`)."""
    path = Path(path)
    start = first_bytes(path, 9)
    if start[8:9] == b"{":
        return clean(load_tensors(path), name=str(path)), ()
    if not start.startswith((b"PK", b"\x80")):
        raise DataError(
            f"{path}: not weights ({kind_of(start, path.stat().st_size)}); .pth or .safetensors files are wanted"
        )
    found = _unpickle(path)
    return clean(found, name=str(path)), _class_names(found)


def _class_names(found: Any) -> tuple[str, ...]:
    """Return the names of a `class_to_idx` as torchvision's folders have it, none where it is no such thing."""
    numbers = found.get("class_to_idx") if isinstance(found, Mapping) else None
    if not isinstance(numbers, Mapping) or not all(isinstance(name, str) and name.strip() for name in numbers):
        return ()
    names = {number: str(name) for name, number in numbers.items() if isinstance(number, int)}
    in_order = tuple(names[number] for number in range(len(numbers)) if number in names)
    whole = len(in_order) == len(numbers) == len({name.casefold() for name in in_order})
    return in_order if whole else ()


def _unpickle(path: Path) -> Any:
    import pickle

    try:
        with warnings.catch_warnings():
            # What torch warns of here (sparse, quantised tensors) `clean` refuses, in a line that names the tensor.
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
    state = _unwrapped(state)
    if not isinstance(state, Mapping):
        raise DataError(f"{name}: holds {type(state).__name__}, not a state dict; save model.state_dict()")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor) and key != "n_averaged"}
    if not tensors:
        raise DataError(f"{name}: holds no tensors by name; save model.state_dict()")
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), ""):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    tensors = _without_prefix(tensors)
    if "fc.weight" not in tensors:
        tensors = {re.sub(r"^linear\.", "fc.", key): value for key, value in tensors.items()}
    for key, value in tensors.items():
        if kind := _kind_of_tensor(value):
            raise DataError(f"{name}: {key} is a {kind} tensor: save the network's state with plain (dense) ones")
    return tensors


def _without_prefix(tensors: State) -> State:
    """Return tensors without the one prefix, as `backbone.`, under which a network lies; others keep their names."""
    ends = "conv1.weight", "layer1.0.conv1.weight"
    starts = {key.removesuffix(ends[1]) for key in tensors if key.endswith(f".{ends[1]}")}
    starts = {start for start in starts if start + ends[0] in tensors}
    if len(starts) != 1 or ends[0] in tensors:
        return tensors
    (prefix,) = starts
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def trunk_of(state: Mapping[str, Tensor]) -> State:
    """Return a state without the parts beside the trunk, such as a head of other names than `fc.weight`."""
    return {key: value for key, value in state.items() if _TRUNK.match(key)}


def _kind_of_tensor(value: Tensor) -> str:
    """Return what makes a tensor unfit for our networks, or nothing; a nested one cannot be in a file we open."""
    if value.is_meta:
        return "meta (valueless)"
    if value.layout is not torch.strided:
        return "sparse"
    if value.is_quantized:
        return "quantised"
    return "complex" if value.is_complex() else ""


def _unwrapped(state: Any) -> Any:
    while isinstance(state, Mapping):
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    return state


def infer_spec(state: Mapping[str, Tensor], *, without_projections: Shortcut | None = None) -> ResNetSpec:
    """Return the network whose parameters have the names and shapes of `state`.

    One without `fc.weight` is a trunk. Strides and activations leave no trace there: those of torchvision (v1.5, ReLU)
    are assumed. `without_projections` is the shortcut to take for basic blocks without projections, where names do not
    tell. Raises `DataError` where it is no network of ours, and where a network with shortcut A and a plain one are
    alike.
    """
    missing = [key for key in ("conv1.weight", "layer1.0.conv1.weight") if key not in state]
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
    return ResNetSpec(
        block="bottleneck" if bottleneck else "basic",
        blocks=_blocks(state),
        width=width,
        widening=max(1, state["layer1.0.conv1.weight"].shape[0] // width) if bottleneck else 1,
        stem="imagenet" if kernel == 7 else "cifar",
        shortcut=_shortcut(state, bottleneck=bottleneck, without_projections=without_projections),
        in_channels=in_channels,
        num_classes=num_classes_of(state),
    )


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


def _shortcut(state: Mapping[str, Tensor], *, bottleneck: bool, without_projections: Shortcut | None) -> Shortcut:
    if any(".downsample.0." in key for key in state):
        return "B"
    if bottleneck:
        return "none"
    if without_projections in ("A", "none"):
        return without_projections
    raise DataError(
        "a ResNet with shortcut A and a plain network have the same parameters: name the network, such as resnet20"
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
