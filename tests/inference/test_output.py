import csv
import io
import json
import math
import os
import sys

import pytest

from resnetkit.errors import DataError, UsageError
from resnetkit.inference.output import Tally, answers, csv_columns, format_of, json_line, to_file, to_stream
from resnetkit.inference.predictor import Prediction
from resnetkit.words import escaped


def ok(source="a.jpg", label="cat", probability=0.9, other="dog", **changes):
    top = ((label, probability), (other, 1 - probability))
    return Prediction(source=source, status="ok", label=label, probability=probability, top=top, **changes)


def failed(source="bad.jpg"):
    return Prediction(source=source, status="error", error=f"{source}: cut short; copy it again")


def text_of(predictions, *, format, top_k=2, stream=None):
    stream = stream or io.StringIO()
    with to_stream(stream, format=format, top_k=top_k) as write:
        for prediction in predictions:
            write(prediction)
    return stream.getvalue()


FOREIGN = os.fsdecode(b"caf\xe9.jpg")
MIXED = [ok(), failed(), ok("개미/ä.jpg", label="고양이", warnings=("first of 3 frames", "small")), ok(FOREIGN)]


def test_json_is_one_list_with_every_key_and_readable_names():
    text = text_of(MIXED, format="json")
    assert [entry["source"] for entry in json.loads(text)] == ["a.jpg", "bad.jpg", "개미/ä.jpg", FOREIGN]
    assert "고양이" in text
    assert all(list(entry) == list(MIXED[0].to_json()) for entry in json.loads(text))
    assert json.loads(text_of([], format="json")) == []


def test_json_lines_are_one_object_each():
    lines = text_of(MIXED, format="jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [prediction.to_json() for prediction in MIXED]


def test_json_refuses_what_json_cannot_hold():
    with pytest.raises(ValueError):
        json_line(ok(probability=math.nan))


def test_csv_has_the_columns_of_the_design():
    assert csv_columns(1) == ["source", "status", "label", "probability", "warnings", "error"]
    assert csv_columns(3)[4:8] == ["label_2", "probability_2", "label_3", "probability_3"]
    rows = list(csv.DictReader(io.StringIO(text_of(MIXED, format="csv", top_k=3))))
    assert list(rows[0]) == csv_columns(3)
    assert list(rows[0].values()) == ["a.jpg", "ok", "cat", "0.900000", "dog", "0.100000", "", "", "", ""]
    assert rows[1]["error"] == "bad.jpg: cut short; copy it again"
    assert (rows[1]["status"], rows[1]["label"], rows[1]["probability"]) == ("error", "", "")
    assert rows[2]["warnings"] == "first of 3 frames; small"
    assert rows[3]["source"] == "caf\\udce9.jpg"


def test_csv_survives_commas_quotes_and_line_breaks_in_names():
    name = 'a,"b"\nc.jpg'
    [row] = csv.DictReader(io.StringIO(text_of([ok(name)], format="csv"), newline=""))
    assert row["source"] == name


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".CSV"])
def test_a_file_holds_what_the_stream_would_and_is_utf8(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    with to_file(path, top_k=2) as write:
        for prediction in MIXED:
            write(prediction)
    assert path.read_bytes().decode("utf-8") == text_of(MIXED, format=suffix[1:].lower())
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stays_as_it_was_when_the_work_breaks_off(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")
    with pytest.raises(AttributeError), to_file(path, top_k=2) as write:
        write(None)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_other_suffixes_and_folders_are_refused(tmp_path):
    for name in ("out.xlsx", "out", "out.table"):
        with pytest.raises(UsageError, match=r"\.json, \.jsonl, \.csv"):
            format_of(tmp_path / name)
    with pytest.raises(UsageError, match="did you mean"):
        format_of(tmp_path / "out.jsn")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="name a file"), to_file(tmp_path / "folder.csv", top_k=1):
        pass


def test_a_piped_table_is_plain_aligned_and_80_columns_wide():
    lines = text_of(MIXED[:3], format="table").splitlines()
    assert lines[0].split() == ["picture", "class", "probability", "second"]
    assert "a.jpg" in lines[1]
    assert "90.0 %" in lines[1]
    assert "error" in lines[2]
    assert "error: bad.jpg: cut short; copy it again" in lines
    assert "warning: 개미/ä.jpg: first of 3 frames" in lines
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)


def test_long_names_in_a_pipe_are_never_cut_and_cost_the_second_guess():
    long = "folder/" * 12 + "a.jpg"
    text = text_of([ok(long), ok()], format="table")
    assert long in text
    assert "second" not in text


def test_one_picture_is_shown_with_all_its_guesses():
    assert text_of([ok()], format="table").split("\n")[1:3] == ["cat         90.0 %", "dog         10.0 %"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_table_that_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    text = text_of([ok("folder/" * 20 + "[red]a.jpg"), ok(), failed()], format="table", stream=Terminal())
    table = text[: text.index("error: bad.jpg")]
    assert "[red]" in table.replace("\n", "")
    assert all(len(line) <= 80 for line in table.splitlines())


def test_hostile_names_cannot_command_the_terminal():
    text = text_of([ok("a\x1b[2J.jpg"), ok(FOREIGN), failed("b\x07.jpg")], format="table")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a\\u001b[2J.jpg" in text
    text.encode("utf-8")


@pytest.mark.parametrize("turn", list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
def test_names_cannot_turn_the_direction_of_text(turn):
    text = text_of([ok(f"a{turn}gpj.exe"), ok(label=f"c{turn}at"), failed(f"{turn}.jpg")], format="table")
    assert turn not in text
    assert escaped(f"a{turn}b") == f"a\\u{ord(turn):04x}b"


def test_joiners_of_names_and_emoji_stay():
    assert escaped("می\u200cخواهم 👩\u200d🔬 개미 נמלים") == "می\u200cخواهم 👩\u200d🔬 개미 נמלים"


def test_above_50_rows_a_table_becomes_a_summary():
    fifty = [ok(f"{number}.jpg") for number in range(50)]
    assert len(text_of(fifty, format="table").splitlines()) == 51
    unsure = Prediction(source="x.jpg", status="not_sure", label="cat", probability=0.4, top=(("cat", 0.4),))
    text = text_of([*fifty, ok("z.jpg", label="dog", other="cat"), unsure, failed()], format="table")
    assert "53 pictures: 51 named, 1 not sure, 1 could not be read or named" in text
    assert "cat          50  94.3 %" in text
    assert "error: bad.jpg: cut short" in text
    assert "--output predictions.csv" in text
    assert len(text.splitlines()) < 10


def test_a_summary_of_many_classes_and_errors_stays_short():
    many = [ok(f"{number}.jpg", label=f"class {number}") for number in range(300)] + [failed()] * 300
    text = text_of(many, format="table")
    assert "and 280 more classes" in text
    assert text.count("error: ") == 10


def test_the_tally_knows_the_exit_code():
    tally = Tally()
    for prediction in (ok(), ok()):
        tally.add(prediction)
    assert tally.exit_code == 0
    tally.add(failed())
    assert tally.exit_code == 4
    only_bad = Tally()
    only_bad.add(failed())
    assert str(only_bad) == "1 picture: 0 named, 1 could not be read or named"
    assert only_bad.exit_code == 3


def test_parquet_holds_typed_columns_and_nothing_as_null(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "out.parquet"
    with to_file(path, top_k=2) as write:
        for prediction in MIXED * 300:  # more than a group of rows
            write(prediction)
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 1200
    assert list(rows[0]) == csv_columns(2)
    first = ["a.jpg", "ok", "cat", 0.9, "dog", 0.1, None, None]
    assert list(rows[0].values()) == first
    assert list(rows[1].values()) == ["bad.jpg", "error", *[None] * 5, "bad.jpg: cut short; copy it again"]
    assert rows[3]["source"] == "caf\\udce9.jpg"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_answers_are_read_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    with to_file(path, top_k=2) as write:
        for prediction in MIXED:
            write(prediction)
    expected = [(p.status, [p.label] if p.label else [], p.error) for p in MIXED]
    assert list(answers(path)) == expected
    path.write_bytes(b"\xff\xfe nothing of ours\n")
    with pytest.raises(DataError, match=f"out{suffix}: is no whole"):
        list(answers(path))


def test_parquet_without_pyarrow_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"resnetkit\[parquet\]"):
        format_of(tmp_path / "out.parquet")
