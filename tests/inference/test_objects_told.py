"""Objects found on pictures as people and programs are told: tables, CSV, COCO, YOLO, bulk work."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from resnetkit.data.sources import open_data, open_pictures
from resnetkit.errors import DataError, UsageError
from resnetkit.inference import bulk
from resnetkit.inference.output import Tally, answers, csv_columns, format_of, to_file, to_stream
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.detection.detected import Detected
from tests.fakes import COLOURS, ColourFinder
from tests.inference.conftest import TWO

Paint = Callable[..., Path]


def found(source: str, *objects: tuple[str, float], **changes: object) -> Prediction:
    boxes = tuple(Detected(label, score, (1.5, 2.0, 30.25, 40.0)) for label, score in objects)
    return Prediction(source=source, status="ok", objects=boxes, size=(40, 50), **changes)  # type: ignore[arg-type]


FAILED = Prediction(source="bad.jpg", status="error", error="bad.jpg: cut short; copy it again")
SEVERAL = [
    found("a.jpg", ("WBC", 0.99), ("RBC", 0.9), ("RBC", 0.8), warnings=("several frames",)),
    found("empty.jpg"),
    FAILED,
    found("a.jpg", ("RBC", 0.7)),  # a list may name a picture twice
    found("a.jpg", ("RBC", 0.6)),
]
CLASSES = ("RBC", "WBC", "Platelets")


def text_of(predictions: list[Prediction], format: str) -> str:
    stream = io.StringIO()
    with to_stream(stream, format=format, top_k=5, gives="objects") as write:  # type: ignore[arg-type]
        for prediction in predictions:
            write(prediction)
    return stream.getvalue()


def write_file(path: Path, predictions: list[Prediction] = SEVERAL) -> Path:
    with to_file(path, top_k=5, gives="objects", classes=CLASSES) as write:
        for prediction in predictions:
            write(prediction)
    return path


def test_csv_has_a_row_for_each_object_and_one_for_a_picture_without_any() -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(SEVERAL, "csv"))))
    assert list(rows[0]) == csv_columns(5, gives="objects")
    assert [(row["source"], row["object"], row["label"]) for row in rows] == [
        ("a.jpg", "1", "WBC"), ("a.jpg", "2", "RBC"), ("a.jpg", "3", "RBC"), ("empty.jpg", "", ""),
        ("bad.jpg", "", ""), ("a.jpg", "1", "RBC"), ("a.jpg", "1", "RBC"),
    ]  # fmt: skip
    assert list(rows[0].values())[3:] == ["WBC", "0.990000", "", "1.50", "2.00", "30.25", "40.00", "several frames", ""]
    assert rows[4]["error"] == FAILED.error


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_answers_are_read_back_one_for_each_picture(tmp_path: Path, suffix: str) -> None:
    path = write_file(tmp_path / f"out.{suffix}")
    assert [(row.status, list(row.labels), row.error) for row in answers(path)] == [
        (prediction.status, list(prediction.names), prediction.error) for prediction in SEVERAL
    ]


def test_a_file_whose_objects_are_missing_is_no_whole_one(tmp_path: Path) -> None:
    path = write_file(tmp_path / "out.csv")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(DataError, match="no whole file"):
        list(answers(path))


def test_parquet_holds_numbers(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(write_file(tmp_path / "out.parquet", SEVERAL * 500)).to_pylist()
    assert len(rows) == 3500
    assert [rows[1][name] for name in ("object", "label", "score", "left", "bottom")] == [2, "RBC", 0.9, 1.5, 40.0]
    assert rows[3]["object"] is rows[3]["left"] is None


def test_a_table_counts_and_one_picture_is_shown_object_by_object() -> None:
    lines = text_of(SEVERAL, "table").splitlines()
    assert lines[0].split() == ["picture", "found", "surest"]
    assert lines[1].split("  ")[0] == "a.jpg"
    assert "2 RBC, 1 WBC" in lines[1]
    assert lines[1].endswith("WBC 99.0 %")
    assert lines[2].split() == ["empty.jpg", "nothing"]
    assert lines[3].split() == ["bad.jpg", "error"]
    one = text_of(SEVERAL[:1], "table").splitlines()
    assert one[0].split() == ["class", "score", "left", "top", "right", "bottom"]
    assert one[1].split() == ["WBC", "99.0", "%", "1.5", "2.0", "30.2", "40.0"]
    assert text_of([found("empty.jpg")], "table").splitlines()[1].split() == ["empty.jpg", "nothing"]
    many = text_of([found("a.jpg", *[("RBC", 0.9)] * 70)], "table")
    assert "and 20 less sure" in many
    assert len(many.splitlines()) == 52


def test_a_calibrated_detector_tells_how_probably_each_box_is_right(tmp_path: Path) -> None:
    plain = SEVERAL[0]
    sure = replace(plain, objects=tuple(replace(one, probability=one.score / 2) for one in plain.objects or ()))
    rows = list(csv.DictReader(io.StringIO(text_of([sure, plain], "csv"))))
    assert [row["probability"] for row in rows] == ["0.495000", "0.450000", "0.400000", "", "", ""]
    lines = text_of([sure], "table").splitlines()
    assert lines[0].split()[:2] == ["class", "probability"]
    assert lines[1].split()[:3] == ["WBC", "49.5", "%"]
    told = [json.loads(line)["objects"] for line in text_of([sure, plain], "jsonl").splitlines()]
    assert [one.get("probability") for one in told[0] + told[1]] == [0.495, 0.45, 0.4, None, None, None]
    assert Prediction.from_json(json.loads(json.dumps(sure.to_json()))) == sure


def test_above_50_pictures_objects_are_counted() -> None:
    text = text_of([*SEVERAL * 11], "table")
    assert text.splitlines()[0] == "55 pictures: 55 objects on 33 of them, none on 11, 11 could not be read or named"
    assert text.splitlines()[1].split() == ["class", "objects", "pictures"]
    assert text.splitlines()[2].split() == ["RBC", "44", "33"]
    tally = Tally("objects")
    tally.add(found("a.jpg", ("RBC", 0.7)))
    assert str(tally) == "1 picture: 1 object on 1 of them"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_coco_json_is_read_by_coco_s_tools(tmp_path: Path, finder: Predictor, scene: Paint) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    masked = replace(finder, engine=ColourFinder(masks=True))
    answered = [masked.predict(scene("a.png", TWO)), masked.predict(scene("b.png", {})), FAILED]
    path = tmp_path / "found.coco.json"
    with to_file(path, top_k=5, gives="objects", classes=COLOURS) as write:
        for prediction in answered:
            write(prediction)
    values = json.loads(path.read_text())
    assert [image["width"] for image in values["images"]] == [160, 160]
    assert values["not_read"] == [{"file_name": "bad.jpg", "error": FAILED.error}]
    assert [category["name"] for category in values["categories"]] == list(COLOURS)
    read = coco.COCO(str(path))
    assert read.getImgIds() == [1, 2]
    first = read.loadAnns(read.getAnnIds(imgIds=1))
    assert [one["bbox"] for one in first] == [[10, 20, 40, 40], [100, 40, 50, 70]]
    assert [one["area"] for one in first] == [read.annToMask(one).sum() for one in first]
    assert first[0]["score"] == 1.0


def test_yolo_s_files_hold_shares_and_an_empty_one_says_nothing_is_there(tmp_path: Path) -> None:
    folder = write_file(
        tmp_path / "found.yolo", [found("in/day/a.jpg", ("WBC", 0.9), ("RBC", 0.5)), found("in/b.jpg"), FAILED]
    )
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == ["data.yaml", "labels/b.txt", "labels/day/a.txt"]
    assert (folder / "labels/b.txt").read_text() == ""
    numbers = [list(map(float, line.split())) for line in (folder / "labels/day/a.txt").read_text().splitlines()]
    assert numbers[0] == pytest.approx([1, 15.875 / 40, 21 / 50, 28.75 / 40, 38 / 50], abs=1e-6)
    assert '  0: "RBC"\n  1: "WBC"\n  2: "Platelets"\n' in (folder / "data.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["found.yolo"]
    for name in ("b.jpg", "day/a.jpg"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50)).save(folder / "images" / name)
    read = open_data(folder)  # a set to correct, and to train on
    assert {Path(item.source).name: item.labels for item in read.items} == {"a.jpg": ("RBC", "WBC"), "b.jpg": ()}
    with pytest.raises(UsageError, match=r"found\.yolo: is there already"):
        write_file(folder)


def test_a_yolo_folder_does_not_appear_when_the_work_breaks_off(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        write_file(tmp_path / "found.yolo", [None])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_formats_of_detectors_are_no_formats_of_others(tmp_path: Path) -> None:
    for name, format in (("x.coco.json", "coco"), ("x.yolo", "yolo"), ("X.COCO.JSON", "coco"), ("a.b.json", "json")):
        assert format_of(Path(name)) == format
    for name in ("x.coco.json", "x.yolo"):
        with pytest.raises(UsageError, match="this model finds none"), to_file(tmp_path / name, top_k=1):
            pass


def test_bulk_work_counts_pictures_and_goes_on(finder: Predictor, scene: Paint, tmp_path: Path) -> None:
    for number in range(7):
        scene(f"photos/{number}.png", TWO if number % 3 else {})
    (tmp_path / "photos/5.png").write_bytes(b"no picture")
    weights = tmp_path / "model.bin"
    weights.write_bytes(b"weights")
    pictures = open_pictures(str(tmp_path / "photos"))
    for suffix in ("", ".jsonl", ".parquet"):
        folder = tmp_path / f"rows{suffix}"
        record = bulk.record_of(
            pictures, finder, files=[weights], precision="fp32", top_k=5, format=bulk.format_of(folder)
        )
        rows = bulk.open_folder(folder, replace(record, part_size=3))
        rows.make(finder, pictures, shard=bulk.Shard(2, of=2))
        assert rows.summary().missing == 2
        rows.make(finder, pictures)
        summary = bulk.open_folder(folder, replace(record, part_size=3)).summary()
        assert (summary.tally.total, summary.tally.errors, summary.tally.empty) == (7, 1, 3)
        assert summary.tally.labels == {"red": 3, "blue": 3}
        assert str(summary.tally) == "7 pictures: 6 objects on 3 of them, none on 3, 1 could not be read or named"


def test_a_folder_of_an_older_version_goes_on(tmp_path: Path) -> None:
    record = bulk.Record(
        model="m", weights="", precision="fp32", top_k=5, format="csv", pictures=3, sources="", gives="labels"
    )
    folder = tmp_path / "rows"
    bulk.open_folder(folder, record)
    written = json.loads((folder / bulk.RECORD).read_text())
    del written["gives"]
    (folder / bulk.RECORD).write_text(json.dumps(written | {"several": True}))
    assert bulk.open_folder(folder, record).record.gives == "labels"
