"""The page of a run: its files gathered, its pictures found again, heat maps made of its errors."""

from __future__ import annotations

import csv
import json
import os
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files
from resnetkit.api.explaining import Maker, open_explainable
from resnetkit.api.locating import RUNS
from resnetkit.api.model import load
from resnetkit.data.dataset import NUMBERED, labels_written
from resnetkit.data.frames import of_files
from resnetkit.data.opening.images import Opened, to_look_at
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.files import check_new
from resnetkit.models.checkpoint import CLASSIFICATION, Header, read_header
from resnetkit.report.pages.content import Content, HeatOnError
from resnetkit.report.pages.facts import facts
from resnetkit.report.pages.page import sections_of, write_page
from resnetkit.report.pages.thumbnails import Album, confident_errors, data_uri
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from PIL import Image

    from resnetkit.data.dataset import Dataset
    from resnetkit.report.pages.content import Answer
    from resnetkit.runtime import Runtime
    from resnetkit.training.run import RunFolder

PAGE, FINDINGS = "report.html", "data.json"
_MOST_HEAT = 6
_HEAT_SIDE = 200
# What `train` spends on the page: pictures until this share of the training time is used up, and heat maps only where
# that was long: captum alone takes a second to load.
_MEASURED_S = 0.5
_SHARE, _LEAST_SECONDS, _LONG = 0.03, 0.2, 60.0
_NO_PHOTOS = "Pictures and file names are left out of this page (--no-photos)."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Effort:
    """What a page may cost: seconds for thumbnails and for heat maps (None: as long as it takes), and what computes."""

    thumbnails: float | None = None
    heat: float | None = None
    device: str = "auto"
    threads: int | None = None

    @property
    def brief(self) -> bool:
        """Whether a short training shall end without what takes seconds."""
        return self.heat == 0


def report(
    run: str | Path,
    *,
    photos: bool = True,
    output: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Path:
    """Write the page of a run, `report.html` in its folder or `output`, and return the file.

    Without `photos` neither pictures nor file names are in it. Pictures are read again from where they were; the page
    says which are gone. Raises `UsageError` for a run there is not.
    """
    from resnetkit.training.run import open_run

    folder = open_run(run, root=RUNS)
    path = Path(output) if output is not None else folder.path / PAGE
    if output is not None:
        check_new(path, "--output")
        if path.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--output {path}: name a file that ends in .html")
    effort = _Effort(device=device, threads=threads)
    write_page(_gathered(folder, effort, photos=photos, watcher=watcher or Watcher()), path)
    return path


def write_at_the_end(folder: RunFolder, *, findings: Sequence[str], runtime: Runtime, watcher: Watcher) -> None:
    """Keep what was found in the data, and write the page of a run that just ended in a small share of its time.

    A page that cannot be written is told and loses nothing else.
    """
    try:
        files.write_text(folder.path / FINDINGS, json.dumps({"findings": list(findings)}, ensure_ascii=False) + "\n")
        seconds = sum(float(row.get("seconds") or 0) for row in _table(folder.path / "results.csv"))
        effort = _Effort(
            thumbnails=max(_LEAST_SECONDS, _SHARE * seconds), heat=_SHARE * seconds if seconds > _LONG else 0.0,
            device=runtime.device, threads=runtime.threads,
        )  # fmt: skip
        write_page(_gathered(folder, effort, photos=True, watcher=watcher), folder.path / PAGE)
    except (ResNetKitError, OSError) as problem:
        watcher.note(f"{PAGE} could not be written ({problem}); write it with: {_again(folder)}")


def _gathered(folder: RunFolder, effort: _Effort, *, photos: bool, watcher: Watcher) -> Content:
    """Return what the page shows."""
    from resnetkit.training import state as states
    from resnetkit.training.choosing import choice_of_run, with_choice

    if not folder.best.is_file():
        raise UsageError(f"{folder.path} has no finished epoch yet: go on with resnetkit resume {folder.path}")
    said, header = states.describe(folder.state), read_header(folder.best)
    choice = choice_of_run(folder)
    metrics = with_choice(folder.metrics(), choice)
    own = sections_of(metrics)
    rows, history = _predictions(folder, metrics), _table(folder.path / "results.csv")
    pictures = _Pictures(said["request"]["request"], Path(said["request"]["cwd"]), header) if photos and rows else None
    with watcher.counting("drawing the page"):
        found = None
        if pictures is not None:
            found = own.album(rows, pictures.look, metrics=metrics, seconds=effort.thumbnails)
        maps, heat_note = _heat(folder, rows, pictures, effort) if pictures and own.explained else ([], "")
    said_of = facts(folder, header, history)
    said_of["speed"] += _predicting(folder, header, effort)
    return Content(
        name=folder.name, version=version("resnetkit"), metrics=metrics, rows=rows, history=history,
        choice=choice, counts=_counts(folder, header),
        findings=_findings(folder, photos=photos), facts=said_of,
        commands=_commands(folder), pictures=_pictures(folder), album=found, heat=maps, heat_note=heat_note,
        notes=_notes(found, folder) if photos else [_NO_PHOTOS],
        picture_side=header.data.get("picture_side") or header.preprocess.size, by_column=_by_column(folder),
    )  # fmt: skip


def _by_column(folder: RunFolder) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the figures by columns that evaluations of the run asked for, the latest of each name last."""
    found = []
    for path in sorted((folder.path / "evaluations").glob("*/metrics.json")):
        said = json.loads(path.read_text(encoding="utf-8")).get("by")
        if said is not None:
            found.append((path.parent.name, said))
    return found


def _predicting(folder: RunFolder, header: Header, effort: _Effort) -> list[tuple[str, str]]:
    """Measure how fast the model answers here and now, alone and in batches."""
    import numpy as np

    from resnetkit.inference.speed import measure

    if effort.brief:
        return [("predicting", f"not measured; {_again(folder)} does")]
    model = load(folder.path, device=effort.device, threads=effort.threads, engine="torch", precision="fp32")
    shape = (*header.preprocess.frame, header.preprocess.channels)
    speed = measure(model.engine, np.zeros(shape, np.uint8), seconds=_MEASURED_S)
    return [
        ("predicting", f"{speed.images_per_second:,.0f} decoded pictures a second"),
        ("one picture alone", f"{1000 * speed.latency_p50_s:,.1f} ms"),
        ("measured", f"in PyTorch, fp32, on {model.runtime.device}, threads: {model.runtime.threads}"),
    ]


def _again(folder: RunFolder) -> str:
    return f"resnetkit report {shlex.quote(str(folder.path))}"


class _Pictures:
    """The pictures of predictions.csv, found again where the run read them: in folders, archives, lists, arrays."""

    def __init__(self, request: Mapping[str, Any], started_in: Path, header: Header) -> None:
        self.request, self.started_in, self.preprocess = request, started_in, header.preprocess
        self._data: Dataset | None = None
        self._items: dict[str, Any] = {}
        self._problem: ResNetKitError | None = None

    def open(self, row: Mapping[str, Any], *, at_least: int | None = None) -> Opened:
        """Return the picture of a row; raises `DataError` where it is gone or cannot be read."""
        from resnetkit.data.dataset import decoded

        data = self._opened()
        item = self._items.get(row["source"])
        if item is None:
            raise DataError(f"{row['source']}: is no longer there")
        return decoded(data.read(item), name=item.source, at_least=at_least)

    def look(self, row: Mapping[str, Any], *, at_least: int | None = None) -> Image.Image:
        """Return the upright picture in colours a page can show, whole or at least as large as asked."""
        return to_look_at(self.preprocess.convert(self.open(row, at_least=at_least)))

    def _opened(self) -> Dataset:
        """Open the data once; where they cannot be opened, every picture has that reason."""
        from resnetkit.data.sources import open_data
        from resnetkit.training.request import Request

        if self._problem is not None:
            raise self._problem
        if NUMBERED in self.request["data"]:
            self._problem = DataError("files are named by number, and where they lie is kept nowhere")
            raise self._problem
        if self._data is None:
            try:
                opened = open_data(
                    *map(self._place, self.request["data"]), rename=self.request["rename"],
                    task=Request.from_json(self.request).task,
                )  # fmt: skip
                self._data = of_files(opened, page=self.preprocess.page, frames=self.preprocess.frames)
            except ResNetKitError as problem:
                self._problem = problem
                raise
            self._items = {self._as_written(item.source): item for item in self._data.items}
        return self._data

    def _place(self, name: str) -> str:
        """Return where data lie that a run named from the folder it was started in; names such as `digits` stay."""
        there = os.path.join(self.started_in, name)
        return there if os.path.exists(there) and not os.path.exists(name) else name

    def _as_written(self, source: str) -> str:
        """Return a source as predictions.csv has it."""
        start = f"{self.started_in}{os.sep}"
        relative = not any(os.path.isabs(name) for name in self.request["data"])
        name = source.removeprefix(start) if relative else source
        return name.encode("utf-8", "backslashreplace").decode()


def _heat(
    folder: RunFolder, rows: Sequence[Answer], pictures: _Pictures, effort: _Effort
) -> tuple[list[HeatOnError], str]:
    """Return heat maps of the most confident errors, and why there are fewer than there could be."""
    wrong = confident_errors(rows)[:_MOST_HEAT]
    if not wrong:
        return [], ""
    if effort.brief:
        return [], f"Left out to end a short training quickly: {_again(folder)} draws heat maps."
    try:
        model = open_explainable(folder.path, device=effort.device, threads=effort.threads)
    except UsageError as problem:  # the library is not installed
        return [], f"No heat maps here: {problem}"
    maker, found, unreadable = Maker(model, "gradcam"), [], 0
    began = time.monotonic()
    for number in wrong:
        if effort.heat is not None and time.monotonic() - began > effort.heat:
            break
        try:
            found.append(_heat_on(rows[number], pictures.open(rows[number]), maker))
        except ResNetKitError:
            unreadable += 1
    missing = len(wrong) - len(found)
    why = "cannot be read any more" if unreadable else f"were left out for time: {_again(folder)} draws them"
    return found, f"{missing} of the {len(wrong)} most confident errors {why}." if missing else ""


def _heat_on(row: Answer, image: Opened, maker: Maker) -> HeatOnError:
    from resnetkit.explaining.overlay import overlay, seen_picture

    picture = seen_picture(image, maker.preprocess, longest=_HEAT_SIDE)
    named = row["differing"][:2] if "differing" in row else [row[of] for of in ("predicted", "label")]
    maps = maker.maps(image, chosen=[maker.index_of(name) for name in named])
    drawn = tuple(
        {
            "uri": data_uri(overlay(picture, one.heat, at_least=_HEAT_SIDE), side=_HEAT_SIDE),
            "label": one.label, "probability": one.probability, "verdict": one.verdict,
            "deletion": one.scores.deletion, "random": one.scores.random_deletion,
        }
        for one in maps
    )  # fmt: skip
    return HeatOnError(row=row, picture=data_uri(picture, side=_HEAT_SIDE), maps=drawn)


def _notes(found: Album | None, folder: RunFolder) -> list[str]:
    """Say how many pictures the page lacks, and why."""
    if found is None or not found.left_out:
        return []
    count = len(found.pictures) + found.left_out
    reasons = [
        (found.unreadable, f"cannot be read any more ({found.problem})"),
        (found.too_many, "would make the page larger than can be sent; errors went first"),
        (found.too_late, f"were left out to end a short training quickly, and {_again(folder)} draws them"),
    ]
    return [f"{number:,} of {count:,} pictures {why}." for number, why in reasons if number]


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with _reading(path), open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _reading(path: Path) -> AbstractContextManager[None]:
    from resnetkit.training.run import reading

    return reading(path)


def _predictions(folder: RunFolder, metrics: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the rows of predictions.csv with their numbers and truths as such."""
    path, told = folder.path / "predictions.csv", sections_of(metrics).told
    with _reading(path):
        return [{**row, **told(row)} for row in _table(path)]


def _pictures(folder: RunFolder) -> dict[str, int]:
    """Return part -> pictures, from split.csv."""
    with _reading(folder.split):
        return dict(Counter(row["split"] for row in _table(folder.split)))


def _counts(folder: RunFolder, header: Header) -> dict[str, dict[str, int]]:
    """Return class, or label, -> part -> pictures, from split.csv."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    with _reading(folder.split):
        for row in _table(folder.split):
            labels = (row["label"],) if header.task == CLASSIFICATION else labels_written(row["label"])[0]
            for label in labels:
                counts[label][row["split"]] += 1
    return {label: dict(of) for label, of in counts.items()}


def _findings(folder: RunFolder, *, photos: bool) -> list[str] | None:
    """Return what the pass over the data found, None where the run did not keep it or the file is damaged."""
    path = folder.path / FINDINGS
    if not path.is_file():
        return None
    try:
        found = [str(line) for line in json.loads(path.read_text(encoding="utf-8"))["findings"]]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return found if photos or not found else ["What was found names files, and is left out of this page."]


def _commands(folder: RunFolder) -> list[str]:
    with _reading(folder.path / "command.txt"):
        made = (folder.path / "command.txt").read_text(encoding="utf-8").strip()
    place = shlex.quote(str(folder.path))
    return [
        made,
        f"resnetkit evaluate DATA --model {place}",
        f"resnetkit benchmark {place}",
        f"resnetkit report {place}",
    ]
