"""A trained classifier's trunk becomes the backbone of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from resnetkit.errors import DataError
from resnetkit.models.detection.network import Detector
from resnetkit.models.detection.spec import BODY, trunk_of


class Brought(NamedTuple):
    """Names of the tensors that a detector took from other weights, and of those that it left."""

    taken: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def words(self) -> str:
        """Which layers came along, which stayed behind and which are new, in a line.

        >>> Brought(("conv1.weight", "layer1.0.bn1.bias"), ("fc.bias",)).words
        'stem and layer1 came along (2 tensors), fc stayed behind; pyramid and heads are new'
        """
        stages = dict.fromkeys("stem" if name.startswith(("conv1", "bn1")) else _part(name) for name in self.taken)
        behind = f", {_listed(dict.fromkeys(map(_part, self.left)))} stayed behind" if self.left else ""
        return f"{_listed(stages)} came along ({len(self.taken)} tensors){behind}; pyramid and heads are new"


def trunk_into(detector: Detector, state: Mapping[str, Tensor]) -> Brought:
    """Load the trunk that is in `state` (of a ResNet, or of a detector) into the backbone of `detector`.

    Raises `DataError` where it is no trunk of that network, before any weight has changed.
    """
    given, state = state, trunk_of(state) or state
    own = detector.body.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    wrong = [
        name for name in own if name not in counters and (name not in state or state[name].shape != own[name].shape)
    ]
    others = [name for name in state if name not in own and name.startswith("layer")]
    if wrong or others:
        raise DataError(
            f"these weights are not those of the detector's backbone ({wrong[0] if wrong else others[0]} "
            f"{'differs or is missing' if wrong else 'is one too many'}): name the network that they are of as backbone"
        )
    # Statistics saved before PyTorch 0.4.1, and frozen ones, lack the counters.
    detector.body.load_state_dict({name: state.get(name, own[name]) for name in own})
    return Brought(
        tuple(name for name in own if name in state),
        tuple(name for name in given if name.removeprefix(BODY) not in own),
    )


def begin_from(detector: Detector, state: Mapping[str, Tensor]) -> str:
    """Load the trunk in `state`, and of a detector's all else that fits, into `detector`; return what came, in words.

    Raises `DataError` as `trunk_into` does.
    """
    brought = trunk_into(detector, state)
    own = detector.state_dict()
    more = {
        name: value
        for name, value in state.items()
        if not name.startswith(BODY) and name in own and value.shape == own[name].shape
    }
    if not more:
        return brought.words
    detector.load_state_dict(more, strict=False)
    heads = {".".join(name.split(".")[:2]) for name in own if not name.startswith(BODY)}
    new = sorted(heads - {".".join(name.split(".")[:2]) for name in more})
    also = f"{len(more)} tensors of pyramid and heads came along too"
    stayed = brought._replace(left=tuple(name for name in brought.left if name not in more))
    return f"{stayed.words.partition(';')[0]}; {also}, {', '.join(new) or 'nothing'} is new"


def _part(name: str) -> str:
    return name.split(".")[0]


def _listed(names: Mapping[str, None]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
