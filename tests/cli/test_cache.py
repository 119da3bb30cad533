import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from resnetkit.cli import main
from resnetkit.data.decoded import cache_files
from resnetkit.data.decoded.cache import Pixels

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `resnetkit cache` on a cache with pictures of two data sets."""
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path))
    for number, (data, side) in enumerate({"photos": 300, "ph\n\x1b[31motos": 20}.items()):
        folder = cache_files.pixels_folder() / f"whole-{side}"
        picture = np.full((side, side, 3), number, np.uint8)
        with cache_files.writing(folder, data):
            about = {"data": data, "what": f"whole, short side {side}", "channels": 3}
            (path,) = cache_files.write(folder, [(f"{number:032}", picture)], about=about)
        os.utime(path, (1e9 - number,) * 2)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["cache", *arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def test_the_table_shows_what_is_kept_and_the_total(cache):
    code, out, err = cache()
    assert (code, err) == (0, "")
    header, first, second, total, where = out.splitlines()
    assert header.split("  ")[0] == "data or model"
    assert first.startswith("photos ")
    assert "whole, short side 300" in first
    assert "0.3 MB" in first
    assert "\x1b" not in second, "a name changes nothing on the terminal"
    assert where == f"in {cache_files.pixels_folder().parent}"
    assert total.split() == ["total", "2", "0.3", "MB"]


def test_json_has_every_figure(cache):
    code, out, err = cache("--format", "json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [row["data"] for row in rows] == ["photos", "ph\n\x1b[31motos"]
    assert set(rows[0]) == {"data", "what", "pictures", "bytes", "last_used", "path"}
    assert rows[0]["pictures"] == 1
    assert rows[0]["bytes"] > 270_000
    assert datetime.fromisoformat(rows[0]["last_used"]).timestamp() == 1e9


def test_a_file_that_a_kill_left_half_written_is_listed_and_cleared(cache):
    (cache_files.pixels_folder() / "whole-20" / ".0123.pixels.x.tmp").write_bytes(b"0" * 1_000_000)
    (unfinished,) = (line for line in cache()[1].splitlines() if "unfinished" in line)
    assert unfinished.split()[:4] == ["unfinished", "-", "1.0", "MB"]
    assert "removed 3 files" in cache("clear")[1]


def test_clear_says_what_went_and_what_is_still_used(cache):
    folder = cache_files.pixels_folder() / "whole-20"
    in_use = Pixels(cache_files.find(folder, [f"{1:032}"]).mapped([f"{1:032}"], channels=3))
    code, out, err = cache("clear")
    assert (code, out) == (0, "removed 1 file, 0.3 MB\n")
    assert err == "1 file kept: a running process uses it, or may\n"
    assert in_use.take(np.array([0])).max() == 1
    del in_use
    code, out, err = cache("clear", "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out).keys() == {"files", "bytes", "kept", "failed"}
    assert json.loads(out)["files"] == 1
    assert cache() == (0, "", "nothing is kept\n")


def test_nothing_but_clear_is_understood(cache):
    code, out, err = cache("claer")
    assert (code, out) == (2, "")
    assert "clear" in err
    assert len(cache_files.entries()) == 2


def test_what_cannot_be_removed_ends_with_5_and_a_cache_of_nobody_with_2(cache, monkeypatch):
    monkeypatch.setattr(cache_files, "_remove", lambda path: False)
    code, out, err = cache("clear")
    assert (code, out) == (5, "removed 0 files, 0.0 MB\n")
    assert "could not be removed" in err
    monkeypatch.setenv("RESNETKIT_CACHE", "~nobody-of-this-name/x")
    code, _, err = cache()
    assert code == 2
    assert "RESNETKIT_CACHE=~nobody-of-this-name/x" in err
