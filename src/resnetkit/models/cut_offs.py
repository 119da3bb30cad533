"""From which number on each class is told: a cut-off a class, fitted on held-out pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import check_known
from resnetkit.models.goals import goal_of

_HALF = 0.5
_FEW = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOffs:
    """A class is told where its number, a score or a probability, is `at` least so much.

    `at`: one for each class, empty for a half. They were fitted for a `goal`, `f1`, `precision 0.9` or `recall 0.9`, on
    `fitted_on` held-out pictures, whose content is `fitted_to`; `unmet` are the classes that could not be brought
    there.
    """

    at: tuple[float, ...] = ()
    goal: str = "f1"
    unmet: tuple[str, ...] = ()
    fitted_on: int | None = None
    fitted_to: str | None = None

    def __post_init__(self) -> None:
        for name in ("at", "unmet"):
            if not isinstance(getattr(self, name), list | tuple):
                raise UsageError(f"decision.{name} must be a list, not {getattr(self, name)!r:.40}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for value in self.at:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
                raise UsageError(f"decision.at must be numbers between 0 and 1, not {value!r:.40}")
        goal_of(self.goal)

    @property
    def temperature(self) -> None:
        """None: no softmax, each number by itself."""
        return

    @property
    def aim(self) -> str:
        """What they were fitted for, and for which classes in vain."""
        if not self.unmet:
            return self.goal
        named = ", ".join(self.unmet[:_FEW]) + (f" and {len(self.unmet) - _FEW} more" if self.unmet[_FEW:] else "")
        return f"{self.goal}, which {len(self.unmet)} of {len(self.at)} do not reach ({named})"

    def of(self, num_classes: int) -> np.ndarray:
        """Return the cut-off of each class, `[K]` float32; raises `DataError` for another number of classes."""
        if not self.at:
            return np.full(num_classes, _HALF, np.float32)
        if len(self.at) != num_classes:
            raise DataError(f"its decision has {len(self.at)} thresholds for {num_classes} classes: make it again")
        return np.array(self.at, np.float32)

    def are_fitted_on(self, content: str | None) -> bool:
        """Tell whether pictures of this `content` fitted them, and must not judge them."""
        return self.fitted_to is not None and content == self.fitted_to

    def to_json(self) -> dict[str, Any]:
        """Return the `decision` dict of a checkpoint's header: what differs from the defaults."""
        default = type(self)()
        plain = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a header's `decision` dict; an empty one means the defaults.

        Raises `DataError` for unknown fields, which would change the answers, `UsageError` for impossible values.
        """
        check_known(values, cls)
        return cls(**values)
