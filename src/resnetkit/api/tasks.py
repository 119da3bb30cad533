"""The one table of tasks: each entry imports its room when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, MULTILABEL

if TYPE_CHECKING:
    from resnetkit.training.task import Task

TASKS = {CLASSIFICATION: "classification", MULTILABEL: "multilabel", DETECTION: "detection"}


def task_called(name: str) -> Task:
    """Return the task that checkpoints and runs call so."""
    task: Task = import_module(f"resnetkit.tasks.{TASKS[name]}").TASK
    return task
