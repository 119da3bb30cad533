"""The script of an export in a new environment that holds its runtime, NumPy and Pillow."""

import subprocess
import sys
from pathlib import Path

import pytest

import resnetkit as rk
from resnetkit.exporting.script import needed
from tests.exporting.test_export import file, photos, said  # noqa: F401 - fixtures


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_the_script_runs_where_only_its_runtime_is_installed(
    file: Path, photos: Path, tmp_path: Path, to: str  # noqa: F811
) -> None:  # fmt: skip
    made = rk.export(file, to=to, images=[photos], output=tmp_path / "out", threads=1)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "new"], check=True)
    python = tmp_path / "new" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needed(made.exported.format).split()], check=True)
    has = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in has
    assert "resnetkit" not in has
    sources = [str(path) for path in sorted(photos.iterdir())]
    ran = subprocess.run([python, made.folder / "predict.py", *sources], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    reference = rk.load(file, engine="torch", precision="fp32", threads=1)
    assert ran.stdout.splitlines() == [f"{answer.source}: {said(answer)}" for answer in reference.predict_many(photos)]
