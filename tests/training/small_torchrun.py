"""What torchrun does, without its seconds: torch is imported once, and each rank of each job is a fork of that.

    python small_torchrun.py < jobs.json > ends.json

A job is `{"size", "arguments"}`: the command line of resnetkit on so many ranks. With `"call"` a function of
`rank_checks.py` runs in their place. `"signal"` is sent once `results.csv` of `"run"` has `"rows"` rows: to all ranks,
or to `"rank"`. `"restart"` counts up as torchrun's does; a job with one keeps the store of the job before it. `"alone"`
means without torchrun. Its end is `{"codes", "said", "seconds"}`: exit codes, what each rank wrote, and the time from
the signal to the last exit.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from resnetkit.report.drawing import charts, plots

# What a rank would import by itself, and a fork of this has already: the optimizers alone import torch._dynamo.
EARLY = (
    *(f"resnetkit.{name}" for name in ("training.job", "inference.engines", "evaluation.evaluate", "cli.train")),
    *("resnetkit.cli.resume", "torch._dynamo", "sklearn.datasets"),
)
SECONDS_OF_A_JOB = 90  # it takes 1 to 5; a rank that hangs writes where, and costs no other job its end
# Seconds each, and no rank's business.
DRAWINGS = {charts: ("history", "reliability"), plots: ("confusion", "prediction_grid", "augmented")}


def be_rank(job: dict[str, Any], rank: int, port: int, log: Path) -> int:
    """Run the job as this rank and return its exit code."""
    written = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    faulthandler.dump_traceback_later(SECONDS_OF_A_JOB, exit=True)
    if not job.get("alone"):
        place = {"RANK": rank, "WORLD_SIZE": job["size"], "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": job["size"]}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        place |= {"TORCHELASTIC_RESTART_COUNT": job.get("restart", 0)}
        os.environ.update({key: str(value) for key, value in place.items()})
    try:
        if "call" in job:
            sys.path.insert(0, str(Path(__file__).parent))
            getattr(importlib.import_module("rank_checks"), job["call"])()
            return 0
        sys.argv = ["resnetkit", *job["arguments"]]
        importlib.import_module("resnetkit.cli").main()
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def rows_of(run: str) -> int:
    path = Path(run) / "results.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def keep_store() -> tuple[int, int]:
    """Return the process that keeps a store, as torchrun's agent does, and its port.

    Not this process: the store has threads, and a fork may inherit a lock that one of them held.
    """
    reads, writes = os.pipe()
    parent, process = os.getpid(), os.fork()
    if not process:
        store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        os.write(writes, f"{store.port}\n".encode())
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as file:
        return process, int(file.readline())


def end_of(job: dict[str, Any], port: int, number: int) -> dict[str, Any]:
    logs = [Path(f"job-{number}-rank-{rank}.log") for rank in range(job["size"])]
    processes = []
    for rank, log in enumerate(logs):
        process = os.fork()
        if not process:
            os._exit(be_rank(job, rank, port, log))
        processes.append(process)
    if "signal" in job:
        while rows_of(job["run"]) < job["rows"] and not has_ended(processes[0]):
            time.sleep(0.005)
        for rank, process in enumerate(processes):
            if job.get("rank", rank) == rank:
                os.kill(process, job["signal"])
    begin = time.monotonic()
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    said = [log.read_text(errors="replace") if log.exists() else "" for log in logs]
    return {"codes": codes, "said": said, "seconds": time.monotonic() - begin}


def main() -> None:
    torch.set_num_threads(1)
    for name in EARLY:
        importlib.import_module(name)
    for module, names in DRAWINGS.items():
        for name in names:
            assert hasattr(module, name)
            setattr(module, name, lambda *_, **__: None)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork may inherit a lock that another thread held"
    ends: list[dict[str, Any]] = []
    store = port = 0
    for number, job in enumerate(json.load(sys.stdin)):
        if not store or not job.get("restart"):
            if store:
                os.kill(store, signal.SIGKILL)
                os.waitpid(store, 0)
            store, port = keep_store()
        ends.append(end_of(job, port, number))
    os.kill(store, signal.SIGKILL)
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
