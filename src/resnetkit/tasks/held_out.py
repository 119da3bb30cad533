"""What a network says of held-out pictures, each of them asked by one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.training.steps.stored import StoredScoring, pixels_of
from resnetkit.training.together.ranks import Ranks

_BATCH = 250


def answers(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, check: Callable[[], None], ranks: Ranks,
    stored: StoredScoring | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Yield positions in the part, `[N]`, and the logits of these pictures, `[N, K]` float32: this rank's share.

    All ranks call `check` equally often. `stored`: keeps what frozen layers make of the pictures, for the next time.
    """
    whole = TorchEngine(network, preprocess, runtime)
    count, share = len(part.items), ranks.share(len(part.items))
    for start in range(0, ranks.longest_share(count), _BATCH):
        check()
        where = np.arange(count)[share][start : start + _BATCH]
        if len(where):
            yield where, stored.logits(network, part, where) if stored else whole.logits(pixels_of(part, where))
