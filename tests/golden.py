"""Golden files: what the package says, kept in the repository so that a change of it is seen and meant."""

import difflib
import os
from pathlib import Path

import pytest

ACCEPT = "RESNETKIT_ACCEPT"


def check_golden(path: Path, text: str) -> None:
    """Fail where `text` is not what the file at `path` holds; with RESNETKIT_ACCEPT=1 write it there instead."""
    if os.environ.get(ACCEPT) == "1":
        path.write_text(text, encoding="utf-8")
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text != before:
        lines = difflib.unified_diff(before.splitlines(), text.splitlines(), path.name, "now", lineterm="", n=1)
        difference = "\n".join(lines)
        pytest.fail(f"{path.name} has changed; if you mean it, run again with {ACCEPT}=1\n{difference}", pytrace=False)
