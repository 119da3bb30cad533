"""The checklists of a run say what its files say, and leave to people what no run knows."""

import csv
import json
import re
import shutil
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnetkit as rk
from resnetkit.api.tasks import task_called
from resnetkit.cli import main
from resnetkit.evaluation.two_classes import screening
from resnetkit.models.checkpoint import read_header
from resnetkit.report.checklist import of_data, of_model, of_results
from resnetkit.report.checklist.files import Files, Told, read
from resnetkit.report.checklist.items import CHECKLISTS, CLAIM, STARD_AI
from resnetkit.report.checklist.known import TOPICS, known
from resnetkit.report.checklist.page import counts_of, render, state_of
from resnetkit.words import NO_MEDICAL_DEVICE

HEADLINE = task_called("classification").headline


@pytest.fixture
def files(digits_run: rk.Run) -> Files:
    return read(digits_run.folder, read_header(digits_run.folder.best), HEADLINE)


def told(values: Any) -> dict[str, str]:
    return {one.name: one.value for one in values}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_items_are_those_of_the_two_lists() -> None:
    assert [item.number for item in CLAIM.items] == [str(number) for number in range(1, 45)]
    letters = {"15": "abcd", "16": "abc", "17": "ab", "26": "ab", "40": "ab"}
    numbers = [f"{number}{letter}" for number in range(1, 41) for letter in letters.get(str(number), ("",))]
    assert [item.number for item in STARD_AI.items] == numbers
    asked = {topic for checklist in CHECKLISTS for item in checklist.items for topic in item.topics}
    assert asked == set(TOPICS), "every topic is asked for, and every one asked for is there"


def test_what_is_for_people_is_never_filled(digits_run: rk.Run) -> None:
    everything = dict.fromkeys(TOPICS, (Told("known", "all", "file"),))
    for checklist in CHECKLISTS:
        for item in checklist.items:
            assert item.people
            assert (state_of(item, everything) == "for people") == (not item.topics)
            assert state_of(item, {}) == "for people"
    of_people = {"5", "6", "15", "16", "17", "18", "30", "33", "34", "40", "41", "44"}
    assert {item.number for item in CLAIM.items if not item.topics} >= of_people
    assert not next(item for item in STARD_AI.items if item.number == "6").topics, "ethics"


def test_what_is_filled_equals_the_files_of_the_run(digits_run: rk.Run, files: Files) -> None:
    folder = digits_run.path
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = rows_of(folder / "split.csv")
    counts, parts = Counter(row["split"] for row in rows), told(of_data.TOPICS["parts"](files))["pictures"]
    assert re.findall(r"(\d+) (train|val|test)", parts) == [
        (str(counts[part]), part) for part in ("train", "val", "test")
    ]
    classes = told(of_data.TOPICS["classes"](files))
    in_train = Counter(row["label"] for row in rows if row["split"] == "train")
    assert {label: int(of.split()[0]) for label, of in classes.items()} == in_train
    assert told(of_data.TOPICS["data"](files))["read from"] == " ".join(recipe["data"]["sources"]) == "photos"
    assert told(of_data.TOPICS["assigned"](files))["parts"].startswith("No validation part was given: ")
    settings = told(of_model.TOPICS["recipe"](files))["all settings"].split(", ")
    assert f"optim.lr={recipe['recipe']['optim']['lr']}" in settings
    assert f"epochs={recipe['recipe']['epochs']}" in settings
    assert f"torch {environment['packages']['torch']}" in told(of_model.TOPICS["software"](files))["versions"]
    matrix = told(of_results.TOPICS["confusion"](files))
    for i, one in enumerate(metrics["classes"]):
        for j, other in enumerate(metrics["classes"]):
            count = metrics["confusion_matrix"][i][j]
            assert matrix.get(f"is {one}, called {other}") == (str(count) if count else None)
    said = [one.value for one in of_results.TOPICS["figures"](files)]
    assert said[: len(HEADLINE(metrics).splitlines())] == [line.strip() for line in HEADLINE(metrics).splitlines()]
    low, high = (f"{100 * bound:.1f}" for bound in metrics["top1_interval"])
    assert f"Accuracy {100 * metrics['top1']:.1f} % (95 % interval {low} to {high} %" in said[0]
    answers = len(rows_of(folder / "predictions.csv"))
    assert told(of_results.TOPICS["stored answers"](files)) == {"answers to scored pictures": f"{answers}, one by one"}


def test_groups_copies_and_what_was_left_out_are_counted(files: Files) -> None:
    pairs = [("train", "a"), ("train", "a"), ("val", "b"), ("test", "b"), ("test", ""), ("seen", "a")]
    rows = [{"split": part, "group": group} for part, group in pairs]
    some = replace(
        files, rows=rows, request={**files.request, "group_by": "PatientID", "bad_images": "skip", "limit": 7},
        findings=["3 images cannot be read:", "  /of/jane/doe.png: is no picture",
                  "2 of 9 test images are near-copies of training images:", "  jane/doe.png"],
    )  # fmt: skip
    assert told(of_data.TOPICS["groups"](some)) == {
        "groups by PatientID": "2: 1 train, 1 val, 1 test; 1 of them in several parts", "pictures in no group": "1",
    }  # fmt: skip
    assert told(of_data.TOPICS["left out"](some)) == {
        "left out of val and test, as the first weights had seen them": "1",
        "no more pictures of each class and part than": "7",
    }
    assert told(of_data.TOPICS["unreadable"](some)) == {
        "pictures that cannot be read": "left out: 3 images cannot be read"
    }
    copies = told(of_data.TOPICS["copies"](some))["copies across parts"]
    assert copies == "2 of 9 test images are near-copies of training images"
    assert told(of_data.TOPICS["assigned"](some))["parts"] == "the data gave val and test"
    nothing = replace(some, findings=None)
    assert [list(TOPICS[topic](nothing)) for topic in ("unreadable", "copies", "assigned")] == [[], [], []]


def test_two_classes_are_told_as_a_test_of_groups_where_there_are_any(files: Files) -> None:
    random, targets = np.random.default_rng(0), np.arange(60) % 2
    scores = 1 / (1 + np.exp(-random.normal(size=60) - targets))
    probabilities, groups = np.stack([1 - scores, scores], 1), [f"{n // 4}{n % 2}" for n in range(60)]
    for by, unit, key in ((None, "pictures", "pictures"), (groups, "groups", "cases")):
        found = screening(probabilities, targets, ["well", "ill"], by)
        assert files.metrics is not None
        some = replace(files, metrics={**files.metrics, **found})
        said = told(of_results.TOPICS["figures"](some))[f"as a test for ill, of {unit}"]
        area = found["screening"][key]["ill"]["roc_auc"]
        low, high = area["interval"]
        assert f"roc_auc {area['value']:.3f} ({low:.3f} to {high:.3f})" in said
        assert told(of_model.TOPICS["cut-off"](some))["ill from a probability of"] == "0.5"


def test_a_run_without_scores_fills_none_of_them(digits_run: rk.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(digits_run.path, tmp_path / "copy")
    for name in ("metrics.json", "predictions.csv", "data.json"):
        (copy / name).unlink()
    folder = rk.Run(type(digits_run.folder)(copy)).folder
    silent = {"scored", "frequency", "figures", "names of figures", "intervals", "answers", "confusion",
              "stored answers", "copies", "assigned"}  # fmt: skip
    found = known(folder, read_header(folder.best), headline=HEADLINE)
    assert set(TOPICS) - set(found) == silent | {"limit"} - set(found)
    states = {item.number: state_of(item, found) for item in CLAIM.items}
    assert (states["19"], states["32"], states["38"]) == ("in part", "for people", "for people")


def test_the_command_writes_it_beside_the_page_with_counts(
    digits_run: rk.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.api.reporting.write_page", lambda content, path: path.write_text("page"))
    monkeypatch.setattr("resnetkit.api.reporting._gathered", lambda *_, **__: None)
    with pytest.raises(SystemExit) as left:
        main(["report", str(digits_run.path), "--checklist", "--output", str(tmp_path / "page.html")])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    text = (tmp_path / "checklist.md").read_text(encoding="utf-8")
    found = known(digits_run.folder, read_header(digits_run.folder.best), headline=HEADLINE)
    for checklist in CHECKLISTS:
        counts = counts_of(checklist, found)
        assert sum(counts.values()) == len(checklist.items)
        line = f"{checklist.name}: " + ", ".join(f"{count} {state}" for state, count in counts.items())
        assert f"- {line}" in text.splitlines()
        assert f"  {line}" in printed.splitlines()
    assert text.endswith(f"{NO_MEDICAL_DEVICE}\n")
    blocks = re.split(r"\n(?=\*\*\d+[a-d]?\. )", text)[1:]
    assert len(blocks) == 44 + 48
    assert all(("- For people: " in block) == (" - filled\n" not in block) for block in blocks)


def test_names_from_outside_stay_text() -> None:
    told = (Told("<b>", "[x](y) `z` | \n# no", "f"), Told("1. one", "_a_b", "f"), Told("- c", "d", "f"))
    text = render("a*b", {"data": told}, version="1")
    assert r"# Checklists of a\*b" in text
    assert r"- \<b\>: \[x\](y) \`z\` \| \u000a\# no (f)" in text.replace("\\\\u000a", "\\u000a")
    assert "- 1\\. one: \\_a_b (f)\n- \\- c: d (f)\n" in text
