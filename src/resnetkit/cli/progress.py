"""The console of a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from resnetkit.api.progress import ConsoleWatcher
from resnetkit.runtime import place


@contextmanager
def watching(*, quiet: bool) -> Iterator[ConsoleWatcher]:
    """Yield the console of a command and take its bar away at the end, whatever happens.

    Of the processes that torchrun started only the first is heard.
    """
    unheard, logger = place().rank > 0, logging.getLogger("resnetkit")
    level = logger.level
    if unheard:
        logger.setLevel(logging.ERROR)
    console = ConsoleWatcher(quiet=quiet or unheard)
    try:
        yield console
    finally:
        console.close()
        logger.setLevel(level)
