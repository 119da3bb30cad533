"""The one truth for resume: everything that decides the bits of what follows, in one atomic file per save."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from resnetkit import files
from resnetkit.errors import DataError, ResourceError
from resnetkit.models.safetensors_file import read_safetensors_header, write_safetensors
from resnetkit.training.begun import Begun
from resnetkit.watcher import Row

FORMAT = 1
_KEPT = 2
Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class Position:
    """Where a run stands: `step` steps of epoch `epoch` (0-based) are done, with what they summed up so far.

    `figures` are the task's, sums over `num_seen` pictures. `seconds` are those of the steps, `storing_seconds` those
    of the view they learn from, where it is stored.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    num_seen: int = 0
    seconds: float = 0.0
    storing_seconds: float = 0.0

    def mean(self, figure: str) -> float:
        """Return a figure's mean over the pictures seen so far in the epoch, 0 before the first."""
        return self.figures.get(figure, 0.0) / max(1, self.num_seen)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Position:
        """Read `vars` of a position, also of a version that knew one figure."""
        values = dict(values)
        if "num_right" in values:
            values["figures"] = {"top1": float(values.pop("num_right"))}
        return cls(**values)


@dataclass(kw_only=True)
class State:
    """A run between two steps. `best` and `ema` are state dicts of the network, or empty.

    `right`: where held-out pictures choose the model, which of them each epoch names right (`choosing.keep_answers`).
    `start`: the weights that folds begin with, kept until the last of them has begun.
    """

    begun: Begun
    position: Position = field(default_factory=Position)
    rows: list[Row] = field(default_factory=list)
    best_row: Row | None = None
    micro_batch: int | None = None
    model: Tensors = field(default_factory=dict)
    ema: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    optimizer: Tensors = field(default_factory=dict)
    right: Tensors = field(default_factory=dict)
    start: Tensors = field(default_factory=dict)

    _ROOMS = ("model", "ema", "best", "optimizer", "right", "start")

    def save(self, folder: Path) -> Path:
        """Write one file into `folder` and drop all but the two newest; what two rooms hold alike is written once."""
        same = self._same()
        tensors = {
            f"{room}/{name}": tensor
            for room in self._ROOMS
            if room not in same
            for name, tensor in getattr(self, room).items()
        }
        path = folder / f"epoch-{self.position.epoch:05d}-step-{self.position.step:07d}.safetensors"
        plain = self._plain() | {"same": same}
        text = json.dumps(plain, allow_nan=False)
        try:
            with files.replacing(path) as temporary:
                write_safetensors(temporary, tensors, {"resnetkit_state": text})
        except OSError as error:
            why = f"cannot be written ({error.strerror or error})"
            before = "the save before it is kept" if saved(folder) else "nothing is saved yet"
            raise ResourceError(f"{path}: {why}; {before}: free some space") from error
        for old in saved(folder)[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def _same(self) -> dict[str, str]:
        """Return the rooms that hold the same tensors as an earlier one, with that: the best is often the newest."""
        same: dict[str, str] = {}
        for number, room in enumerate(self._ROOMS):
            own = getattr(self, room)
            for earlier in self._ROOMS[:number]:
                other = getattr(self, earlier)
                if own and own.keys() == other.keys() and all(_alike(own[name], other[name]) for name in own):
                    same.setdefault(room, earlier)
        return same

    def _plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "request": self.begun.to_json(),
            "position": vars(self.position),
            "rows": self.rows,
            "best_row": self.best_row,
            "micro_batch": self.micro_batch,
        }

    @classmethod
    def load(cls, path: Path) -> State:
        """Read what `save` wrote; raises `DataError` for anything else."""
        try:
            with safe_open(path, framework="pt") as opened:
                plain = json.loads((opened.metadata() or {})["resnetkit_state"])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError) as error:
            raise DataError(f"{path}: not a state of a run ({error})") from error
        if plain.pop("format") != FORMAT:
            raise DataError(f"{path}: another version of resnetkit wrote this state; resume with that version")
        same = plain.pop("same", {})
        rooms: dict[str, Tensors] = {room: {} for room in cls._ROOMS}
        for name, tensor in tensors.items():
            room, _, key = name.partition("/")
            rooms[room][key] = tensor
        for room in cls._ROOMS:
            rooms[room] |= rooms[same[room]] if room in same else {}
        begun = Begun.from_json(plain.pop("request"))
        values: dict[str, Any] = {**plain, "begun": begun, "position": Position.from_json(plain["position"]), **rooms}
        return cls(**values)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


def saved(folder: Path) -> list[Path]:
    """Return the states in `folder`, oldest first."""
    return sorted(folder.glob("epoch-*-step-*.safetensors"))


def newest(folder: Path) -> State:
    """Load the newest readable state of `folder`; raises `DataError` where there is none."""
    problems = []
    for path in reversed(saved(folder)):
        try:
            return State.load(path)
        except DataError as error:
            problems.append(str(error))
    raise DataError("; ".join(problems) or f"{folder}: holds no state to resume from")


def describe(folder: Path) -> dict[str, Any]:
    """Return what the newest state of `folder` says, without its tensors; raises `DataError` where there is none."""
    problems = []
    for path in reversed(saved(folder)):
        try:
            return dict(json.loads(read_safetensors_header(path)["__metadata__"]["resnetkit_state"]))
        except (DataError, OSError, ValueError, TypeError, KeyError) as error:
            problems.append(str(error))
    raise DataError("; ".join(problems) or f"{folder}: holds no state")


def network_tensors(network: nn.Module) -> Tensors:
    """Return a copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimizer's tensors as `{index}.{name}`; a number becomes a tensor without dimensions."""
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().clone()
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` returned, in the memory layout of the parameters."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        value = tensor.clone().to(parameter.device if optimizer.defaults.get("fused") else tensor.device)
        if tensor.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(tensor)
        optimizer.state[parameter][key] = value
