"""`predict` with a detector: rows, formats of detectors, drawings and crops; one that sees colours stands in."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resnetkit import api
from resnetkit.api import Model
from resnetkit.cli import main
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models.decision import Decision
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness
from resnetkit.runtime import resolve
from tests.fakes import COLOURS, ColourFinder

Output = tuple[int, str, str]


def opened(decision: Decision | Sureness, file: Path) -> Model:
    header = SimpleNamespace(
        task="detection", classes=COLOURS, decision=decision, data={},
        preprocess=Preprocess(size=60, width=80, crop="pad"),
    )  # fmt: skip
    return Model(
        lambda: None, header, name="finder", runtime=resolve(device="cpu", threads=1), engine=ColourFinder(masks=True),  # type: ignore[arg-type, return-value]
        computes="colours are looked for", files=(file,),
    )  # fmt: skip


@pytest.fixture
def predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Output]:
    """Run `predict` beside `photos`: two with a red and a blue box, one without; returns code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b", "none"):
        picture = Image.new("RGB", (160, 120))
        if name != "none":
            picture.paste((255, 0, 0), (10, 20, 50, 60))
            picture.paste((0, 0, 255), (100, 40, 150, 110))
        picture.save(f"photos/{name}.png")
    Path("model.bin").write_bytes(b"weights")

    def run(*arguments: str, decision: Decision | Sureness | None = None) -> Output:
        model = opened(decision or Sureness(), Path("model.bin"))
        monkeypatch.setattr(api, "load", lambda *_, **__: model)
        with pytest.raises(SystemExit) as left:
            main(["predict", *arguments, "--model", "finder"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def files_under(folder: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(Path(folder).rglob("*")) if path.is_file()]


def test_a_table_says_how_many_objects_are_on_each_picture(predict: Callable[..., Output]) -> None:
    code, out, _ = predict("photos")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["picture", "found"], ["photos/a.png", "1"], ["photos/b.png", "1"], ["photos/none.png", "nothing"],
    ]  # fmt: skip
    rows = json.loads(predict("photos", "--format", "json")[1])
    assert [len(row["objects"]) for row in rows] == [2, 2, 0]
    assert rows[0]["objects"][1]["box"] == [100, 40, 150, 110]
    assert list(csv.DictReader(predict("photos", "--format", "csv")[1].splitlines()))[1]["label"] == "blue"


def test_crops_and_drawings_are_made_beside_the_rows(predict: Callable[..., Output]) -> None:
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    asked = ("photos", "--crops", "cut", "--draw", "drawn")
    for _ in range(2):  # the second time makes no second files
        code, _, err = predict(*asked, "--format", "jsonl")
        assert code == 0
        assert "4 crops in 2 folders of cut; a classifier of them: resnetkit train cut --group-by" in err
        assert "3 drawings in drawn" in err
        assert files_under("cut") == ["blue/a-2.png", "blue/b-2.png", "red/a-1.png", "red/b-1.png"]
        assert files_under("drawn") == ["a.png", "b.png", "none.png"]
    with Image.open("drawn/a.png") as drawn:
        assert drawn.size == (640, 512)
    assert {path: path.read_bytes() for path in Path("photos").iterdir()} == before


def test_pictures_that_cannot_be_read_are_left_out_of_what_is_made(predict: Callable[..., Output]) -> None:
    Path("photos/b.png").write_bytes(b"no picture")
    code, _, err = predict("photos", "--crops", "cut", "--draw", "drawn", "--output", "rows.csv")
    assert code == 4
    assert "3 pictures: 2 objects on 1 of them, none on 1, 1 could not be read or named; rows in rows.csv" in err
    assert files_under("drawn") == ["a.png", "none.png"]


def test_formats_of_detectors_are_files_and_folders_of_their_own(predict: Callable[..., Output]) -> None:
    assert predict("photos", "--output", "found.coco.json")[0] == 0
    assert len(json.loads(Path("found.coco.json").read_text())["annotations"]) == 4
    assert predict("photos", "--output", "found.yolo/")[0] == 0
    assert files_under("found.yolo") == ["data.yaml", "labels/a.txt", "labels/b.txt", "labels/none.txt"]
    for name in ("found.yolo", "found.yolo/", "found.coco.json"):
        code, _, err = predict("photos", "--output", name)
        assert code == 2
        assert "is there already" in err


def test_bulk_work_counts_objects(predict: Callable[..., Output]) -> None:
    for _ in range(2):
        code, out, _ = predict("photos", "--output", "rows/")
        assert code == 0
        assert out.splitlines()[0] == "3 pictures: 4 objects on 2 of them, none on 1"
        assert out.splitlines()[2].split() == ["red", "2", "2"]
    assert json.loads(predict("photos", "--output", "rows/", "--format", "json")[1])["per_class"] == {
        "red": 2,
        "blue": 2,
    }


REFUSED = {
    "--sort-into sorted": "finder finds objects, and a picture with several belongs into no one folder: --crops DIR",
    "--crops photos/cut": "lies inside photos, and the crops would become part of those pictures",
    "--draw photos": "lies inside photos",
    "--crops cut --draw cut/drawn": "give each a folder of its own",
    "--crops cut --output rows/": "--crops cuts out what one command finds: give it without --output rows/",
    "--draw drawn --output rows/": "--draw draws what one command finds",
    "--format json --output x.coco.json": "contradicts",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_has_no_meaning_is_refused_in_one_line(predict: Callable[..., Output], options: str) -> None:
    code, out, err = predict("photos", *options.split())
    assert (code, out) == (2, "")
    assert REFUSED[options] in err.splitlines()[-1]
    assert sorted(path.name for path in Path().iterdir()) == ["model.bin", "photos"]


@pytest.mark.parametrize("options", ["--crops cut", "--draw drawn", "--output x.coco.json", "--output x.yolo/"])
def test_what_only_detectors_can_do_is_refused_for_others(predict: Callable[..., Output], options: str) -> None:
    code, out, err = predict("photos", *options.split(), decision=Decision())
    assert (code, out) == (2, "")
    assert "is for detectors, and finder says" in err or "this model finds none" in err
    assert sorted(path.name for path in Path().iterdir()) == ["model.bin", "photos"]


def test_tracks_have_a_probability_where_the_detector_is_calibrated_for_them(predict: Callable[..., Output]) -> None:
    pytest.importorskip("trackers", reason="needs the extra video and what OpenCV needs", exc_type=ImportError)
    boxes, tracks = (Platt(slope=1, offset=offset, boxes=200, right=150) for offset in (0.0, 1.0))
    for decision, known, lacks in (
        (Sureness(), (False, False), "scores are not calibrated, probabilities stay empty"),
        (Sureness(platt=boxes), (False, True), "tracks are not calibrated, their probabilities stay empty"),
        (Sureness(platt=boxes, tracks=tracks), (True, True), None),
    ):
        asked = ("photos", "--rate", "25", "--track", "--events", "tracks.csv", "--output", "rows.csv")
        code, _, said = predict(*asked, decision=decision)
        assert code == 0, said
        assert "stay empty" in said if lacks else "stay empty" not in said
        assert (lacks or "") in said
        with open("tracks.csv", encoding="utf-8", newline="") as file:
            first = next(csv.DictReader(file))
        assert (first["probability"] > "", first["greatest"] > "") == known
        if known[0]:
            assert float(first["probability"]) == pytest.approx(tracks.of(np.array(float(first["greatest"]))), abs=1e-3)
        Path("tracks.csv").unlink()
        Path("rows.csv").unlink()


def test_from_python_a_picture_is_drawn_at_once(predict: Callable[..., Output]) -> None:
    model = opened(Sureness(), Path("model.bin"))
    assert model.draw("photos/a.png").size == (640, 512)
    assert len(model.predict("photos/a.png").objects or ()) == 2
    assert [len(one.objects or ()) for one in model.predict_many("photos")] == [2, 2, 0]
    with pytest.raises(UsageError, match="is for detectors"):
        opened(Decision(), Path("model.bin")).draw("photos/a.png")
