"""From pictures to names: one picture, or a stream of them with decoding and network overlapped."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeVar

import numpy as np

from resnetkit.data.dataset import Dataset
from resnetkit.data.opening.images import Opened, upright_size
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.threads import ahead
from resnetkit.errors import DataError, ResNetKitError, UsageError, problem_line
from resnetkit.inference.engines import Engine, overlapped
from resnetkit.inference.given import Given, Picture, picture_of, pictures_of
from resnetkit.inference.prediction import Prediction
from resnetkit.models.decision import Decision, Question
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.thresholds import Thresholds
from resnetkit.runtime import available_threads, refuse_forked

# For pictures of 32 pixels that is 96, from where on `train` takes pictures for photos.
_FAR_LARGER = 3
# So few pictures are named one by one: an engine takes longer to get ready for many.
_FEW = 4
Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Read:
    """A picture that was read: `[S, S, C]` uint8 pixels as the network wants them, or `error`, why there are none.

    `size`: width and height of the upright original.
    """

    source: str
    _: KW_ONLY
    pixels: np.ndarray | None = None
    size: tuple[int, int] | None = None
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
    decision: Decision | Thresholds | Sureness = field(default_factory=Decision)
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
        return self._told(self.answered(pictures, batch_size=batch_size, threads=threads), top_k=top_k)

    def answered(
        self, pictures: Dataset | Given | Iterable[Given], *, batch_size: int | None = None, threads: int | None = None
    ) -> Generator[tuple[list[Read], np.ndarray | None]]:
        """Yield batches of pictures, in order, with the outputs `[n, ...]` for those that could be read, None for none.

        Memory and errors are those of `predict_many`.
        """
        found, count = pictures_of(pictures, frames=self.preprocess.frames)
        return self.answered_of(found, count=count, batch_size=batch_size, threads=threads)

    def answered_of(
        self, found: Iterable[Picture], *, count: int | None = None, batch_size: int | None = None,
        threads: int | None = None,
    ) -> Generator[tuple[list[Read], np.ndarray | None]]:  # fmt: skip
        """Yield the same of pictures that are opened already; `count`: how many there are, where that is known."""
        few = batch_size is None and count is not None and count <= _FEW
        if batch_size is None:
            batch_size = 1 if few else self.engine.batch_size
        _check_counts(batch_size=batch_size)
        reads = _ahead(self._read, found, threads=threads or available_threads(), limit=2 * batch_size)
        return self._stream(reads, batch_size=batch_size, few=few)

    def answered_live(
        self, found: Iterable[Picture], *, batch_size: int = 1
    ) -> Generator[tuple[list[Read], np.ndarray | None]]:
        """Yield the same of pictures that come one by one, as soon as a batch is full: the next may be long in coming.

        One thread reads ahead of the network what has come.
        """
        _check_counts(batch_size=batch_size)
        with contextlib.closing(ahead((self._read(picture) for picture in found), limit=batch_size)) as reads:
            for batch in iter(lambda: list(itertools.islice(reads, batch_size)), []):
                pixels = _stacked(batch)
                yield batch, None if pixels is None else self.engine.logits(pixels)

    def _told(self, answered: Generator[tuple[list[Read], np.ndarray | None]], *, top_k: int) -> Generator[Prediction]:
        with contextlib.closing(answered):
            for batch, outputs in answered:
                yield from self._answers(batch, outputs, top_k=top_k)

    def _stream(
        self, reads: Generator[Read], *, batch_size: int, few: bool
    ) -> Generator[tuple[list[Read], np.ndarray | None]]:
        batches = iter(lambda: list(itertools.islice(reads, batch_size)), [])
        asked = ((batch, _stacked(batch)) for batch in batches)
        answered: Iterator[tuple[list[Read], np.ndarray | None]]
        if few:
            answered = ((batch, None if pixels is None else self.engine.logits(pixels)) for batch, pixels in asked)
        else:
            answered = overlapped(self.engine, asked)
        # An error keeps what it passed alive: the threads that decode end here, not when that is collected some day.
        with contextlib.closing(reads):
            yield from answered

    def not_finite(self, source: str) -> str:
        """Return what is wrong where a picture's outputs are no numbers."""
        return f"{source}: {self.name} answers with numbers that are not finite: train it again or use another"

    def _read(self, picture: Picture) -> Read:
        """Read and preprocess one picture; what is wrong with it becomes its one line."""
        source = picture.source
        try:
            image = picture.open(self.preprocess.page)
            warnings = _warnings(image) + self._beyond_its_training(*image.size)
            pixels = self.preprocess.pixels(image)
            return Read(source, pixels=pixels, size=upright_size(image), warnings=warnings)
        except (ResNetKitError, OSError, SyntaxError) as problem:  # Pillow's word for a broken PNG is SyntaxError
            return Read(source, error=problem_line(problem, source=source))

    def _beyond_its_training(self, width: int, height: int) -> tuple[str, ...]:
        """Say so where a picture is a photo and the model has only seen thumbnails."""
        side = self.trained_side
        if side is None or min(width, height) < _FAR_LARGER * side:
            return ()
        what = f"{self.name} knows only {len(self.classes)} classes of {side}x{side} pictures"
        return (f"{what}, and this one has {width}x{height} pixels: its answer may mean nothing",)

    def _answers(self, batch: Sequence[Read], outputs: np.ndarray | None, *, top_k: int) -> list[Prediction]:
        """Return one prediction per picture, in order; `outputs` are those of the ones that could be read."""
        rows = iter(() if outputs is None else self.decision.probabilities(outputs))
        return [
            Prediction(source=read.source, status="error", error=read.error)
            if read.pixels is None
            else self.told(read, next(rows), top_k=top_k)
            for read in batch
        ]

    def told(self, read: Read, row: np.ndarray, *, top_k: int) -> Prediction:
        """Return the prediction of what the decision found in the outputs for one picture, its pixels left aside."""
        if not np.isfinite(row).all():
            return Prediction(source=read.source, status="error", error=self.not_finite(read.source))
        assert read.size is not None, "a picture that was read has a size"
        question = Question(classes=self.classes, top_k=top_k, size=read.size, preprocess=self.preprocess)
        return Prediction.of(self.decision.answer(row, question), read.source, size=read.size, warnings=read.warnings)


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
