import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kill_and_resume.py"


@pytest.mark.slow
def test_a_killed_and_resumed_run_ends_with_the_same_bits() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--kills", "4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 end with the same bits" in done.stdout
