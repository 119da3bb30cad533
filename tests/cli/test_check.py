"""`resnetkit check` on the command line."""

import json
from pathlib import Path

from click.testing import CliRunner
from PIL import Image
from rich.cells import cell_len

from resnetkit.cli import cli


def messy(root: Path, count: int) -> Path:
    """Write `count` blank pictures with long and hostile names beside two good ones."""
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        Image.radial_gradient("L").rotate(17 if name == "ant" else 0).save(root / name / "good.png")
    for number in range(count):
        path = root / "ant" / f"{'very_long_name_' * 6}\x1b[31m한글{number:03d}.png"
        Image.new("L", (64, 64), 60 + 2 * number).save(path)
    return root


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["check", *arguments, "--threads", "1"])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_table_fits_a_terminal_and_no_name_steers_it(tmp_path: Path) -> None:
    shown = run(str(messy(tmp_path / "data", 3)))
    assert shown.count("blank") == 3
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    assert "\x1b" not in shown


def test_many_findings_become_a_summary(tmp_path: Path) -> None:
    shown = run(str(messy(tmp_path / "data", 60)))
    assert "60     blank" in shown
    assert shown.count("blank") == 1
    assert max(cell_len(line) for line in shown.splitlines()) <= 80


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    values = json.loads(run(str(messy(tmp_path / "data", 3)), "--format", "json"))
    assert values["counts"]["blank"] == 3
