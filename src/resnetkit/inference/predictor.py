"""From pictures to names: one picture, or a stream of them with decoding and network overlapped."""

from __future__ import annotations

import contextlib
import html
import itertools
import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from resnetkit.data.dataset import Dataset
from resnetkit.data.opening.images import Opened
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResNetKitError, UsageError, problem_line
from resnetkit.inference.engines import Engine, overlapped
from resnetkit.inference.given import Given, Picture, picture_of, pictures_of
from resnetkit.models.decision import Decision
from resnetkit.models.thresholds import Thresholds
from resnetkit.runtime import available_threads, refuse_forked
from resnetkit.words import percent

# For pictures of 32 pixels that is 96, from where on `train` takes pictures for photos.
_FAR_LARGER = 3
# So few pictures are named one by one: an engine takes longer to get ready for many.
_FEW = 4
Status = Literal["ok", "not_sure", "error"]
Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Prediction:
    """What a model says about one picture.

    `label` and `probability` are the most probable class, also when the status is `not_sure`; both are None for an
    `error`. `top` holds the most probable classes, best first, `label` included. Probabilities are in [0, 1].
    `labels`, of a model of several labels, are those that the picture has, perhaps none; `top` holds them all.
    """

    source: str
    status: Status
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    labels: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    def __post_init__(self) -> None:
        assert (self.status == "error") == (self.error is not None) == (self.label is None)
        assert (self.label is None) == (self.probability is None)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict with every key; probabilities are rounded to 6 decimals."""
        return {
            "source": self.source,
            "status": self.status,
            "label": self.label,
            "probability": None if self.probability is None else round(self.probability, 6),
            "top": [{"label": label, "probability": round(probability, 6)} for label, probability in self.top],
            **({} if self.labels is None else {"labels": list(self.labels)}),
            "warnings": list(self.warnings),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Prediction:
        """Read what `to_json` wrote."""
        top = tuple((entry["label"], entry["probability"]) for entry in values["top"])
        labels = None if values.get("labels") is None else tuple(values["labels"])
        return cls(**values | {"top": top, "labels": labels, "warnings": tuple(values["warnings"])})

    def __repr__(self) -> str:
        return f"Prediction({self.source!r}: {self._answer()})"

    def _repr_html_(self) -> str:
        return f'<span dir="auto"><b>{html.escape(self._answer())}</b> {html.escape(self.source)}</span>'

    def _answer(self) -> str:
        if self.error is not None:
            return f"error: {self.error}"
        if self.labels is not None:
            return ", ".join(self.labels) or "none of the labels"
        names = ", ".join(f"{label} {percent(probability)}" for label, probability in self.top[:3])
        return f"not sure: {names}" if self.status == "not_sure" else names


@dataclass(frozen=True, slots=True)
class Read:
    """A picture that was read: `[S, S, C]` uint8 pixels as the network wants them, or `error`, why there are none."""

    source: str
    _: KW_ONLY
    pixels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Predictor:
    """A network that is ready to name pictures: `name` is what people call the model.

    `trained_side`: side in pixels of the pictures it was trained on, where all had one; answers for pictures far larger
    than that come with a warning.

    >>> predictor = Predictor(engine, classes=("cat", "dog"), preprocess=preprocess)  # doctest: +SKIP
    >>> predictor.predict("cat.jpg")  # doctest: +SKIP
    Prediction('cat.jpg': cat 97.1 %, dog 2.9 %)
    """

    engine: Engine
    _: KW_ONLY
    classes: Sequence[str]
    preprocess: Preprocess
    decision: Decision | Thresholds = field(default_factory=Decision)
    name: str = "model"
    trained_side: int | None = None

    def predict(self, picture: Given, *, top_k: int = 5) -> Prediction:
        """Name one picture: a path (an archive of one picture counts), a PIL image, an array, bytes, an open file.

        Arrays are `[H, W]` grey, `[H, W, 3]` RGB or `[H, W, 4]` RGBA, uint8. Raises `DataError` where the picture
        cannot be read and `UsageError` where the path is missing or names several pictures, or `top_k` is below 1.
        """
        _check_counts(top_k=top_k)
        [prediction] = self.answer([self.read(picture)], top_k=top_k)
        if prediction.error is not None:
            raise DataError(prediction.error)
        return prediction

    def read(self, picture: Given, *, source: str | None = None) -> Read:
        """Return the pixels of one picture, for `answer`; from any number of threads at once.

        `source` is what the prediction shall call it; without it the file's name, or `<image>`, `<array>`, `<bytes>`,
        `<file>`. What is wrong with the picture becomes `error`. Raises `UsageError` as `predict` does.

        >>> reads = list(threads.map(model.predictor.read, uploads))  # doctest: +SKIP
        >>> predictions = model.predictor.answer(reads)  # doctest: +SKIP
        """
        return self._read(picture_of(picture, source=source))

    def answer(self, reads: Sequence[Read], *, top_k: int = 5) -> list[Prediction]:
        """Return the prediction of each picture that `read` gave, in order, computed as one batch."""
        _check_counts(top_k=top_k)
        pixels = _stacked(reads)
        return self._answers(reads, None if pixels is None else self.engine.logits(pixels), top_k=top_k)

    def predict_many(
        self, pictures: Dataset | Given | Iterable[Given], *, top_k: int = 5, batch_size: int | None = None,
        threads: int | None = None,
    ) -> Generator[Prediction]:  # fmt: skip
        """Yield a `Prediction` for every picture, in order: of a data set, of folders and archives, of what was given.

        Threads decode ahead of the network, at most two batches, so the memory needed does not grow with the number of
        pictures; a generator is asked for no more. A picture that cannot be read becomes a prediction with status
        `error`; the rest go on. `top_k` says how many classes `top` holds at most; `batch_size` is the engine's choice
        where it is not given. `given.pictures_of` says what raises.
        """
        _check_counts(top_k=top_k)
        found, count = pictures_of(pictures)
        few = batch_size is None and count is not None and count <= _FEW
        if batch_size is None:
            batch_size = 1 if few else self.engine.batch_size
        _check_counts(batch_size=batch_size)
        reads = _ahead(self._read, found, threads=threads or available_threads(), limit=2 * batch_size)
        return self._stream(reads, top_k=top_k, batch_size=batch_size, few=few)

    def _stream(self, reads: Generator[Read], *, top_k: int, batch_size: int, few: bool) -> Generator[Prediction]:
        batches = iter(lambda: list(itertools.islice(reads, batch_size)), [])
        asked = ((batch, _stacked(batch)) for batch in batches)
        answered: Iterator[tuple[list[Read], np.ndarray | None]]
        if few:
            answered = ((batch, None if pixels is None else self.engine.logits(pixels)) for batch, pixels in asked)
        else:
            answered = overlapped(self.engine, asked)
        # An error keeps what it passed alive: the threads that decode end here, not when that is collected some day.
        with contextlib.closing(reads):
            for batch, logits in answered:
                yield from self._answers(batch, logits, top_k=top_k)

    def _read(self, picture: Picture) -> Read:
        """Read and preprocess one picture; what is wrong with it becomes its one line."""
        source = picture.source
        try:
            image = picture.open(self.preprocess.page)
            warnings = _warnings(image) + self._beyond_its_training(*image.size)
            return Read(source, pixels=self.preprocess.pixels(image), warnings=warnings)
        except (ResNetKitError, OSError, SyntaxError) as problem:  # Pillow's word for a broken PNG is SyntaxError
            return Read(source, error=problem_line(problem, source=source))

    def _beyond_its_training(self, width: int, height: int) -> tuple[str, ...]:
        """Say so where a picture is a photo and the model has only seen thumbnails."""
        side = self.trained_side
        if side is None or min(width, height) < _FAR_LARGER * side:
            return ()
        what = f"{self.name} knows only {len(self.classes)} classes of {side}x{side} pictures"
        return (f"{what}, and this one has {width}x{height} pixels: its answer may mean nothing",)

    def _answers(self, batch: Sequence[Read], logits: np.ndarray | None, *, top_k: int) -> list[Prediction]:
        """Return one prediction per picture, in order; `logits` are those of the ones that could be read."""
        rows = iter(() if logits is None else self.decision.probabilities(logits))
        return [
            Prediction(source=read.source, status="error", error=read.error)
            if read.pixels is None
            else self._decide(read, next(rows), top_k=top_k)
            for read in batch
        ]

    def _decide(self, read: Read, probabilities: np.ndarray, *, top_k: int) -> Prediction:
        """Make the prediction of one row of `[K]` probabilities."""
        assert len(probabilities) == len(self.classes), f"{len(probabilities)} outputs, {len(self.classes)} classes"
        if not np.isfinite(probabilities).all():
            error = (
                f"{read.source}: {self.name} answers with numbers that are not finite: train it again or use another"
            )
            return Prediction(source=read.source, status="error", error=error)
        told = self.decision.answer(probabilities, self.classes, top_k=top_k)
        label, probability = told.top[0]
        return Prediction(
            source=read.source, status=told.status, label=label, probability=probability, top=told.top,
            labels=told.labels, warnings=(*read.warnings, *told.warnings),
        )  # fmt: skip


def _stacked(batch: Sequence[Read]) -> np.ndarray | None:
    """Return the pixels of those that could be read, or None where none could."""
    pixels = [read.pixels for read in batch if read.pixels is not None]
    return np.stack(pixels) if pixels else None


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, (int, np.integer)):
            raise UsageError(f"{name} must be a whole number, not {count!r}")
        if count < 1:
            raise UsageError(f"{name} must be at least 1, not {count}")


def _ahead(function: Callable[[Asked], Made], items: Iterable[Asked], *, threads: int, limit: int) -> Generator[Made]:
    """Yield `function(item)` in the order of `items`, computed by threads at most `limit` items ahead."""
    remaining, begun_in = iter(items), os.getpid()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="decode")
    try:
        waiting: deque[Future[Made]] = deque(pool.submit(function, item) for item in itertools.islice(remaining, limit))
        while waiting:
            refuse_forked(begun_in)
            made = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(remaining, 1))
            yield made
    finally:
        # Not waited for: where this runs because the garbage collector found a stream that nobody reads on, in a thread
        # that is just starting and holds a lock of `threading`, joining others would never end (seen in a test).
        pool.shutdown(wait=False, cancel_futures=True)


def _warnings(image: Opened) -> tuple[str, ...]:
    """Say what of a readable file was left out; a broken second frame is no reason to lose the first."""
    try:
        several = getattr(image, "is_animated", False)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        several = False
    return ("holds several frames or pages: the first was used",) if several else ()
