"""A task as a value: what the verbs ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnetkit.training.learning import Learning


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What only a task knows. Its functions import torch when they are called, this value does not.

    `learning(recipe, prepared, runtime=, ranks=)` is what the training loop asks (`training.learning.Learning`).
    """

    name: str
    learning: Callable[..., Learning]
