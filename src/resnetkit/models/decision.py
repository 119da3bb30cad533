"""From logits to an answer: softmax with a temperature, "not sure" below a threshold, the least expected cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeGuard

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.errors import DataError, UsageError
from resnetkit.models.costs import Costs, costs_of
from resnetkit.models.detection.detected import Detected
from resnetkit.models.point import Point
from resnetkit.words import counted

# The rates and coverages that thresholds are fitted for, as text: they are keys in files.
REJECTS = ("0.01", "0.02", "0.05", "0.1", "0.2")
COVERAGES = ("0.8", "0.9", "0.95", "0.99")
# The bound keeps a temperature a float32, in which logits are divided by it.
_LEAST_FLOAT = 1e-30


Status = Literal["ok", "not_sure"]
Ranked = tuple[tuple[str, float], ...]
# What a picture is told to be or to have: one class, none or several labels, objects in their places.
Gives = Literal["class", "labels", "objects"]
GIVEN: Mapping[Gives, str] = {"class": "one class", "labels": "several labels", "objects": "objects"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of one picture: `classes` in the order of the outputs, and how many of the best are told.

    The network saw what `preprocess` makes of an upright picture of `size` (width, height).
    """

    classes: Sequence[str]
    top_k: int
    size: tuple[int, int]
    preprocess: Preprocess

    @property
    def view(self) -> View:
        """Where the pixels that the network saw lie on the picture."""
        return self.preprocess.view(*self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model says of one picture: the most probable classes, best first, and the `labels` or `objects` it has.

    `labels` is None where a picture has one class, the first of `top`; `objects`, the surest first, are None where
    none are looked for, and then there is a `top`.
    """

    status: Status
    top: Ranked
    labels: tuple[str, ...] | None = None
    objects: tuple[Detected, ...] | None = None
    warnings: tuple[str, ...] = ()


def ranked(probabilities: np.ndarray, classes: Sequence[str], *, top_k: int | None = None) -> Ranked:
    """Return names and probabilities, the `top_k` most probable first; equal ones in the order of `classes`."""
    assert len(probabilities) == len(classes), f"{len(probabilities)} outputs, {len(classes)} classes"
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple((classes[index], float(probabilities[index])) for index in best)


def check_known(values: Mapping[str, Any], known: type) -> None:
    """Raise `DataError` for fields of a header's `decision` that `known` lacks, as they would change the answers."""
    if unknown := sorted(set(values) - {field.name for field in fields(known)}):
        raise DataError(f"the decision has unknown fields {unknown}: a newer version wrote it; upgrade resnetkit")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """How logits become an answer: divided by `temperature`, and "not sure" when the best is below `threshold`.

    `temperature` 1 leaves the network's own confidence; above 1 tempers it (Guo et al. 2017, arXiv:1706.04599).
    `threshold` is a probability in [0, 1]; None answers always. `least` is the probability from which on a class
    belongs to the prediction set; None: the best classes are given whatever they reach. Thresholds to choose from:
    `rejects` by the share of right answers that they turn away, `sets` by the share of sets that hold the true class,
    both fitted on `fitted_on` held-out pictures, whose content is `fitted_to`. With a `point` one class is looked for,
    and told from its own probability on; with `costs` of errors the class is told that costs least on average.
    `case_temperature` does for the mean of several pictures' probabilities what `temperature` does for one picture's.
    """

    temperature: float = 1.0
    threshold: float | None = None
    least: float | None = None
    rejects: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, float] = field(default_factory=dict)
    fitted_on: int | None = None
    fitted_to: str | None = None
    point: Point | None = None
    case_temperature: float = 1.0
    costs: Costs | None = None

    def __post_init__(self) -> None:
        if self.costs is not None and (self.point or self.rejects or self.sets):
            raise UsageError("a decision by costs has no thresholds and looks for no class")
        for name in ("temperature", "case_temperature"):
            value = getattr(self, name)
            if not _is_number(value) or not _LEAST_FLOAT < value < 1 / _LEAST_FLOAT:
                raise UsageError(f"decision.{name} must be a number above 0, not {value!r:.40}")
        probabilities: dict[str, object] = {"threshold": self.threshold, "least": self.least}
        for name, table in (("rejects", self.rejects), ("sets", self.sets)):
            if not isinstance(table, Mapping):
                raise UsageError(f"decision.{name} must be a table, not {table!r:.40}")
            probabilities |= {f"{name}.{key}": value for key, value in table.items()}
        for name, value in probabilities.items():
            if value is not None and not (_is_number(value) and 0 <= value <= 1):
                raise UsageError(f"decision.{name} must be a probability between 0 and 1, not {value!r:.40}")

    def costing(self, costs: Sequence[str], classes: Sequence[str], *, name: str = "the model") -> Decision:
        """Return the decision at the least expected cost, for `costs` of errors as `costs_of` reads them.

        Raises `UsageError` for a model that decides by a threshold.
        """
        read = costs_of(costs, classes)
        if self.point is not None:
            raise UsageError(f"--cost: {name} looks for one class and tells it from a threshold on; leave it out")
        return self.by_costs(read)

    def by_costs(self, costs: Costs | None) -> Decision:
        """Return the same by `costs`; its thresholds, which are those of the most probable class, are left out."""
        if costs is None:
            return self
        return replace(self, costs=costs, rejects={}, sets={}, threshold=None, least=None)

    def asked(
        self, *, reject: float | None = None, coverage: float | None = None, prevalence: float | None = None,
        name: str = "the model",
    ) -> Decision:  # fmt: skip
        """Return the decision that turns away `reject` of right answers, or gives sets that hold the truth so often.

        With a `prevalence` the class that is looked for is so frequent among the pictures: it is told of the same ones,
        and all probabilities are theirs. Raises `UsageError` for a rate that was not fitted, and for a model that none
        was fitted for.
        """
        if (self.point or self.costs) and (reject is not None or coverage is not None):
            option = "--reject" if reject is not None else "--coverage"
            how = "looks for one class and tells it from a threshold on" if self.point else "decides by costs of errors"
            raise UsageError(f"{option}: {name} {how}; leave it out")
        if prevalence is not None and self.point is None:
            raise UsageError(
                f"--prevalence: {name} looks for no class; resnetkit evaluate DATA --model MODEL --finding CLASS "
                "--calibrated FILE.safetensors makes one that does"
            )
        threshold = None if reject is None else _fitted(self.rejects, reject, "--reject", REJECTS, name)
        least = None if coverage is None else _fitted(self.sets, coverage, "--coverage", COVERAGES, name)
        return replace(
            self,
            threshold=self.threshold if threshold is None else threshold,
            least=self.least if least is None else least,
            point=self.point if self.point is None or prevalence is None else self.point.stated(prevalence),
        )

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return `[N, K]` probabilities of `[N, K]` logits, float32 but at a stated prevalence; a row adds up to 1."""
        found = softmax(logits, temperature=self.temperature)
        return found if self.point is None else self.point.restated(found)

    def of_cases(self, means: np.ndarray) -> np.ndarray:
        """Return `[C, K]` probabilities of cases of the `[C, K]` means of their pictures' ones."""
        return means if self.case_temperature == 1 else softmax(log_of(means), temperature=self.case_temperature)

    @property
    def as_fitted(self) -> Decision:
        """The same without a stated prevalence."""
        return self if self.point is None else replace(self, point=replace(self.point, prevalence=None))

    def told(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class, `[N]`, that `[N, K]` probabilities tell: the most probable, or the one looked for."""
        by = self.point or self.costs
        told: np.ndarray = probabilities.argmax(axis=1) if by is None else by.told(probabilities)
        return told

    def answer(self, probabilities: np.ndarray, question: Question) -> Answer:
        """Return what `[K]` probabilities say of a picture: the most probable classes, or those of its set.

        The class that is told comes first, which need not be the most probable where one is looked for, or errors cost.
        """
        top_k = question.top_k
        top = ranked(probabilities, question.classes)
        if self.point is not None or self.costs is not None:
            told = question.classes[int(self.told(probabilities[None])[0])]
            top = tuple(sorted(top, key=lambda entry: entry[0] != told))
        top = top[:top_k]
        status: Status = "not_sure" if self.threshold is not None and top[0][1] < self.threshold else "ok"
        if self.least is None:
            return Answer(status=status, top=top)
        members = max(1, int((probabilities >= self.least).sum()))
        if members <= top_k:
            return Answer(status=status, top=top[:members])
        warning = f"any of {members} classes is possible; top holds {top_k}"
        return Answer(status="not_sure", top=top[:members], warnings=(warning,))

    @property
    def gives(self) -> Gives:
        """One class per picture."""
        return "class"

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        if self.costs is not None:
            return f"temperature {self.temperature:.2f} and the cost of {counted(len(self.costs.pairs), 'error')}"
        if self.point is None:
            of_cases = f", for groups {self.case_temperature:.2f}," if self.case_temperature != 1 else ""
            return f"temperature {self.temperature:.2f}{of_cases} and thresholds"
        unmet = "" if self.point.met else " (which only telling it of all or of none reaches)"
        return f"temperature {self.temperature:.2f} and a threshold of {self.point.at:.3g} for {self.point.goal}{unmet}"

    def to_json(self) -> dict[str, Any]:
        """Return the `decision` dict of a checkpoint's header: what differs from the defaults."""
        default = Decision()
        plain = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        own = {"point": self.point, "costs": self.costs}
        return plain | {name: value.to_json() for name, value in own.items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Decision:
        """Read a header's `decision` dict; an empty one means the defaults.

        Raises `DataError` for unknown fields, which would change the answers, `UsageError` for impossible values.
        """
        check_known(values, cls)
        read: dict[str, Any] = {"point": Point.from_json, "costs": Costs.from_json}
        own = {name: read[name](values[name]) for name in read if values.get(name) is not None}
        return cls(**{**values, **own})


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fitted(known: Mapping[str, float], wanted: float, option: str, offered: Sequence[str], name: str) -> float:
    key = f"{wanted:g}"
    if key not in offered:
        raise UsageError(f"{option} {wanted:g}: choose {', '.join(offered)}")
    if key not in known:
        raise UsageError(
            f"{option}: {name} was never held against pictures that it did not learn from; "
            "resnetkit evaluate DATA --model MODEL --calibrated FILE.safetensors makes one that was"
        )
    return known[key]


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithm of probabilities, from which a softmax makes them again; that of 0 is finite."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Return the float32 softmax over the last axis of `logits / temperature`; logits of any size do not overflow.

    Logits that are not finite give NaN, without a warning: callers refuse those with a message that helps.
    """
    scaled = np.asarray(logits, dtype=np.float32) / np.float32(temperature)
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
