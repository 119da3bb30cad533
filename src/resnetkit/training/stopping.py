"""Ctrl-C and SIGTERM, heard between two steps."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Any


@dataclass
class StopRequest:
    """Ctrl-C and SIGTERM ask the loop to save and stop; a second signal ends the process at once.

    Not so under torchrun (`launched`), where a process may hear the same signal from the scheduler, from torchrun and
    because another rank has left; torchrun ends those that stay too long.
    """

    launched: bool = False
    signal_number: int | None = None
    _before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        for each in () if self.launched else self._before:
            signal.signal(each, signal.SIG_DFL)


class Stopped(Exception):  # noqa: N818
    """A signal came while the validation part was being scored."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
