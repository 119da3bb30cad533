"""Several labels per picture: how a source says so, how it is read, and what is told of it."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from resnetkit.data.dataset import Dataset, Item, labels_written
from resnetkit.data.findings import examine
from resnetkit.data.several import counted_labels, united
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, UsageError

from .test_sources import csv, write


def listed(folder: Path, *lines: str, **how: object) -> Dataset:
    return open_data(csv(folder / "list.csv", *lines), **how)


def said(data: Dataset) -> dict[str, str]:
    """Return what each picture is, by its name without folder and suffix."""
    return {Path(item.source).stem: item.written for item in data.items}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Item("1", ("cat",)), "cat"),
        (Item("1", ("cat", "dog")), "cat;dog"),
        (Item("1", ("cat",), unknown=("dog", "eel")), "cat;dog?;eel?"),
        (Item("1", (), unknown=("dog",)), "dog?"),
        (Item("1", ()), ""),
    ],
)
def test_what_is_written_of_a_picture_is_read_again(item, text):
    assert item.written == text
    assert labels_written(text) == (item.labels, item.unknown)


CELLS = ["image_path,label", "1.png,cat; dog", "2.png,", "3.png,?", "4.png,dog;cat;dog", "5.png,eel", "6.png,dog?"]


def test_cells_hold_several_names(tmp_path):
    data = listed(tmp_path, *CELLS)
    assert data.several
    assert data.classes == ("cat", "dog", "eel")
    assert said(data) == {"1": "cat;dog", "2": "", "4": "cat;dog", "5": "eel", "6": "dog?"}
    assert data.notes == (
        "several labels per picture: 2 pictures have several, 1 none, 1 is not known in part",
        f"left out, labels not known: 1 picture (first: {tmp_path}/3.png)",
    )


def test_names_of_cells_are_compared_in_nfc(tmp_path):
    apart = unicodedata.normalize("NFD", "개미")
    assert listed(tmp_path, "image_path,label", f"1.png,{apart};a", "2.png,개미").classes == ("a", "개미")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("cat;;dog", "line 3: label 'cat;;dog' has an empty name"),
        ("cat;", "line 3: label 'cat;' has an empty name"),
        ("cat; ?", r"line 3: label 'cat; \?' has '\?' beside names"),
        (
            "cat|dog",
            r"line 3: label 'cat\|dog' is several names with '\|' between them .*: write a;b, or the name with",
        ),
        ("cat;dog|eel", r"line 3: label 'dog\|eel' is several names"),
        ('"a,b"', "line 3: label 'a,b' is several names with ',' .*: write a;b, or the name without ','"),
        ("\"['cat', 'dog']\"", "line 3: label .* is a list of names: write a;b, without brackets"),
        ("\"['cat'; 'dog']\"", "line 3: label .* is a list of names: write a;b, without brackets"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_line(tmp_path, cell, message):
    with pytest.raises(DataError, match=message):
        listed(tmp_path, "image_path,label", "1.png,a;b", f"2.png,{cell}")


def test_a_name_with_a_comma_stays_one_among_several(tmp_path):
    data = listed(tmp_path, "image_path,label", '1.png,"tench, Tinca tinca;carp"', "2.png,carp")
    assert data.classes == ("carp", "tench, Tinca tinca")


def test_rows_of_one_picture_unite(tmp_path):
    data = listed(tmp_path, "image_path,label,split,group", "1.png,b,train,g", "2.png,a,val,", "./1.png,a,train,g")
    assert (data.several, said(data)) == (True, {"1": "a;b", "2": "a"})
    assert data.notes[1:] == ("1 row lists a picture again: a picture has the labels of all its rows",)
    assert [(item.split, item.group) for item in data.items] == [("train", "g"), ("val", None)]


@pytest.mark.parametrize(
    ("again", "what"), [("1.png,b,val,g", "split"), ("1.png,b,train,h", "group"), ("1.png,b,train,", "group")]
)
def test_rows_of_one_picture_agree_in_part_and_group(tmp_path, again, what):
    with pytest.raises(DataError, match=rf"line 3: 1.png is listed again \(first in line 2\) with another {what}"):
        listed(tmp_path, "image_path,label,split,group", "1.png,a,train,g", again)


def test_a_row_that_knows_nothing_takes_nothing_from_one_that_does(tmp_path):
    assert said(listed(tmp_path, "image_path,label", "1.png,?", "1.png,a;b", "2.png,?", "2.png,")) == {
        "1": "a;b",
        "2": "",
    }


COLUMNS = [
    "image_path,split,warm,age,wet,cold,remark,ward",
    "1.png,train,1.0,54,yes,0,,w1",
    "2.png,train,TRUE,7,?,0.0,,w2",
    "3.png,train,0,8,,no,,w1",
    "4.png,val,,1,?,,,w1",
    "5.png,val,X,0,false,0,,w2",
]


def test_a_column_for_each_label_is_read(tmp_path):
    data = listed(tmp_path, *COLUMNS, group_by="ward")
    assert data.several
    assert data.classes == ("cold", "warm", "wet"), "a label that no picture has is one too"
    assert said(data) == {"1": "warm;wet", "2": "warm;wet?", "3": "wet?", "5": "warm"}
    assert [item.group for item in data.items] == ["w1", "w2", "w1", "w2"]
    assert data.notes == (
        "several labels per picture: 1 picture has several, 2 are not known in part",
        f"left out, labels not known: 1 picture (first: {tmp_path}/4.png)",
        "columns that are no labels: age (it holds '54'), remark (it is empty)",
        "2 groups by ward",
    )


def test_one_column_that_is_no_label_is_named_with_a_value(tmp_path):
    data = listed(tmp_path, "image_path,a,b,age", "1.png,1,0,1", "2.png,0,1,54")
    assert data.notes[1:] == ("column age is no label: it holds '54'",)
    data = listed(tmp_path, ",image_path,a,b,c", "0,1.png,1,0,?", "1,2.png,0,1,")
    assert (data.classes, data.notes[1:]) == (("a", "b"), ("column c is no label: it holds '?'",))


def test_rows_of_columns_add_what_they_know(tmp_path):
    data = listed(
        tmp_path, "image_path,a,b,c,d", "1.png,1,,?,0", "1.png,0,1,,", "2.png,,,,", "2.png,,0,,", "3.png,,,1,"
    )
    assert said(data) == {"1": "a;b;c?", "2": "a?;c?;d?", "3": "c;a?;b?;d?"}


@pytest.mark.parametrize("task", ["auto", "classification"])
def test_at_least_two_columns_are_labels(tmp_path, task):
    with pytest.raises(
        DataError, match="line 1: no column 'label'; expected image_path,label, found image_path, a, age"
    ):
        listed(tmp_path, "image_path,a,age", "1.png,1,54", "2.png,0,7", task=task)
    with pytest.raises(DataError, match="no column 'label'"):
        listed(tmp_path, "image_path,a,b", task=task)


def test_a_slip_in_a_column_of_marks_is_named(tmp_path):
    rows = [f"{number}.png,{2 if number == 3 else number % 2},1" for number in range(10)]
    with pytest.raises(DataError, match="line 5: column a says yes and no, but '2' here: write 1 for yes"):
        listed(tmp_path, "image_path,a,b", *rows)


def test_counts_beside_a_class_are_no_slips(tmp_path):
    rows = [f"{number}.png,benign,{2 if number == 3 else number % 2}" for number in range(10)]
    with pytest.raises(DataError, match="no column 'label'"):
        listed(tmp_path, "image_path,diagnosis,lesions", *rows)


def test_flags_beside_a_misspelt_label_are_asked_about(tmp_path):
    lines = ("image_path,lable,night,rain", "1.png,cat,1,0", "2.png,dog,0,1")
    with pytest.raises(DataError, match="no column 'label'; did you mean 'lable'"):
        listed(tmp_path, *lines)
    assert listed(tmp_path, *lines, task="multilabel").classes == ("night", "rain")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image_path,label", "1.png,a;b"], r"line 2: label 'a;b' is several names .*: write one, or add --task multi"),
        (
            ["image_path,a,b", "1.png,1,0"],
            r"line 1: has a column for each label \(a, b\): .*, or add --task multilabel",
        ),
        (["image_path,label", "1.png,a", "1.png,b"], "line 3: 1.png is listed again .*: keep one row, or add --task"),
    ],
)
def test_who_asks_for_one_label_is_told_the_way_out(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        listed(tmp_path, *lines, task="classification")
    assert listed(tmp_path, *lines).several


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image_path,label", "1.png,a", "2.png,a;"], "line 3: label 'a;' is several names .* write one, without ';'"),
        (["image_path,label", "1.png,a", "2.png,a|b"], r"line 3: label 'a\|b' .*: write a;b, or the name without '\|'"),
        (["image_path,label", "1.png,a", "2.png,\"['a', 'b']\""], "line 3: label .* is a list of names: write a;b"),
        (["image_path,label", "1.png,a", "2.png,"], "line 3: 2.png has no label: write one, or add --task multilabel"),
    ],
)
def test_what_is_not_plainly_several_is_one(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        listed(tmp_path, *lines)


def test_single_labels_stay_as_they_were(tmp_path):
    lines = ("image_path,label", "1.png,a", "2.png,what?", "1.png,a", "3.png,?")
    for data in (listed(tmp_path, *lines), listed(tmp_path, *lines, task="classification")):
        assert not data.several
        assert {item.label for item in data.items} == {"a", "what?", "?"}
        assert data.notes == ("1 row repeats an earlier one: each picture is used once",)
    tree = open_data(write(tmp_path / "tree", "a;b/1.png", "c/1.png"))
    assert (tree.several, tree.classes) == (False, ("a;b", "c"))


def test_an_unknown_word_for_labels_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--task multilable: expected auto, .*, detection; did you mean 'multilabel'"):
        open_data(write(tmp_path, "a/1.png", "b/2.png"), task="multilable")


def test_arrays_may_have_several_names_where_that_is_said():
    images = np.zeros((4, 4, 4), np.uint8)
    data = open_data((images, ["b;a", "", "?", "b"]), task="multilabel")
    assert [(item.source, item.labels) for item in data.items] == [
        ("<arrays>::0", ("a", "b")),
        ("<arrays>::1", ()),
        ("<arrays>::3", ("b",)),
    ]
    assert data.notes[1:] == ("left out, labels not known: 1 picture (first: <arrays>::2)",)
    with pytest.raises(DataError, match=r"label 'a;b' is several names .* add --task multilabel"):
        open_data((images, ["a;b", "a", "b", "b"]))
    assert not open_data((images, [0, 1, 1, 0])).several


def test_names_that_a_cell_cannot_hold_are_refused_until_renamed(tmp_path):
    tree = write(tmp_path, "a;b/1.png", "c?/1.png", "d/1.png")
    with pytest.raises(DataError, match="class 'a;b' has a ';', which parts labels: add --rename \"a;b=NAME\""):
        open_data(tree, task="multilabel")
    with pytest.raises(DataError, match=r"class 'c\?' has a '\?' at its end, which says that nobody knows: add --ren"):
        open_data(tree, task="multilabel", rename={"a;b": "ab"})
    assert open_data(tree, task="multilabel", rename={"a;b": "ab", "c?": "c"}).classes == ("ab", "c", "d")


def test_rename_reaches_unknown_labels_and_empty_columns(tmp_path):
    lines = ("image_path,kitty,cat,dog", "1.png,0,1,0", "2.png,0,0,?", "3.png,0,?,1")
    data = listed(tmp_path, *lines, rename={"kitty": "cat", "dog": "bear"})
    assert data.classes == ("bear", "cat")
    assert said(data) == {"1": "cat", "2": "bear?", "3": "bear;cat?"}
    with pytest.raises(UsageError, match="no class is called 'kity'; did you mean 'kitty'"):
        listed(tmp_path, *lines, rename={"kity": "cat"})
    cells = listed(tmp_path, "image_path,label", "1.png,a;b", "2.png,b;a?", rename={"a": "c"})
    assert said(cells) == {"1": "b;c", "2": "b;c?"}
    assert said(listed(tmp_path, "image_path,label", "1.png,a;b?", rename={"b": "a"})) == {"1": "a"}


def test_a_label_that_training_does_not_know_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"class 'dogg' \(1 image in .*, val part\) is not among .* mean 'dog'"):
        listed(tmp_path, "image_path,label,split", "1.png,cat;dog,train", "2.png,cat;dogg,val")
    with pytest.raises(DataError, match="class 'eel'"):
        listed(tmp_path, "image_path,label,split", "1.png,cat;dog,train", "2.png,cat;eel?,val")
    lines = ("image_path,split,a,b", "1.png,train,1,0", "2.png,val,0,1")
    assert listed(tmp_path, *lines).classes == ("a", "b"), "a column is a class for every part"


def test_classes_that_differ_by_case_are_refused_among_unknown_ones_too(tmp_path):
    with pytest.raises(DataError, match="'Dog' and 'dog' differ only by case"):
        listed(tmp_path, "image_path,label", "1.png,cat;dog", "2.png,cat;Dog?")


def test_limit_needs_no_picture_of_each_class(tmp_path):
    rows = [f"{i}.png,{'a' if i % 2 else 'a;b'};{'cdefgh'[i % 6]}" for i in range(24)]
    data = listed(tmp_path, "image_path,label", *rows, limit=3)
    assert (len(data), data.classes) == (3, tuple("abcdefgh"))
    assert data.notes[0] == f"several labels per picture: {len(data)} pictures have several"
    assert len({item.written for item in data.items}) == 3
    with pytest.raises(UsageError, match=r"--limit 0 is less than one image$"):
        listed(tmp_path, "image_path,label", *rows, limit=0)


def test_pictures_of_one_content_are_one_with_all_labels():
    items = (
        Item("t/b/1", ("b",), "train"),
        Item("t/c/2", ("c",), "train", "g"),
        Item("t/a/1", ("a",), "train", "h", ("c", "d")),
        Item("v/a/1", ("a",), "val"),
        Item("broken", ("a",), "train"),
        Item("t/c/1", ("c",), "train"),
    )
    digests = {"t/b/1": "x", "t/c/2": "y", "t/a/1": "x", "v/a/1": "x", "t/c/1": "x"}
    assert united(items, digests) == (
        Item("t/b/1", ("a", "b", "c"), "train", "h", ("d",)),
        items[1],
        items[3],
        items[4],
    )
    assert united(items[:2], {}) == items[:2]


def test_a_tree_says_nothing_of_several_before_its_contents_are_known(tmp_path):
    data = open_data(write(tmp_path, "a/1.png", "b/1.png"), task="multilabel")
    assert (data.several, data.notes) == (True, ())
    one = united(data.items, {item.source: "same" for item in data.items})
    assert counted_labels(one) == "several labels per picture: 1 picture has several"
    assert one[0].labels == ("a", "b")


def several(*items: Item, classes: tuple[str, ...]) -> Dataset:
    return Dataset(name="a set", items=items, classes=classes, several=True, origins={})


def test_the_report_counts_labels_and_pictures(tmp_path):
    train = [Item("1", ("a", "b"), "train"), Item("2", (), "train"), Item("3", ("a",), "train", unknown=("c",))]
    val = [Item("4", ("a", "b"), "val"), Item("5", ("a",), "val")]
    data = several(*train, *val, classes=("a", "b", "c"))
    digests = {"1": "x", "2": "x", "3": "z", "4": "v", "5": "w"}
    report = examine(
        data, {"train": train, "val": val}, data.classes, digests=digests, unreadable={}, held_out=0.4, depth=None
    )
    assert report.counts == {"a": {"train": 2, "val": 2}, "b": {"train": 1, "val": 1}, "c": {"train": 0, "val": 0}}
    assert (report.total("train"), report.total("val"), report.total("test")) == (3, 2, 0)
    assert report.two_labels == (), "identical pictures with other labels are nothing to tell"
    assert report.missing == {"train": ("c",), "val": ("c",)}
    lines = str(report).splitlines()
    assert lines[4] == "images      3    2"
    assert "2 of 5 training images" in str(report)
    assert max(map(cell_len, lines)) <= 80
    assert report.to_json()["pictures"] == {"train": 3, "val": 2}
