"""The calls users write; they compose the rooms. Importing them needs no torch."""

from resnetkit.api.benchmarking import Measured, benchmark, recommended
from resnetkit.api.cache import cached, clear_cache
from resnetkit.api.checking import Check, check
from resnetkit.api.comparing import Compared, Comparison, compare
from resnetkit.api.evaluation import Evaluation, evaluate, headline
from resnetkit.api.explaining import Explanation, explain, explained, open_explainable, write_explanations
from resnetkit.api.exporting import Export, export
from resnetkit.api.model import Model, describe, load, predict
from resnetkit.api.reporting import report
from resnetkit.api.run import Run, plan, resume, runs, train

__all__ = [
    "Check",
    "Compared",
    "Comparison",
    "Evaluation",
    "Explanation",
    "Export",
    "Measured",
    "Model",
    "Run",
    "benchmark",
    "cached",
    "check",
    "clear_cache",
    "compare",
    "describe",
    "evaluate",
    "explain",
    "explained",
    "export",
    "headline",
    "load",
    "open_explainable",
    "plan",
    "predict",
    "recommended",
    "report",
    "resume",
    "runs",
    "train",
    "write_explanations",
]
