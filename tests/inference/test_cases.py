"""One answer for several pictures: by folder, by column, from pictures in memory, and what is refused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.groups import NoGroupsError
from resnetkit.data.sources import open_pictures
from resnetkit.errors import UsageError
from resnetkit.inference.cases import predict_case, predict_cases
from resnetkit.inference.output import Tally, answers, to_file, to_stream
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.decision import Decision
from resnetkit.models.point import Point
from tests.inference.conftest import ColourEngine

Paint = Callable[..., Path]


@pytest.fixture
def wards(paint: Paint, tmp_path: Path) -> Path:
    """Series a of three pictures, one of which is broken; b of one; c of two that are no pictures."""
    for name, colour in (("a/1.png", "red"), ("b/1.png", "blue"), ("a/2.png", (255, 255, 0))):
        paint(f"wards/{name}", colour)
    for name in ("a/3.png", "c/1.png", "c/2.png"):
        (tmp_path / "wards" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "wards" / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "wards"


def by_folder(predictor: Predictor, folder: Path, **how: str) -> list[Prediction]:
    return list(predict_cases(predictor, open_pictures(folder, group_by="folder"), **how))


def test_a_case_is_the_mean_of_those_of_its_pictures_that_can_be_read(predictor: Predictor, wards: Path) -> None:
    done: list[tuple[int, int]] = []
    pictures = open_pictures(wards, group_by="folder")
    a, b, c = predict_cases(predictor, pictures, progress=lambda at, of: done.append((at, of)))
    assert [Path(one.source).name for one in (a, b, c)] == ["a", "b", "c"]
    assert [one.pictures for one in (a, b, c)] == [3, 1, 2]
    each = [predictor.predict(wards / "a" / name, top_k=3) for name in ("1.png", "2.png")]
    mean = {name: np.mean([dict(one.top)[name] for one in each]) for name in ("red", "green", "blue")}
    assert dict(a.top) == pytest.approx(mean)
    assert (a.label, a.probability, a.status) == ("red", pytest.approx(mean["red"]), "ok")
    assert [line.partition(":")[0] for line in a.unread] == [str(wards / "a" / "3.png")]
    assert (b.label, b.unread) == ("blue", ())
    assert (c.status, c.label) == ("error", None)
    assert str(c.error).endswith("c: none of its 2 pictures has an answer")
    assert len(c.unread) == 2
    assert done[-1] == (6, 6)
    assert [Prediction.from_json(one.to_json()) for one in (c,)] == [c]
    assert by_folder(predictor, wards, how="max green")[0].probability == pytest.approx(0.5, abs=1e-3)


def test_a_case_is_as_sure_as_held_out_cases_were_right(predictor: Predictor, wards: Path) -> None:
    plain = by_folder(predictor, wards)[0]
    fitted = replace(predictor, decision=Decision(case_temperature=0.5))
    a, b, _ = by_folder(fitted, wards)
    squares = {name: probability**2 for name, probability in plain.top}
    assert dict(a.top) == pytest.approx({name: one / sum(squares.values()) for name, one in squares.items()}, abs=1e-6)
    assert [one.label for one in (a, b)] == ["red", "blue"]
    # One of another kind was not fitted, nor one with a threshold.
    assert by_folder(fitted, wards, how="max green")[0].top == by_folder(predictor, wards, how="max green")[0].top
    point = Point(finding=0, at=0.2, goal="youden", share=0.5)
    looking = [
        replace(predictor, decision=Decision(point=point, case_temperature=temperature)) for temperature in (1.0, 0.5)
    ]
    assert by_folder(looking[0], wards)[0].top == by_folder(looking[1], wards)[0].top


def test_each_format_has_the_number_of_pictures_and_those_without_an_answer(
    predictor: Predictor, wards: Path, tmp_path: Path
) -> None:
    told, tally = by_folder(predictor, wards), Tally("cases")
    for one in told:
        tally.add(one)
    assert str(tally) == "3 cases: 2 named, 1 without an answer, 3 pictures could not be read or named"
    assert tally.exit_code == 4
    texts = {}
    for form in ("table", "csv", "jsonl"):
        stream = StringIO()
        with to_stream(stream, format=form, top_k=2, gives="cases") as write:  # type: ignore[arg-type]
            for one in told:
                write(one)
        texts[form] = stream.getvalue()
    assert texts["table"].splitlines()[0].split() == ["case", "pictures", "unread", "class", "probability"]
    assert texts["table"].splitlines()[1].split()[1:4] == ["3", "1", "red"]
    assert texts["table"].count("error: ") == 3
    rows = list(csv.DictReader(texts["csv"].splitlines()))
    assert list(rows[0])[:6] == ["source", "status", "pictures", "unread", "label", "probability"]
    assert [row["pictures"] for row in rows] == ["3", "1", "2"]
    assert rows[2]["unread"].count("; ") >= 1
    assert [json.loads(line)["pictures"] for line in texts["jsonl"].splitlines()] == [3, 1, 2]
    with to_file(tmp_path / "cases.parquet", top_k=1, gives="cases") as write:
        for one in told:
            write(one)
    assert [row.status for row in answers(tmp_path / "cases.parquet")] == ["ok", "ok", "error"]


def test_a_picture_without_a_group_is_a_case_of_its_own(predictor: Predictor, wards: Path) -> None:
    pictures = open_pictures(wards, group_by="(wards/a)/")
    assert pictures.notes[1].startswith("3 of 6 images are in no group (first: ")
    cases = list(predict_cases(predictor, pictures))
    assert [one.pictures for one in cases] == [3, 1, 1, 1]
    assert (cases[2].source, cases[2].error) == (str(wards / "c" / "1.png"), cases[2].unread[0])


def test_a_column_of_a_list_says_who_is_who(predictor: Predictor, wards: Path) -> None:
    (wards / "list.csv").write_text("image_path,who\na/1.png,p2\nb/1.png,p1\na/2.png,p2\nc/1.png,\n")
    pictures = open_pictures(wards / "list.csv", group_by="who")
    assert [(one.source, one.pictures) for one in predict_cases(predictor, pictures)] == [
        ("p1", 1), ("p2", 2), (str(wards / "c" / "1.png"), 1),
    ]  # fmt: skip
    assert pictures.notes[0] == "2 groups by who"
    with pytest.raises(NoGroupsError, match="--group-by whom: no such column; there are image_path, who"):
        open_pictures(wards / "list.csv", group_by="whom")


def test_pictures_in_memory_are_one_case(predictor: Predictor) -> None:
    series = (Image.new("RGB", (9, 9), colour) for colour in ("red", "red", "blue"))
    case = predict_case(predictor, series, name="7")
    assert (case.source, case.pictures, case.label) == ("7", 3, "red")
    assert case.probability == pytest.approx(2 / 3, abs=1e-3)
    with pytest.raises(UsageError, match="holds no pictures"):
        predict_case(predictor, [])


def test_only_cases_that_are_not_complete_are_kept(predictor: Predictor, paint: Paint, tmp_path: Path) -> None:
    for number in range(20):
        paint(f"series/{number // 5}/{number}.png", "red")
    stream = predict_cases(predictor, open_pictures(tmp_path / "series", group_by="folder"), batch_size=1)
    assert isinstance(predictor.engine, ColourEngine)
    next(stream)
    assert len(predictor.engine.batches) < 20, "the first series has its answer before the last is read"
    assert [one.pictures for one in stream] == [5, 5, 5]


def test_models_that_have_no_such_answers_are_refused(predictor: Predictor, finder: Predictor, wards: Path) -> None:
    with pytest.raises(UsageError, match="is for models of one class per picture, and finder gives objects"):
        by_folder(finder, wards)
    with pytest.raises(UsageError, match="promise something of single pictures"):
        by_folder(replace(predictor, decision=Decision(threshold=0.5)), wards)
    with pytest.raises(UsageError, match="no class 'pink'"):
        by_folder(predictor, wards, how="max pink")


def test_a_stated_prevalence_is_that_of_cases_and_changes_no_answer(predictor: Predictor, wards: Path) -> None:
    looking = Decision(point=Point(finding=0, at=0.4, goal="youden", share=0.5))
    plain, rare = (
        by_folder(replace(predictor, decision=decision), wards)[0]
        for decision in (looking, looking.asked(prevalence=0.02))
    )
    before, after = dict(plain.top)["red"], dict(rare.top)["red"]
    assert after / (1 - after) == pytest.approx(before / (1 - before) * 0.02 / 0.98)
    assert plain.label == rare.label
