"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from resnetkit.watcher import Count, Step, Watcher
from resnetkit.words import duration, percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BEFORE_A_RATE = 3.0


def _words(figures: Mapping[str, float]) -> str:
    """Return figures of training as people read them: losses as numbers, all else in percent.

    >>> _words({"loss": 0.5213, "top1": 0.931})
    'loss 0.521 top-1 93.1 %'
    """
    return " ".join(
        f"{name.replace('_', ' ')} {value:.3f}"
        if name.endswith("loss")
        else f"{'top-1' if name == 'top1' else name} {percent(value)}"
        for name, value in figures.items()
    )


class ConsoleWatcher(Watcher):
    """Notes, counters and the training bar, on stderr; silent when `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Progress | None = None
        self.task: Any = None
        self.last_line = time.monotonic()
        self.estimated = False

    @cached_property
    def console(self) -> Console:
        """The terminal. Rich is imported for a bar only: a prediction into a file starts 50 ms earlier without."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def _can_draw(self) -> bool:
        """Whether there is a terminal for a bar, or a variable of Rich's that may stand for one."""
        variables = ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR")
        return (sys.stderr.isatty() or any(map(os.environ.get, variables))) and self.console.is_terminal

    def note(self, text: str) -> None:
        """Print a line or several."""
        if self.quiet:
            return
        try:
            if self.bar is not None:
                self.bar.console.print(text, markup=False)
            else:
                click.echo(text, err=True)
        except BrokenPipeError:  # nobody reads on; the work itself goes on
            self.quiet = True

    def step(self, step: Step) -> None:
        """Show where training stands."""
        if self.quiet:
            return
        if not self.estimated and step.step >= min(5, step.steps):
            self.estimated = True
            self.note(f"about {duration(step.seconds_left)} to go ({step.images_per_second:.0f} pictures/s)")
        text = (
            f"{_words({'loss': step.loss, **step.figures})}  lr {step.lr:.2g}  "
            f"{step.images_per_second:.0f}/s  {duration(step.seconds_left)} left"
        )
        if self._can_draw():
            self._show_bar(step, text)
        elif time.monotonic() - self.last_line > _SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self.note(f"epoch {step.epoch}/{step.epochs}  step {step.step}/{step.steps}  {text}")

    def epoch(self, row: dict[str, Any]) -> None:
        """Print a finished epoch as one line."""
        training = {name.removeprefix("train_"): row[name] for name in row if name.startswith("train_")}
        scored = {
            name.removeprefix("val_"): row[name] for name in row if name.startswith("val_") and row[name] is not None
        }
        held_out = {name: scored[name] for name in training if name in scored} or scored
        validation = f"   held-out {_words(held_out)}" if held_out else ""
        self.note(f"epoch {row['epoch']:>3}  {_words(training)}{validation}   {duration(row['seconds'])}")

    def _show_bar(self, step: Step, text: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        total = step.epochs * step.steps
        if self.bar is None:
            columns = (TextColumn("{task.fields[epoch]}"), BarColumn(bar_width=10), TextColumn("{task.fields[text]}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", total=total, epoch="", text="")
            self.bar.start()
        done = (step.epoch - 1) * step.steps + step.step
        self.bar.update(self.task, completed=done, total=total, epoch=f"{step.epoch}/{step.epochs}", text=text)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    @contextmanager
    def counting(self, what: str, unit: str = "") -> Iterator[Count]:
        """Yield a function (done, total) that shows how far `what` is, how fast it goes and when it ends."""
        pace = _Pace(unit)
        if self.quiet or not self._can_draw():
            yield lambda done, total: self._line(what, pace, done, total)
            return
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn(what), BarColumn(bar_width=20), TextColumn("{task.fields[text]}"))
        self.bar = Progress(*columns, console=self.console, transient=True)
        task = self.bar.add_task("", total=None, text="")
        with self.bar as bar:

            def show(done: int, total: int | None) -> None:
                bar.update(task, completed=done, total=total, text=pace.text(done, total))

            try:
                yield show
            finally:
                self.bar = None

    def _line(self, what: str, pace: _Pace, done: int, total: int | None) -> None:
        text = pace.text(done, total)
        if time.monotonic() - self.last_line > _SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self.note(f"{what}: {text}")


class _Pace:
    """How far something is that is counted, in words; what was done at the first count took no time of ours."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.first: tuple[float, int] | None = None

    def text(self, done: int, total: int | None) -> str:
        """Return e.g. `12,000 of 60,000, 950/s, 51 s left`; rate and time left from the third second on."""
        now = time.monotonic()
        began, before = self.first = self.first or (now, done)
        text = f"{done:,}" + (f" of {total:,}" if total else "") + self.unit
        if now - began < _SECONDS_BEFORE_A_RATE or done <= before:
            return text
        rate = (done - before) / (now - began)
        left = f", {duration((total - done) / rate)} left" if total else ""
        return f"{text}, {rate:,.{0 if rate >= 10 else 1}f}{self.unit}/s{left}"


@contextmanager
def listening(watcher: Watcher | None, *, quiet: bool) -> Iterator[Watcher]:
    """Yield the watcher of a call from Python: the one given, else the terminal or notebook somebody sits at.

    A program whose output goes to a file or a pipe is silent, as it is with `quiet`.
    """
    if watcher is not None or quiet or not _somebody_looks():
        yield watcher or Watcher()
        return
    console = ConsoleWatcher()
    try:
        yield console
    finally:
        console.close()


def _somebody_looks() -> bool:
    """Tell whether stderr is a terminal, or this is a notebook (IPython is then loaded already)."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
