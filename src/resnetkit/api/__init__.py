"""The calls users write; they compose the rooms. Importing them needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnetkit.api.benchmarking import Measured, benchmark, recommended
    from resnetkit.api.cache import cached, clear_cache
    from resnetkit.api.checking import Check, check
    from resnetkit.api.checklists import Checklists, checklist
    from resnetkit.api.comparing import Compared, Comparison, compare
    from resnetkit.api.describing import describe, gives, of_another_task
    from resnetkit.api.evaluation import Evaluation, evaluate, headline
    from resnetkit.api.explaining import Explanation, explain, explain_into
    from resnetkit.api.exporting import Export, export
    from resnetkit.api.making import Beside, beside
    from resnetkit.api.model import Model, load, predict
    from resnetkit.api.numbering import path_of
    from resnetkit.api.renaming import Renamed, rename
    from resnetkit.api.reporting import report
    from resnetkit.api.run import Run, runs
    from resnetkit.api.training import plan, resume, train
    from resnetkit.api.watching import Watched, watch

__all__ = [
    "Beside",
    "Check",
    "Checklists",
    "Compared",
    "Comparison",
    "Evaluation",
    "Explanation",
    "Export",
    "Measured",
    "Model",
    "Renamed",
    "Run",
    "Watched",
    "benchmark",
    "beside",
    "cached",
    "check",
    "checklist",
    "clear_cache",
    "compare",
    "describe",
    "evaluate",
    "explain",
    "explain_into",
    "export",
    "gives",
    "headline",
    "load",
    "of_another_task",
    "path_of",
    "plan",
    "predict",
    "recommended",
    "rename",
    "report",
    "resume",
    "runs",
    "train",
    "watch",
]

# Imported when they are first used: a prediction from a cold start waits for no page, no plan and no benchmark.
_HOMES = {
    "benchmarking": ("Measured", "benchmark", "recommended"),
    "cache": ("cached", "clear_cache"),
    "checking": ("Check", "check"),
    "checklists": ("Checklists", "checklist"),
    "comparing": ("Compared", "Comparison", "compare"),
    "describing": ("describe", "gives", "of_another_task"),
    "evaluation": ("Evaluation", "evaluate", "headline"),
    "explaining": ("Explanation", "explain", "explain_into"),
    "exporting": ("Export", "export"),
    "making": ("Beside", "beside"),
    "model": ("Model", "load", "predict"),
    "numbering": ("path_of",),
    "renaming": ("Renamed", "rename"),
    "reporting": ("report",),
    "run": ("Run", "runs"),
    "training": ("plan", "resume", "train"),
    "watching": ("Watched", "watch"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'resnetkit.api' has no attribute {name!r}")
    return getattr(import_module(f"resnetkit.api.{_HOME_OF[name]}"), name)
