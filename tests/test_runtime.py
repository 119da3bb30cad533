"""How many threads a process gets, on machines that are played."""

import os

import pytest

from resnetkit import runtime


@pytest.mark.parametrize(
    ("allowed", "siblings", "quota", "local_size", "threads"),
    [
        ({0, 1, 2, 3}, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, "max 100000", "1", 2),  # two cores of two threads
        ({0, 2}, {0: "0,2", 2: "0,2"}, "max 100000", "1", 1),  # both threads of one core
        ({0, 1, 2, 3}, {}, "max 100000", "1", 4),  # a system that does not tell
        ({0, 1, 2, 3}, {}, "250000 100000", "1", 2),  # a container with two and a half cores
        ({0, 1, 2, 3}, {}, "50000 100000", "1", 1),
        (set(range(8)), {}, "max 100000", "4", 2),  # one of four processes of torchrun
    ],
)
def test_threads_are_the_cores_that_this_process_may_use(monkeypatch, allowed, siblings, quota, local_size, threads):
    said = {f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": text for n, text in siblings.items()}
    said["/sys/fs/cgroup/cpu.max"] = quota
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
    monkeypatch.setattr(runtime, "_read", lambda path: said.get(path, ""))
    launched = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": local_size, "WORLD_SIZE": local_size}
    for name, value in {**launched, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert runtime.available_threads() == threads
