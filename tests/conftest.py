"""Fixtures every room's tests share."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("RESNETKIT_OFFLINE", "1")
# Two threads that wait for each other on a busy machine can be ten times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data of ../shared/data is not here")
    return folder
