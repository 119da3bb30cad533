"""Naming millions: a folder of parts that appear whole, so that the same command goes on where it stopped.

The sources, in their order, are cut into parts of 1,000; `part-00007-of-00060.csv` holds the rows of the seventh. It
is written when all of its rows are there (temporary file, flush, fsync, rename), so it exists whole or not at all, and
what exists is done. `_bulk.json` says what the parts are made from and with, and anything else is refused.

Shard I of N makes the parts I, I + N, I + 2N, ...; the parts themselves do not depend on N. So processes need to know
nothing of each other: they share the folder, or have one each whose files are put together afterwards. The names of
the pictures are kept in memory; pictures and answers are not, beyond those of one part.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from resnetkit.data.dataset import Dataset
from resnetkit.errors import DataError, InterruptedRun, ResourceError, UsageError, near_miss, signal_of
from resnetkit.files import write_text
from resnetkit.inference import output as outputs
from resnetkit.inference.output import Tally
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.decision import Decision, Gives
from resnetkit.runtime import place
from resnetkit.watcher import Count
from resnetkit.words import counted

PART_SIZE = 1_000
RECORD = "_bulk.json"  # programs that read a folder of Parquet or CSV pass over names that begin with _ or .
FORMATS = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several processes that divide the parts among them: `number` counts from 1.

    >>> [part for part in range(1, 8) if Shard(2, of=3).takes(part)]
    [2, 5]
    """

    number: int = 1
    _: KW_ONLY
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(f"--shard {self}: there are shards 1/{max(self.of, 1)} to {max(self.of, 1)}/{self.of}")

    def takes(self, part: int) -> bool:
        """Tell whether a part, counted from 1, is this one's."""
        return (part - 1) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_of(text: str | None) -> Shard:
    """Return the shard that `I/N` means, or without a text this process's place among those that torchrun started."""
    here = place()
    if text is None:
        return Shard(here.rank + 1, of=here.size)
    if here.launched:
        raise UsageError(f"--shard {text}: torchrun divides the work among its processes already; leave it out")
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise UsageError(f"--shard {text}: write it as I/N, for two processes 1/2 and 2/2")
    return Shard(int(number), of=int(of))


def is_folder(output: str) -> bool:
    """Tell whether an --output means a folder of parts: `rows/`, one that is there, or a name without a suffix.

    `found.yolo/` means none: YOLO's label files are a folder by themselves.
    """
    if Path(output).suffix.lower() == ".yolo":
        return False
    return output.endswith(("/", os.sep)) or os.path.isdir(output) or not Path(output).suffix


def format_of(folder: Path) -> outputs.Format:
    """Return the format of the parts, set by the suffix of the folder, as in `rows.parquet/`; without one it is CSV.

    Raises `UsageError` for other suffixes, and for Parquet where pyarrow is not installed.
    """
    suffix = folder.suffix.lower().removeprefix(".")
    if suffix and suffix not in FORMATS:
        known = [f".{name}" for name in FORMATS]
        raise UsageError(
            f"--output {folder}/: the suffix of a folder sets the format of its parts and must be {', '.join(known)} "
            f"or absent (CSV){near_miss(folder.suffix, known)}"
        )
    return outputs.format_of(Path(f"part.{suffix or 'csv'}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What the parts of a folder are made from and with; `_bulk.json`.

    `weights` and `sources` are digests, the latter of the names of the pictures in their order.
    """

    model: str
    weights: str
    precision: str
    top_k: int
    format: str
    pictures: int
    sources: str
    threshold: float | None = None
    least: float | None = None
    prevalence: float | None = None
    costs: str | None = None
    part_size: int = PART_SIZE
    gives: Gives = "class"

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.part_size < 1:
            raise ValueError(f"{self.pictures} pictures in parts of {self.part_size}")

    @property
    def num_parts(self) -> int:
        """The number of parts, the last one perhaps shorter."""
        return -(-self.pictures // self.part_size)

    def name(self, part: int) -> str:
        """Return the file name of a part.

        >>> Record(model="m", weights="", precision="fp32", top_k=5, format="csv", pictures=1500, sources="").name(2)
        'part-00002-of-00002.csv'
        """
        return f"part-{part:05d}-of-{self.num_parts:05d}.{self.format}"

    def rows(self, part: int) -> slice:
        """Return which pictures belong to a part."""
        return slice((part - 1) * self.part_size, min(part * self.part_size, self.pictures))

    def differences(self, now: Record) -> list[str]:
        """Say in words what of this is not so in `now`."""
        said = {
            "weights": f"with {self.model}, not {now.model}"
            if self.model != now.model
            else f"with other weights of {now.model}",
            "precision": f"in {self.precision}, not {now.precision}",
            "top_k": f"with --top-k {self.top_k}, not {now.top_k}",
            "threshold": f"with --reject at {self.threshold}, not {now.threshold}",
            "least": f"with --coverage at {self.least}, not {now.least}",
            "prevalence": f"with --prevalence at {self.prevalence}, not {now.prevalence}",
            "costs": f"with --cost {self.costs}, not {now.costs}",
            "format": f"as {self.format}, not {now.format}",
            "sources": f"from {counted(self.pictures, 'picture')}, not {now.pictures:,}"
            if self.pictures != now.pictures
            else "from other pictures, or from the same under other paths",
        }
        return [words for name, words in said.items() if getattr(self, name) != getattr(now, name)]


def record_of(
    pictures: Dataset, predictor: Predictor, *, files: Sequence[Path], precision: str, top_k: int, format: str
) -> Record:
    """Return what parts of `pictures` by a model are made from and with; `files` hold its weights."""
    decision = predictor.decision
    of_one = decision if isinstance(decision, Decision) else Decision()
    return Record(
        model=predictor.name, weights=_weights_digest(files), precision=precision, top_k=top_k, format=format,
        pictures=len(pictures), sources=_sources_digest(pictures),
        gives=decision.gives, threshold=of_one.threshold, least=of_one.least,
        prevalence=of_one.point.prevalence if of_one.point is not None else None,
        costs=of_one.costs.words(predictor.classes) if of_one.costs is not None else None,
    )  # fmt: skip


def _weights_digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:32]


def _sources_digest(pictures: Dataset) -> str:
    digest = hashlib.sha256(b"" if pictures.hidden is None else pictures.hidden.token.encode())
    for item in pictures.items:
        digest.update(item.source.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """A folder of parts under the record in it."""

    folder: Path
    record: Record

    def done(self) -> list[int]:
        """Return the parts that are there, in order."""
        there = {entry.name for entry in os.scandir(self.folder)}
        return [part for part in range(1, self.record.num_parts + 1) if self.record.name(part) in there]

    def make(
        self,
        predictor: Predictor,
        pictures: Dataset,
        *,
        shard: Shard | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
        progress: Count = lambda done, total: None,
    ) -> None:
        """Make the parts of a shard that are not there yet; `progress` hears of the pictures of the shard.

        Raises `InterruptedRun` on Ctrl-C and SIGTERM and `ResourceError` where a part cannot be written: what is done
        stays, and the same call goes on.
        """
        shard, there = shard or Shard(), set(self.done())
        own = [part for part in range(1, self.record.num_parts + 1) if shard.takes(part)]
        waiting = [part for part in own if part not in there]
        finished, total = (self._num_pictures(parts) for parts in (set(own) & there, own))
        progress(finished, total)
        predictions = self._predictions(predictor, pictures, waiting, batch_size=batch_size, threads=threads)
        try:
            with contextlib.closing(predictions):
                for part in waiting:
                    rows: list[Prediction] = []
                    for prediction in itertools.islice(predictions, self._num_pictures([part])):
                        rows.append(prediction)
                        progress(finished + len(rows), total)
                    self._write(part, rows)
                    finished += len(rows)
        except KeyboardInterrupt as stopped:
            raise InterruptedRun(f"stopped; {self._way_on()}", signal_number=signal_of(stopped)) from None

    def _num_pictures(self, parts: Sequence[int] | set[int]) -> int:
        return sum(self.record.rows(part).stop - self.record.rows(part).start for part in parts)

    def _predictions(
        self, predictor: Predictor, pictures: Dataset, parts: Sequence[int], **how: int | None
    ) -> Generator[Prediction]:
        """Yield the predictions of several parts as one stream: the engine does not run dry between them."""
        if not parts:
            return
        items = tuple(item for part in parts for item in pictures.items[self.record.rows(part)])
        yield from predictor.predict_many(replace(pictures, items=items), top_k=self.record.top_k, **how)

    def _write(self, part: int, rows: Sequence[Prediction]) -> None:
        path = self.folder / self.record.name(part)
        try:
            with outputs.to_file(path, top_k=self.record.top_k, gives=self.record.gives) as write:
                for prediction in rows:
                    write(prediction)
        except OSError as error:
            why = error.strerror or error
            raise ResourceError(f"{path}: cannot be written ({why}): mend that; {self._way_on()}") from error

    def _way_on(self) -> str:
        parts = counted(self.record.num_parts, "part")
        return f"{len(self.done()):,} of {parts} are in {self.folder}/, and the same command goes on"

    def summary(self, shard: Shard | None = None) -> Summary:
        """Count the rows of all parts that are there, whoever made them; `shard` says whose are one's own.

        Raises `DataError` for a part that does not hold its rows.
        """
        shard, there = shard or Shard(), self.done()
        everything, own = Tally(self.record.gives), Tally(self.record.gives)
        problems: list[str] = []
        for part in there:
            tallies = (everything, own) if shard.takes(part) else (everything,)
            for row in self._rows(part):
                for tally in tallies:
                    tally.count(row.status, row.labels)
                if row.error and len(problems) < outputs.MOST_PROBLEMS:
                    problems.append(f"error: {row.error}")
        missing = self.record.num_parts - len(there)
        if not missing:
            self._sweep()
        return Summary(bulk=self, tally=everything, own=own, missing=missing, problems=tuple(problems))

    def _rows(self, part: int) -> Iterator[outputs.Row]:
        """Yield the answers of a part; raises `DataError` after them where they are not as many as they should be."""
        path, wanted = self.folder / self.record.name(part), self._num_pictures([part])
        try:
            there = 0
            for row in outputs.answers(path):
                there += 1
                yield row
            if there != wanted:
                raise DataError(f"{path}: holds {there:,} rows where {wanted:,} belong")
        except DataError as error:
            raise DataError(f"{error}; delete it, and the same command makes it again") from error

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for left in self.folder.glob(".part-*.tmp"):
            left.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What the parts of a folder hold: `tally` of all that are there, `own` of those of this shard."""

    bulk: Bulk
    tally: Tally
    own: Tally
    missing: int = 0
    problems: tuple[str, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "output": str(self.bulk.folder),
            "parts": self.bulk.record.num_parts,
            "missing_parts": self.missing,
            "pictures": self.tally.total,
            "named": self.tally.named,
            "not_sure": self.tally.not_sure,
            "errors": self.tally.errors,
            "per_class": dict(self.tally.labels.most_common()),
        }

    def where(self) -> str:
        """Say in a line where the rows are, and how many parts are missing."""
        parts = counted(self.bulk.record.num_parts, "part")
        if not self.missing:
            return f"rows in {self.bulk.folder}/, {parts}"
        missing = f"{self.missing:,} of {parts} missing in {self.bulk.folder}/"
        return f"{missing}, for other shards to write (the same command counts again)"


def open_folder(folder: Path, record: Record) -> Bulk:
    """Return the folder ready for parts under `record`, made where it is not there.

    Raises `UsageError` for a folder with parts of something else, or with other files in it.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}/: is a file; name a folder")
    path = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _refuse_others(folder)
            write_text(path, json.dumps(asdict(record), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise ResourceError(f"{folder}/: cannot be written to ({error.strerror or error})") from error
    there = _read(path)
    different = there.differences(record)
    if different:
        raise UsageError(
            f"--output {folder}/: its parts were made {'; '.join(different)}; repeat that command to go on, "
            "name another folder, or delete this one"
        )
    return Bulk(folder=folder, record=there)


def _refuse_others(folder: Path) -> None:
    """Raise `UsageError` where somebody's files lie in the folder."""
    others = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    if others and RECORD not in others:  # another process may just have written it
        raise UsageError(
            f"--output {folder}/: has other files in it ({others[0]}) and no {RECORD}; name a new folder for the rows"
        )


def _read(path: Path) -> Record:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("several"):  # how older versions wrote it
            values["gives"] = "labels"
        return Record(**{name.name: values[name.name] for name in fields(Record) if name.name in values})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read; delete {path.parent}/ and begin again") from error
