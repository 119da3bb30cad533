"""What a model says about a picture: a class, labels, or objects in their places."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resnetkit.models.decision import Answer
from resnetkit.models.detection.detected import Detected, counts_of
from resnetkit.words import percent

Status = Literal["ok", "not_sure", "error"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Where in its video a frame is: its number, counted from 0, and its time in seconds by the stream's time stamps.

    `state` is what the video shows by then, made of this frame and those before: one class, or several labels, each
    with its probability; none where that is not sure. None where nothing was smoothed.
    """

    frame: int
    time: float
    state: tuple[tuple[str, float], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict: the time to milliseconds, probabilities to 6 decimals."""
        told = [{"label": label, "probability": round(probability, 6)} for label, probability in self.state or ()]
        return {"frame": self.frame, "time": round(self.time, 3), "state": None if self.state is None else told}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Moment:
        """Take what `to_json` wrote out of `values`."""
        frame, time, told = (values.pop(name) for name in ("frame", "time", "state"))
        state = None if told is None else tuple((one["label"], one["probability"]) for one in told)
        return cls(frame=frame, time=time, state=state)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Prediction:
    """What a model says about one picture, or about several that are one case.

    `label` and `probability` are the most probable class, also when the status is `not_sure`; both are None for an
    `error`. `top` holds the most probable classes, best first, `label` included. Probabilities are in [0, 1].
    `labels`, of a model of several labels, are those that the picture has, perhaps none; `top` holds them all.
    `objects`, of a detector, are those found on the picture, perhaps none, the surest first; it has no `label` then,
    and `size` is its width and height, upright. `pictures`, of one answer for a case, is how many it has; `unread` are
    those that have no answer, a line for each. `moment`, of a frame of a video, is where in it that is.
    """

    source: str
    status: Status
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    labels: tuple[str, ...] | None = None
    objects: tuple[Detected, ...] | None = None
    size: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    pictures: int | None = None
    unread: tuple[str, ...] = ()
    moment: Moment | None = None

    def __post_init__(self) -> None:
        assert (self.status == "error") == (self.error is not None)
        assert (self.label is None) == (self.error is not None or self.objects is not None)
        assert (self.label is None) == (self.probability is None)
        assert (self.objects is None) == (self.size is None)

    @classmethod
    def of(cls, told: Answer, source: str, *, size: tuple[int, int], warnings: Sequence[str] = ()) -> Prediction:
        """Return what an answer says about the picture `source` of `size` (width, height)."""
        label, probability = (None, None) if told.objects is not None else told.top[0]
        return cls(
            source=source, status=told.status, label=label, probability=probability, top=told.top, labels=told.labels,
            objects=told.objects, size=None if told.objects is None else size, warnings=(*warnings, *told.warnings),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict with every key; probabilities are rounded to 6 decimals."""
        return {
            "source": self.source,
            **({} if self.moment is None else self.moment.to_json()),
            **({} if self.pictures is None else {"pictures": self.pictures, "unread": list(self.unread)}),
            "status": self.status,
            "label": self.label,
            "probability": None if self.probability is None else round(self.probability, 6),
            "top": [{"label": label, "probability": round(probability, 6)} for label, probability in self.top],
            **({} if self.labels is None else {"labels": list(self.labels)}),
            **self._objects_json(),
            "warnings": list(self.warnings),
            "error": self.error,
        }

    def _objects_json(self) -> dict[str, Any]:
        if self.objects is None or self.size is None:
            return {}
        width, height = self.size
        return {"width": width, "height": height, "objects": [one.to_json() for one in self.objects]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Prediction:
        """Read what `to_json` wrote."""
        values = dict(values)
        top = tuple((entry["label"], entry["probability"]) for entry in values["top"])
        labels = None if values.get("labels") is None else tuple(values["labels"])
        size, objects = None, values.pop("objects", None)
        if objects is not None:
            size = values.pop("width"), values.pop("height")
            objects = tuple(Detected.from_json(entry) for entry in objects)
        values["unread"] = tuple(values.get("unread", ()))
        if "frame" in values:
            values["moment"] = Moment.from_json(values)
        read = {"top": top, "labels": labels, "objects": objects, "size": size, "warnings": tuple(values["warnings"])}
        return cls(**values | read)

    @property
    def names(self) -> Sequence[str]:
        """What the picture is called: its one class, its labels, each of its objects; nothing of an error."""
        if self.objects is not None:
            return tuple(one.label for one in self.objects)
        if self.labels is not None:
            return self.labels
        return () if self.label is None else (self.label,)

    def __repr__(self) -> str:
        return f"Prediction({self.source!r}: {self._answer()})"

    def _repr_html_(self) -> str:
        return f'<span dir="auto"><b>{html.escape(self._answer())}</b> {html.escape(self.source)}</span>'

    def _answer(self) -> str:
        if self.error is not None:
            return f"error: {self.error}"
        if self.objects is not None:
            return counts_of(self.names)
        if self.labels is not None:
            return ", ".join(self.labels) or "none of the labels"
        names = ", ".join(f"{label} {percent(probability)}" for label, probability in self.top[:3])
        return f"not sure: {names}" if self.status == "not_sure" else names
