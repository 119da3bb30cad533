"""`resnetkit report` and the page at the end of a run: the pictures are found again, and what is gone is told."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import resnetkit as rk
from resnetkit.api import reporting
from resnetkit.cli import main
from resnetkit.errors import ResourceError, UsageError
from resnetkit.training.run import RunFolder
from resnetkit.watcher import Watcher


@pytest.fixture
def copied(digits_run: rk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The run, moved away from its data, in a folder of another name."""
    shutil.copytree(digits_run.path, tmp_path / "moved" / "paged")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reporting, "_MOST_HEAT", 1)
    return RunFolder(tmp_path / "moved" / "paged")


def page_of(run: RunFolder, **options: object) -> str:
    return rk.Run(run).report(threads=1, **options).read_text(encoding="utf-8")  # type: ignore[arg-type]


def test_a_run_ends_with_its_page(digits_run: rk.Run) -> None:
    html = (digits_run.path / "report.html").read_text(encoding="utf-8")
    metrics = digits_run.metrics
    assert metrics is not None
    assert f"{100 * metrics['top1']:.1f} %" in html
    assert html.count("<img") > 100
    assert "No validation part was given" in html, "what the pass over the data found"
    assert "resnet8, cifar stem" in html
    assert "Left out to end a short training quickly" in html, "heat maps would take longer than the training"
    assert "not measured; resnetkit report" in html, "nor what a second would be spent on"
    assert len(html.encode()) < 1_000_000


def test_pictures_are_found_from_another_folder(copied: RunFolder, digits_run: rk.Run) -> None:
    pytest.importorskip("captum")
    before = (digits_run.path / "report.html").read_text(encoding="utf-8")
    html = page_of(copied)
    assert html.count("<img") > before.count("<img")
    assert "cannot be read any more" not in html
    assert html.count("heat map for") == 2
    assert "decoded pictures a second" in html


def test_what_is_gone_is_told(copied: RunFolder, digits_run: rk.Run) -> None:
    predictions = copied.path / "predictions.csv"
    lines = predictions.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace(".png", "-gone.png", 1)
    predictions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "1 of 150 pictures cannot be read any more" in page_of(copied)
    moved = digits_run.path.parents[1] / "photos"
    moved.rename(moved.with_name("elsewhere"))
    try:
        html = page_of(copied)
    finally:
        moved.with_name("elsewhere").rename(moved)
    assert "150 of 150 pictures cannot be read any more (photos: no such file or folder" in html
    assert "<img" not in html
    assert "What was taken for what" in html


def test_without_photos_neither_pictures_nor_file_names_leave(copied: RunFolder) -> None:
    html = page_of(copied, photos=False)
    assert "<img" not in html
    assert ".png" not in html
    assert "data:image" not in html
    assert "left out of this page" in html


def test_a_fitted_head_is_not_called_an_epoch(copied: RunFolder) -> None:
    header, first, *others = (copied.path / "results.csv").read_text().splitlines()
    assert f"{len(others) + 1} epochs</dd>" in page_of(copied)
    fitted = ",".join(["0", *first.split(",")[1:]])
    (copied.path / "results.csv").write_text("\n".join([header, fitted, *others]) + "\n")
    plural = "s" if len(others) > 1 else ""
    assert f"s for the fitted head and {len(others)} epoch{plural}" in page_of(copied)


def test_the_command_line_writes_where_it_is_told(
    copied: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["report", *arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    before = (copied.path / "report.html").read_bytes()
    code, out, _ = run(str(copied.path), "--no-photos", "--output", "sent/page.html", "--format", "json", "--quiet")
    assert code == 0
    assert json.loads(out) == {"report": "sent/page.html", "bytes": Path("sent/page.html").stat().st_size}
    assert (copied.path / "report.html").read_bytes() == before
    assert run("no-such-run")[0] == 2
    assert run(str(copied.path), "--output", str(tmp_path))[0] == 2


def test_without_the_library_the_page_says_which(copied: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    assert "No heat maps here: heat maps need an optional package: pip install" in page_of(copied)


def test_a_page_that_cannot_be_written_loses_nothing(
    copied: RunFolder, digits_run: rk.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    watcher = Watcher()
    monkeypatch.setattr(watcher, "note", told.append)

    def full(*_: object) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr(reporting, "write_page", full)
    reporting.write_at_the_end(copied, findings=[], runtime=digits_run.model.runtime, watcher=watcher)
    [line] = told
    assert "the disk is full" in line
    assert line.endswith(f"resnetkit report {copied.path}")


def test_a_run_without_an_epoch_has_no_page(copied: RunFolder) -> None:
    copied.best.unlink()
    with pytest.raises(UsageError, match="no finished epoch yet"):
        rk.Run(copied).report()


def test_older_runs_get_a_page_too(copied: RunFolder) -> None:
    """They lack what was found in the data, and settings that came later."""
    (copied.path / "data.json").unlink()
    recipe = copied.path / "recipe.toml"
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith(("mixup", "cutmix", "world_size"))]
    recipe.write_text("\n".join(lines) + "\n")
    html = page_of(copied, photos=False)
    assert "was not kept by this run" in html
    assert "crop shift" in html
