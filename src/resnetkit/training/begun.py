"""What a run was begun with, as its state carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnetkit.data.preprocess import Preprocess
from resnetkit.models.checkpoint import CLASSIFICATION, Spec, spec_from_json
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.request import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What was asked for and what was decided; resume obeys it.

    `cwd` is the folder that paths of the request are relative to, `moved_to` where the pictures lie now. `recipe` is as
    it was written, so that one of an older version can be told; its number of epochs is the run's present one.
    `contents_in_order`: the digests of the pictures lie in the order of the data. `start_spec`: the network of the
    weights that folds begin with. `timed`: the epochs that fit into the minutes are decided.
    """

    request: Request
    cwd: str
    spec: Spec
    preprocess: Preprocess
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    runtime: Runtime
    weights: str | None
    fingerprint: str
    contents_in_order: bool = True
    moved_to: tuple[str, ...] = ()
    start_spec: ResNetSpec | None = None
    timed: bool = False
    task: str = CLASSIFICATION

    @property
    def page(self) -> dict[str, Any]:
        """What `recipe.toml` shows: what was run, resolved."""
        return {
            "data": {"sources": list(self.moved_to or self.request.data), "fingerprint": self.fingerprint},
            "seed": self.request.seed,
            "weights": self.weights or "none",
            "recipe": dict(self.recipe),
            "spec": self.spec.to_json(),
            "preprocess": self.preprocess.to_json(),
            "runtime": self.runtime.to_json(),
        }

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        values: dict[str, Any] = {
            "request": self.request.to_json(), "cwd": self.cwd, "spec": self.spec.to_json(),
            "preprocess": self.preprocess.to_json(), "classes": list(self.classes), "recipe": dict(self.recipe),
            "runtime": self.runtime.to_json(), "weights": self.weights, "fingerprint": self.fingerprint,
        }  # fmt: skip
        values |= {"contents_in_order": True} if self.contents_in_order else {}
        values |= {"moved_to": list(self.moved_to)} if self.moved_to else {}
        values |= {} if self.start_spec is None else {"start_spec": self.start_spec.to_json()}
        values |= {} if self.task == CLASSIFICATION else {"task": self.task}
        return values | ({"timed": True} if self.timed else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Begun:
        """Read what `to_json` wrote, here or in an older version."""
        start = values.get("start_spec")
        return cls(
            request=Request.from_json(values["request"]), cwd=values["cwd"], spec=spec_from_json(values["spec"]),
            preprocess=Preprocess.from_json(values["preprocess"]), classes=tuple(values["classes"]),
            recipe=values["recipe"], runtime=Runtime(**values["runtime"]), weights=values["weights"],
            fingerprint=values["fingerprint"], contents_in_order="contents_in_order" in values,
            moved_to=tuple(values.get("moved_to", ())),
            start_spec=None if start is None else ResNetSpec.from_json(start), timed="timed" in values,
            task=values.get("task", CLASSIFICATION),
        )  # fmt: skip
