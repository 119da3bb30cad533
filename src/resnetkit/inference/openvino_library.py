"""The one door to OpenVINO: loaded without what reports its use, and begun anew in a forked process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


@cache
def library() -> ModuleType:
    """Return the package `openvino`."""
    with without_telemetry():
        import openvino
        import openvino.preprocess
    return openvino


@cache
def core() -> openvino.Core:
    """Return OpenVINO's entry; one for each process."""
    return library().Core()


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO and NNCF from loading what reports their use and writes into the home folder.

    Both have a stand-in for where it is not installed.
    """
    name = "openvino_telemetry"
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


def leave_to_parent(value: object) -> None:
    """Never free what belongs to the process that this one was forked from.

    It would wait for threads that only that process has.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _begin_anew() -> None:
    if core.cache_info().currsize:
        leave_to_parent(core())
        core.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
