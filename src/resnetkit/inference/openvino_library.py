"""The one door to OpenVINO: loaded without what reports its use, and closed in a process where it would hang.

OpenVINO keeps the threads of models that are gone for the next one. In a process that was forked from one where it
computed, those threads are missing, and compiling waits for them for ever (OpenVINO 2026.4).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from resnetkit.errors import UsageError

if TYPE_CHECKING:
    import openvino


@cache
def library() -> ModuleType:
    """Return the package `openvino`."""
    with without_telemetry():
        import openvino
        import openvino.preprocess
    return openvino


def core() -> openvino.Core:
    """Return OpenVINO's entry, one for each process; raises `UsageError` where it would hang."""
    if _stranded:
        raise UsageError(
            "OpenVINO does not live through a fork of a process in which it computed: load the model in each worker, "
            "start workers with multiprocessing's spawn, or use --engine torch"
        )
    return _core()


@cache
def _core() -> openvino.Core:
    return library().Core()


def begins_to_compute() -> None:
    """Remember that OpenVINO's threads run in this process."""
    global _computes
    _computes = True


def stranded() -> bool:
    """Tell whether this process was forked from one in which OpenVINO computed."""
    return _stranded


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


_computes = _stranded = False


def _after_fork() -> None:
    global _stranded
    _stranded = _stranded or _computes
    if _core.cache_info().currsize:
        leave_to_parent(_core())
        _core.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
