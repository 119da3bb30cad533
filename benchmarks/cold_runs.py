"""Programs run from a cold start: when each epoch's figure was there, and the results of finished runs, kept."""

import csv
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnetkit.runtime import cpu_name

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
# What hides newer instructions of the processor from oneDNN, torch and MKL.
OLDER = {"AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
_LOOK = 0.05  # seconds between looks


def machine(isa: str | None) -> str:
    """Return the processor's name and the instructions that programs are held to."""
    return f"{cpu_name()}{f' as {isa}' if isa else ''}, {platform.system()}"


def cold_run(command: Sequence[str], *, output: Path, threads: int, isa: str | None = None) -> dict[str, Any]:
    """Run a program that adds a row to `output/results.csv` after each epoch; return its rows and seconds.

    The process is new, home folder and caches are empty, its files may be in the system's memory. Each row gets
    `at`, the seconds from the start of the process until it was there; `whole` are those until the process ended.
    Raises `RuntimeError` with the end of the log where the program fails.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    log = output.parent / f"{output.name}.log"
    with tempfile.TemporaryDirectory() as home, open(log, "wb") as said:
        places = {"HOME": home, "XDG_CACHE_HOME": home, "RESNETKIT_CACHE": f"{home}/resnetkit", "MPLCONFIGDIR": home}
        environment = os.environ | places | {"OMP_NUM_THREADS": str(threads)} | (OLDER[isa] if isa else {})
        begin, moments = time.monotonic(), list[float]()
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                moments += [time.monotonic() - begin] * (len(rows_of(output)) - len(moments))
                time.sleep(_LOOK)
        finally:
            process.kill()
    whole, rows = time.monotonic() - begin, rows_of(output)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    moments += [whole] * (len(rows) - len(moments))
    return {"whole": whole, "rows": [row | {"at": at} for row, at in zip(rows, moments, strict=True)]}


def rows_of(output: Path) -> list[dict[str, float]]:
    """Return the whole lines of `results.csv` as numbers; none where it is not there yet."""
    try:
        lines = (output / "results.csv").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    whole = csv.DictReader(line for line in lines if line.endswith("\n"))
    return [{name: float(value) for name, value in row.items() if value} for row in whole]


class Kept:
    """Results of finished runs in a file of JSON lines, found again by what was run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.results: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def find(self, **what: Any) -> Mapping[str, Any] | None:
        """Return the result whose fields are these, or None."""
        return next((one for one in self.results if what.items() <= one.items()), None)

    def add(self, **result: Any) -> None:
        """Write one result behind the others."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as file:
            file.write(json.dumps(result) + "\n")
        self.results.append(result)


def reached(curve: Sequence[tuple[float, float]], goal: float) -> float | None:
    """Return the seconds from which on the accuracy is at least `goal`; None where it ends below."""
    since = None
    for seconds, accuracy in curve:
        if accuracy < goal:
            since = None
        elif since is None:
            since = seconds
    return since
