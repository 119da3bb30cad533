"""The run folder: what it holds, how it appears, and what is written again from its state."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files, runtime
from resnetkit.errors import DataError, ResNetKitError, UsageError, near_miss
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, MULTILABEL

if TYPE_CHECKING:
    from resnetkit.training.state import State
    from resnetkit.watcher import Row

COLUMNS = ("epoch", "seconds", "images_per_second", "lr", "train_loss")  # then come the figures of the task
TIMING_COLUMNS = ("seconds", "images_per_second", "storing_seconds")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run; the folder's name is the run's name."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def state(self) -> Path:
        """The folder of states."""
        return self.path / "state"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.path / "last.safetensors"

    @property
    def folds(self) -> Path:
        """The folder of the runs of its folds, `1` to the last."""
        return self.path / "folds"

    @property
    def whole(self) -> RunFolder:
        """The run that this one is a fold of, else this one."""
        around = self.path.absolute().parent
        is_fold = around.name == "folds" and (around.parent / "state").is_dir()
        return RunFolder(self.path.parent.parent) if is_fold else self

    @property
    def split(self) -> Path:
        """Which image is in which part."""
        return self.path / "split.csv"

    @property
    def contents(self) -> Path:
        """The digest of each picture, so that resume can name one that changed."""
        return self.state / "contents.txt"

    @property
    def lineage(self) -> Path:
        """What its weights have seen, and what it holds out."""
        return self.state / "trained_on.json"

    def metrics(self) -> dict[str, Any] | None:
        """Return the final evaluation, None where the run has not reached it; raises `DataError` for a broken one."""
        path = self.path / "metrics.json"
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            reached(found), int(found["count"]), str(found["split"])
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise DataError(
                f"{path}: is broken; take it away, and resnetkit resume {self.path} scores the run again"
            ) from error
        return found


# The figure that people know a run of each task by, and what it is a share of.
_KNOWN_BY = {
    CLASSIFICATION: ("top1", "of"), MULTILABEL: ("map", "precision,"), DETECTION: ("map50", "mAP@.50,"),
}  # fmt: skip


def reached(metrics: Mapping[str, Any]) -> float:
    """Return the figure that people know a run by: its accuracy, or the mean average precision of labels or objects."""
    figure = metrics[_KNOWN_BY[metrics.get("task", CLASSIFICATION)][0]]
    return float(figure or 0.0)


def of_what(metrics: Mapping[str, Any]) -> str:
    """Return what `reached` is a share of: `of 153`, or which precision it is."""
    return f"{_KNOWN_BY[metrics.get('task', CLASSIFICATION)][1]} {metrics['count']}"


def create(
    path: Path, *, named: bool = True, recipe: dict[str, Any], command: str, environment: dict[str, Any], state: State,
    write_split: Callable[[Path], None], contents: Sequence[tuple[str, str]], lineage: str,
) -> RunFolder:  # fmt: skip
    """Make the run folder; it appears under its name, by rename, with everything that resume needs in it.

    Where the name is taken it raises `UsageError`, or if nobody `named` the run so, the next free number follows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.partial"):
        if not _alive(int(left_over.name.split(".")[-2])):
            shutil.rmtree(left_over, ignore_errors=True)
    partial = RunFolder(path.parent / f".{path.name}.{os.getpid()}.partial")
    try:
        partial.state.mkdir(parents=True)
        write_recipe(partial.path, recipe)
        write_split(partial.split)
        files.write_text(partial.path / "command.txt", command + "\n")
        files.write_text(partial.path / "environment.json", json.dumps(environment, indent=2) + "\n")
        listed = io.StringIO()
        files.csv_writer(listed).writerows(contents)
        files.write_text(partial.contents, listed.getvalue())
        files.write_text(partial.lineage, lineage)
        state.save(partial.state)
        place = path
        while not _appear(partial.path, place):
            if named:
                raise taken(path)
            place = free_path(path.parent, path.name)
        files.sync_folder(path.parent)
    finally:
        if partial.path.exists():
            shutil.rmtree(partial.path)
    return RunFolder(place)


def _appear(partial: Path, place: Path) -> bool:
    """Give a finished folder its name; tell False where the name is taken, by whomever and however late."""
    try:
        if place.is_dir():
            place.rmdir()  # an empty one is in nobody's way
        elif place.exists():
            return False
        partial.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return False
        raise
    return True


def read_contents(folder: RunFolder) -> list[tuple[str, str]]:
    """Return (digest, source) of the pictures that the run was begun with, those that it trains on last."""
    with (
        reading(folder.contents),
        open(folder.contents, encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        return [(digest, ",".join(source)) for digest, *source in csv.reader(file)]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise `DataError` naming a file of a run where it is missing or is not what a run writes."""
    try:
        yield
    except ResNetKitError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or (f"{error} is missing" if isinstance(error, KeyError) else error)
        raise DataError(f"{path}: cannot be read ({reason}); copy the run again") from error


def looked_at_test(folder: RunFolder, what: str) -> int:
    """Record that figures of a test part were computed for the run, and return how often that makes.

    A run that may not be written to still counts this one.
    """
    path = folder.path / "test_looks.csv"
    rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ["time,data"]
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([datetime.now().isoformat(timespec="seconds"), files.safe_name(what)])
    rows.append(out.getvalue())
    with suppress(OSError):
        files.write_text(path, "\n".join(rows) + "\n")
    return len(rows) - 1


def remove_scores(folder: RunFolder) -> None:
    """Take away the final evaluation of a run that goes on: it is of older weights."""
    for name in (
        "metrics.json",
        "predictions.csv",
        "predictions.png",
        "confusion_matrix.png",
        "reliability.png",
        "together.png",
        "reference.npz",
        "report.html",
        "checklist.md",
    ):
        (folder.path / name).unlink(missing_ok=True)


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Keep other processes from training the same run, and clear away what a killed one left half-written.

    Raises `UsageError` where another process holds it. The system lets go of the lock when a process dies.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder.state / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder.path} is being trained by another process: wait for it, or stop it first") from None
    try:
        for left_over in (*folder.path.glob(".*.tmp"), *folder.state.glob(".*.tmp")):
            left_over.unlink()
        yield
    finally:
        lock.release()


def write_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    """Write `recipe.toml`: what was run, resolved."""
    import tomli_w

    files.write_text(folder / "recipe.toml", tomli_w.dumps(_without_none(recipe)))


def taken(path: Path) -> UsageError:
    """Return the error for a run name that exists."""
    return UsageError(
        f"{path} exists and is not overwritten: choose another --name, or continue it with: resnetkit resume {path}"
    )


def free_path(root: Path, name: str) -> Path:
    """Return `root/name`, or with the first free number behind it."""
    name = files.safe_name(name)
    candidates = (root / (name if number == 1 else f"{name}-{number}") for number in range(1, 100_000))
    return next(path for path in candidates if not path.exists())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _without_none(value: Any) -> Any:
    """TOML has no null: an absent key means the default."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value


def write_results(folder: RunFolder, rows: Iterable[Row], *, figures: Sequence[str]) -> None:
    """Write `results.csv`: one row per epoch, fractions and seconds; the task's `figures` are columns in any case."""
    rows, columns = list(rows), [*COLUMNS, *figures]
    extra = sorted({key for row in rows for key in row} - set(columns))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *extra], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(folder.path / "results.csv", text.getvalue())


def environment() -> dict[str, Any]:
    """Return what a run was made on: versions, processor, memory, system, time."""
    packages = ("resnetkit", "torch", "torchvision", "numpy", "pillow", "safetensors", "scikit-learn")
    return {
        "packages": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": runtime.cpu_name(),
        "threads_available": runtime.available_threads(),
        "memory_available": runtime.available_memory(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def open_run(name: str | os.PathLike[str], *, root: Path = Path("runs")) -> RunFolder:
    """Return the run at a path, or called so in `root`; raises `UsageError` with the nearest name."""
    if len(os.fspath(name)) > 99 and (error := files.hidden(os.fspath(name))) is not None:
        raise error
    for path in (Path(name), root / name):
        if (path / "state").is_dir():
            return RunFolder(path)
    for path in (Path(name), root / name):
        if path.is_dir():
            best = RunFolder(path).best
            answers = f"; its model still answers: --model {best}" if best.is_file() else ""
            raise DataError(f"{path} is a folder but not a whole run: it has no state/ in it{answers}")
    raise UsageError(f"no run {str(name)!r}{near_miss(str(name), [run.name for run in all_runs(root)])}")


def all_runs(root: Path = Path("runs")) -> list[RunFolder]:
    """Return the runs in a folder, newest first; one that was copied without its state/ counts."""
    if not root.is_dir():
        return []
    folders = [RunFolder(path) for path in root.iterdir() if path.name[0] != "."]
    return sorted(filter(is_run, folders), key=_last_written, reverse=True)


def is_run(folder: RunFolder) -> bool:
    """Tell whether a folder is what a training left, or a part of that with a model in it."""
    with suppress(OSError):  # one that only others may look into
        return folder.state.is_dir() or (folder.best.is_file() and (folder.path / "recipe.toml").is_file())
    return False


def _last_written(folder: RunFolder) -> float:
    place = folder.state if folder.state.is_dir() else folder.path
    with suppress(OSError):
        return place.stat().st_mtime
    return 0.0
