"""What weights have seen, as a value: digests of a few bytes, joined along a line of descent."""

import hashlib

import pytest

from resnetkit.errors import DataError
from resnetkit.models.seen import LEFT_OUT, UNKNOWN, Seen, packed, seen_in_training


def digests(name: str) -> tuple[str, str]:
    """Of a file and of its pixels."""
    return hashlib.md5(f"file {name}".encode()).hexdigest(), hashlib.md5(f"pixels {name}".encode()).hexdigest()


def pictures(names: str) -> list[tuple[str, str]]:
    return [digests(name) for name in names]


def test_pictures_are_known_by_their_file_or_by_their_pixels() -> None:
    seen = seen_in_training(pictures("abc")).and_chosen(packed(pictures("x")))
    saved_again = [("0" * 32, digests("a")[1]), (digests("b")[0],), digests("x"), digests("y"), ()]
    assert seen.marks(saved_again, [None] * 5) == ["trained", "trained", "chose", None, None]


def test_one_picture_of_a_group_or_its_name_speaks_for_all_of_it() -> None:
    seen = seen_in_training(pictures("ab"), groups=["anna", None])
    found = seen.marks(pictures("axyz"), ["bert", "bert", "anna", "carl"])
    assert found == ["trained", "trained", "trained", None]


def test_what_ancestors_saw_stays_and_is_counted_once() -> None:
    first = seen_in_training(pictures("abcd"))
    second = seen_in_training(pictures("cde"), before=first)
    third = seen_in_training(pictures("f"), before=second)
    assert (second.pictures, second.ancestors) == (3, 2)
    assert (third.pictures, third.ancestors) == (1, 5)
    assert third.marks(pictures("abcdefg"), [None] * 7) == ["trained"] * 6 + [None]
    assert third.words() == "1 pictures (+ 5 by its ancestors)"


def test_what_chose_an_ancestor_is_not_new_and_what_calibrated_it_is() -> None:
    first = seen_in_training(pictures("ab")).and_chosen(packed(pictures("x"))).and_calibrated(packed(pictures("y")))
    assert seen_in_training(pictures("c"), before=first).marks(pictures("xy"), [None, None]) == ["chose", None]
    assert first.calibrated_by(pictures("y"))
    assert not first.calibrated_by(pictures("x"))


def test_weights_of_others_cannot_be_known_nor_those_that_began_as_them() -> None:
    assert (Seen().known, Seen().words()) == (False, UNKNOWN)
    tuned = seen_in_training(pictures("ab"), before=Seen())
    assert tuned.words() == "2 pictures; what its starting weights were trained on cannot be known"
    assert tuned.marks(pictures("az"), [None, None]) == ["trained", None]


def test_a_memory_that_was_left_out_takes_nothing_in() -> None:
    silent = Seen(why=LEFT_OUT)
    assert silent.and_chosen(packed(pictures("a"))) == silent.and_calibrated(packed(pictures("a"))) == silent


def test_it_survives_its_json_in_few_bytes_and_whatever_the_order() -> None:
    names = [f"{number}" for number in range(300)]
    seen = seen_in_training([digests(name) for name in names], groups=names)
    assert Seen.from_json(seen.to_json() | {"later": 1}) == seen
    assert seen == seen_in_training([digests(name) for name in reversed(names)], groups=names)
    assert len(seen.trained) == 300 * 2 * 6 * 4 / 3
    assert Seen.from_json({}) == Seen()


def test_a_damaged_memory_is_told_when_it_is_asked() -> None:
    with pytest.raises(DataError, match="its trained_on"):
        Seen.from_json({"pictures": "many"})
    with pytest.raises(DataError, match="is damaged"):
        Seen.from_json({"trained": "no base64!"}).marks(pictures("a"), [None])


def test_of_dicom_files_an_export_says_how_many_and_those_trained_from_it_do_not_forget_that() -> None:
    plain = seen_in_training(pictures("ab"))
    assert plain.for_others() == plain
    medical = seen_in_training(pictures("cde"), before=plain, dicom=True).and_chosen(packed(pictures("x")))
    told = medical.for_others()
    assert (told.pictures, told.ancestors, told.known, told.dicom) == (3, 2, False, True)
    assert told == Seen.from_json(told.to_json()) == told.and_chosen(packed(pictures("x")))
    assert told.marks(pictures("abcdex"), [None] * 6) == [None] * 6
    assert told.words().startswith("3 pictures (+ 2 by its ancestors); which they are was left out of the export")
    tuned = seen_in_training(pictures("f"), before=medical)
    assert tuned.for_others().pictures == 1
    assert tuned.for_others().trained == ""
    assert plain.and_calibrated(packed(pictures("y")), dicom=True).for_others().calibrated == ""
