import pytest

from resnetkit.cli.progress import ConsoleWatcher, watching
from resnetkit.watcher import Step

STEP = Step(
    epoch=1,
    epochs=2,
    step=7,
    steps=10,
    loss=1.5,
    figures={"top1": 0.25},
    lr=0.1,
    images_per_second=100.0,
    seconds_left=60.0,
)
ROW = {"epoch": 1, "train_loss": 1.0, "train_top1": 0.5, "val_loss": 0.9, "val_top1": 0.6, "seconds": 12.0}


def test_in_a_pipe_there_are_lines_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=False) as console:
        console.step(STEP)
        console.step(STEP)
        console.epoch(ROW)
        with console.counting("reading") as show:
            show(1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "about 1 min 00 s to go (100 pictures/s)",
        "epoch   1  loss 1.000 top-1 50.0 %   held-out loss 0.900 top-1 60.0 %   12 s",
    ]


def test_what_is_counted_tells_its_rate_and_time_left_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with watching(quiet=False) as console, console.counting("naming pictures") as show:
        show(5_000, 60_000)  # done by an earlier command: no speed of this one
        for done in range(5_100, 12_001, 100):
            now += 1
            show(done, 60_000)
    assert capsys.readouterr().err.splitlines() == [
        "naming pictures: 8,100 of 60,000, 100/s, 8 min 39 s left",
        "naming pictures: 11,200 of 60,000, 100/s, 8 min 08 s left",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=True) as console:
        console.step(STEP)
        console.note("hello")
        console.epoch(ROW)
    assert capsys.readouterr() == ("", "")


def test_what_is_said_while_a_bar_stands_is_not_written_into_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    console = ConsoleWatcher()
    assert console.console.is_terminal
    with console.counting("reading") as show:
        show(1, 2)
        console.note("a note")
    console.step(STEP)
    console.note("another")
    console.close()
    lines = [line.rpartition("\x1b[2K")[2] for line in capsys.readouterr().err.splitlines()]
    assert "a note" in lines
    assert "another" in lines
