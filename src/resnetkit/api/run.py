"""Training runs: begun, resumed, listed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.api.checklists import Checklists, checklist
from resnetkit.api.evaluation import Evaluation, evaluate
from resnetkit.api.locating import RUNS
from resnetkit.api.model import Model, load
from resnetkit.api.reporting import report
from resnetkit.errors import DataError
from resnetkit.words import percent

if TYPE_CHECKING:
    from resnetkit.models.choice import Choice
    from resnetkit.training.run import RunFolder


class Run:
    """A finished or interrupted training run, by its folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @cached_property
    def model(self) -> Model:
        """The model of the run: its last epoch, or the one that was chosen."""
        return load(self.path)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The final evaluation (`metrics.json`), or None where the run has not reached it."""
        from resnetkit.training.choosing import with_choice

        metrics = self.folder.metrics()
        return metrics if metrics is None or "chosen" in metrics else with_choice(metrics, self.choice)

    @property
    def choice(self) -> Choice | None:
        """Which epoch is the model, and what chose it; None before the first is done."""
        from resnetkit.training.choosing import choice_of_run

        return choice_of_run(self.folder)

    @property
    def description(self) -> dict[str, Any]:
        """What was asked for and how far it is: data, epochs, epochs_done, folds, folds_begun, started.

        Raises `DataError` for a run whose files are missing or broken.
        """
        import json

        from resnetkit.training import state as states

        if not self.folder.state.is_dir():
            raise DataError(f"{self.path}: has no state/ in it: it cannot be resumed, its model answers")
        said = states.describe(self.folder.state)
        try:
            environment = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"{self.path}/environment.json: cannot be read ({error.strerror}); copy the run again"
            ) from error
        except ValueError as error:
            raise DataError(f"{self.path}: its state/ or environment.json is broken ({error})") from error
        try:
            return {
                "data": list(said["request"]["request"]["data"]),
                "epochs": int(said["request"]["recipe"]["epochs"]),
                "epochs_done": int(said["position"]["epoch"]),
                "folds": said["request"]["request"].get("folds"),
                "folds_begun": sum(path.name.isdecimal() for path in self.folder.folds.glob("*")),
                "started": str(environment["started"]),
            }
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(f"{self.path}: its state/ or environment.json is broken ({error})") from error

    @property
    def history(self) -> list[dict[str, str]]:
        """The rows of `results.csv`, as text."""
        import csv

        with open(self.path / "results.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def evaluate(self, *data: Any, **options: Any) -> Evaluation:
        """Score the model on other pictures; the options are those of `evaluate`."""
        return evaluate(*data, model=self.path, **options)

    def report(self, **options: Any) -> Path:
        """Write the run's page again and return the file; the options are those of `reporting.report`."""
        return report(self.path, **options)

    def checklist(self, **options: Any) -> Checklists:
        """Write the run's checklists, CLAIM 2024 and STARD-AI; the options are those of `checklists.checklist`."""
        return checklist(self.path, **options)

    def __fspath__(self) -> str:
        """A run stands for its folder wherever a path is taken: `load(run)`, `resume(run)`, `report(run)`."""
        return str(self.path)

    def __repr__(self) -> str:
        from resnetkit.training.run import of_what, reached

        try:
            metrics = self.metrics
            figure = "" if metrics is None else f", {percent(reached(metrics))} {of_what(metrics)}"
        except DataError:
            figure = ", its metrics.json is broken"
        return f"Run({str(self.path)!r}{figure})"


def runs(root: str | Path = RUNS) -> list[Run]:
    """Return the runs of a folder, newest first."""
    from resnetkit.training.run import all_runs

    return [Run(folder) for folder in all_runs(Path(root))]
