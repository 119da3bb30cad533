"""One answer for each patient, study or series: pictures are named one by one, and their probabilities made one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from resnetkit.data.dataset import Dataset
from resnetkit.data.frames import of_files
from resnetkit.errors import UsageError
from resnetkit.inference import aggregation
from resnetkit.inference.aggregation import Aggregation, Running
from resnetkit.inference.given import Given
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor, Read
from resnetkit.models.decision import GIVEN, Decision, Question
from resnetkit.watcher import Count
from resnetkit.words import counted


@dataclass(slots=True)
class Case:
    """What is known of a case while its pictures are read: their probabilities together, and no pixels."""

    name: str
    together: Running
    pictures: int = 0
    unread: list[str] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, read: Read, row: np.ndarray | None, *, error: str | None) -> None:
        """Take the probabilities of one picture, `[K]`, or why there are none."""
        self.pictures += 1
        self.warnings.update(read.warnings)
        if row is None:
            self.unread.append(str(error))
        else:
            self.together.add(row)

    def told(self, predictor: Predictor, *, top_k: int) -> Prediction:
        """Return the answer for the case from those pictures that have one."""
        pictures, unread = self.pictures, tuple(self.unread)
        warnings = tuple(f"{text} ({counted(times, 'picture')})" for text, times in self.warnings.items())
        if not self.together.count:
            error = f"{self.name}: none of its {pictures:,} pictures has an answer" if pictures > 1 else "".join(unread)
            return Prediction(
                source=self.name, status="error", error=error, warnings=warnings, pictures=pictures, unread=unread
            )
        # A class has no place on a picture, so any size will do.
        question = Question(classes=predictor.classes, top_k=top_k, size=(1, 1), preprocess=predictor.preprocess)
        row, decision = self.together.result(), _decision(predictor)
        if decision.point is not None:
            row = decision.point.restated(row[None])[0]
        elif self.together.how == aggregation.MEAN:
            row = decision.of_cases(row[None])[0]
        told = decision.answer(row, question)
        answer = Prediction.of(told, self.name, size=question.size, warnings=warnings)
        return replace(answer, pictures=pictures, unread=unread)


def predict_cases(
    predictor: Predictor, pictures: Dataset, *, how: str = "mean", top_k: int = 5, batch_size: int | None = None,
    threads: int | None = None, progress: Count = lambda done, total: None,
) -> Generator[Prediction]:  # fmt: skip
    """Yield one `Prediction` for each group of the pictures, when the last of its pictures has been named.

    `how` as in `aggregation.asked`. `source` is the name of the group; a picture that is in none is a case of its own
    and keeps its name. `pictures` counts what a case has; those without an answer are `unread`, a line each, and the
    others answer for it. Only the probabilities of cases that are not complete are kept. Raises `UsageError` for a
    model that does not give pictures one class each, or says "not sure".
    """
    asked = checked(predictor, how)
    pictures = of_files(pictures, page=predictor.preprocess.page, frames=predictor.preprocess.frames)
    answered = predictor.answered(pictures, batch_size=batch_size, threads=threads)
    return _each_case(predictor, pictures, answered, asked, top_k=top_k, progress=progress)


def predict_case(
    predictor: Predictor, pictures: Dataset | Given | Iterable[Given], *, how: str = "mean", name: str = "<case>",
    top_k: int = 5, batch_size: int | None = None, threads: int | None = None,
) -> Prediction:  # fmt: skip
    """Return one answer for all of some pictures, as of one series; raises as `predict_cases` does."""
    case = Case(name, Running(checked(predictor, how)))
    with contextlib.closing(predictor.answered(pictures, batch_size=batch_size, threads=threads)) as answered:
        for read, row in _one_by_one(predictor, answered):
            case.add(read, row, error=_error(predictor, read))
    if not case.pictures:
        raise UsageError(f"{name}: holds no pictures, and an answer needs one at least")
    return case.told(predictor, top_k=top_k)


def _each_case(
    predictor: Predictor, pictures: Dataset, answered: Generator[tuple[list[Read], np.ndarray | None]],
    how: Aggregation, *, top_k: int, progress: Count,
) -> Generator[Prediction]:  # fmt: skip
    keys = [(number, item.source) if item.group is None else item.group for number, item in enumerate(pictures.items)]
    to_come, cases = Counter(keys), dict[str | tuple[int, str], Case]()
    with contextlib.closing(answered):
        for number, (read, row) in enumerate(_one_by_one(predictor, answered)):
            key = keys[number]
            case = cases.setdefault(key, Case(key if isinstance(key, str) else key[1], Running(how)))
            case.add(read, row, error=_error(predictor, read))
            progress(number + 1, len(keys))
            if case.pictures == to_come[key]:
                yield cases.pop(key).told(predictor, top_k=top_k)


def _one_by_one(
    predictor: Predictor, answered: Iterable[tuple[Sequence[Read], np.ndarray | None]]
) -> Iterator[tuple[Read, np.ndarray | None]]:
    """Yield each picture with its probabilities, `[K]`, None where there are none."""
    # A stated prevalence is that of cases, so it comes after their pictures became one.
    decision = _decision(predictor).as_fitted
    for batch, outputs in answered:
        rows = iter(() if outputs is None else decision.probabilities(outputs))
        for read in batch:
            row = None if read.pixels is None else next(rows)
            yield read, row if row is None or np.isfinite(row).all() else None


def _decision(predictor: Predictor) -> Decision:
    assert isinstance(predictor.decision, Decision), "which was checked"
    return predictor.decision


def _error(predictor: Predictor, read: Read) -> str:
    return read.error or predictor.not_finite(read.source)


def checked(predictor: Predictor, how: str) -> Aggregation:
    """Return how pictures become one answer; raises `UsageError` for a model that has no such answers."""
    decision = predictor.decision
    if not isinstance(decision, Decision):
        raise UsageError(
            f"one answer for a case: is for models of one class per picture, and {predictor.name} gives "
            f"{GIVEN[decision.gives]}"
        )
    if decision.threshold is not None or decision.least is not None:
        raise UsageError(
            "one answer for a case: --reject and --coverage promise something of single pictures, and nothing of "
            "cases; leave them out"
        )
    finding = None if decision.point is None else decision.point.finding
    return aggregation.asked(how, predictor.classes, finding=finding)
