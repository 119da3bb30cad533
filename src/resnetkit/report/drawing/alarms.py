"""The chart of an alarm over the pictures that say most that today's are no longer like the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from resnetkit.checking.drift.alarm import Alarm
from resnetkit.report.drawing.canvas import FAINT, LINE, MARGIN, RIGHT, WRONG, sheet
from resnetkit.report.drawing.fonts import drawable

_SIDE, _GAP, _COLUMNS = 128, 16, 6
_TOP, _CHART, _NAME = 84, 150, 26


def draw(alarm: Alarm, levels: Sequence[float], path: Path) -> str | None:
    """Draw the chart's last `levels` and the pictures of an alarm; returns the line for the user as other plots do."""
    names = [drawable(one.sighting.source.rpartition("/")[2]) for one in alarm.shown]
    title = f"{alarm.title[0].upper()}{alarm.title[1:]}, {alarm.lasts}"
    with sheet(path, texts=[*names, alarm.why]) as drawn:
        width = 2 * MARGIN + _COLUMNS * (_SIDE + _GAP) - _GAP
        rows = math.ceil(len(names) / _COLUMNS)
        pictures = _TOP + _CHART + 60
        drawn.resize(width, pictures + rows * (_SIDE + _NAME) + MARGIN)
        drawn.header(title, alarm.why)
        axes = drawn.axes(MARGIN + 30, _TOP, width - 2 * MARGIN - 30, _CHART)
        numbers = range(1 - len(levels), 1)
        axes.plot(numbers, levels, color=RIGHT, linewidth=1.5)
        axes.axhline(alarm.limit, color=WRONG, linewidth=1.2)
        if alarm.kind == "drift":
            axes.axvline(1 - alarm.pictures, color=FAINT, linewidth=1, linestyle="--")
        axes.set(xlim=(min(-1, 1 - len(levels)), 0), ylim=(0, 1.15 * max(alarm.limit, *levels)))
        began = "; the dashed line: where it began" * (alarm.kind == "drift")
        axes.set_xlabel(f"pictures that count before the alarm{began}; the straight line: the limit")
        for number, (one, name) in enumerate(zip(alarm.shown, names, strict=True)):
            left = MARGIN + number % _COLUMNS * (_SIDE + _GAP)
            bottom = pictures + number // _COLUMNS * (_SIDE + _NAME) + _SIDE
            drawn.image(one.pixels, left, bottom, _SIDE, frame=LINE, thickness=1)
            drawn.text(left, bottom + 13, drawn.fit(name, _SIDE, size=12), size=12, color=FAINT)
    return drawn.warning
