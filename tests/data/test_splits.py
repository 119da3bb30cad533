import dataclasses
import random
import unicodedata
from collections import Counter

import numpy as np
import pytest

from resnetkit.data import splits
from resnetkit.data.dataset import Item
from resnetkit.data.splits import ENOUGH_TO_HALVE, halve, hold_out
from resnetkit.errors import DataError, UsageError


def photos(count: int, *, label: str = "a", start: int = 0) -> list[tuple[Item, str]]:
    """Return items with a content each."""
    return [(Item(f"{label}/{i}.jpg", (label,)), f"{label} {i}") for i in range(start, start + count)]


def divide(photos: list[tuple[Item, str]], *, share: float = 0.2, seed: int = 0) -> dict[str, str | None]:
    items = [item for item, _ in photos]
    return {
        item.source: item.split for item in hold_out(items, [content for _, content in photos], share=share, seed=seed)
    }


def test_a_share_of_every_class_is_held_out():
    parts = divide([*photos(2000, label="a"), *photos(2000, label="b")])
    for label in "ab":
        count = sum(part == "val" for source, part in parts.items() if source.startswith(label))
        assert 0.17 < count / 2000 < 0.23  # three standard deviations of 2,000 throws


@pytest.mark.parametrize("trial", range(20))
def test_new_photos_never_move_old_ones(trial):
    chance = random.Random(trial)
    before = [*photos(40, label="a"), *photos(30, label="b")]
    added = [*photos(chance.randint(1, 60), label="a", start=100), *photos(chance.randint(0, 9), label="c")]
    after = before + added
    chance.shuffle(after)
    old, new = divide(before, seed=trial), divide(after, seed=trial)
    assert {source: new[source] for source in old} == old


def test_where_photos_lie_does_not_matter_but_the_seed_does():
    here = photos(200)
    there = [(Item(f"/elsewhere/{item.source}", item.labels), content) for item, content in here]
    assert list(divide(here).values()) == list(divide(there).values())
    assert list(divide(here).values()) != list(divide(here, seed=1).values())


def test_identical_files_are_on_one_side():
    twice = photos(100) + [(Item(f"copy/{i}.jpg", ("a",)), f"a {i}") for i in range(100)]
    parts = divide(twice)
    assert all(parts[f"a/{i}.jpg"] == parts[f"copy/{i}.jpg"] for i in range(100))
    assert set(parts.values()) == {"train", "val"}


def test_groups_and_what_they_share_are_on_one_side():
    grouped = [(Item(f"{g}/{i}.jpg", ("a",), group=f"p{g}"), f"{g} {i}") for g in range(50) for i in range(4)]
    linked = [(Item("link/1.jpg", ("a",), group="p0"), "shared"), (Item("link/2.jpg", ("a",), group="p1"), "shared")]
    parts = divide(grouped + linked, share=0.3)
    sides = [{part for source, part in parts.items() if source.startswith(f"{g}/")} for g in range(50)]
    assert all(len(side) == 1 for side in sides)
    assert sides[0] == sides[1] == {parts["link/1.jpg"]}
    assert Counter(next(iter(side)) for side in sides)["val"] > 5


def test_contents_that_are_alike_are_on_one_side_and_others_stay():
    there = photos(300)
    alike = [(f"a {i}", f"a {i + 1}") for i in range(0, 100, 2)] + [("a 1", "a 2")]
    items, contents = [item for item, _ in there], [content for _, content in there]
    parts = [item.split for item in hold_out(items, contents, share=0.3, seed=0, alike=alike)]
    assert all(parts[i] == parts[i + 1] for i in range(0, 100, 2))
    assert len(set(parts[:4])) == 1
    assert parts[100:] == list(divide(there, share=0.3).values())[100:]
    assert len(set(parts[:100])) == 2


@pytest.mark.parametrize("seed", range(10))
def test_every_class_with_two_photos_has_one_on_each_side(seed):
    many = [photo for label in "abcdefghij" for photo in photos(2, label=label)]
    parts = divide(many, seed=seed)
    for label in "abcdefghij":
        assert Counter(part for source, part in parts.items() if source.startswith(label)) == {"train": 1, "val": 1}


@pytest.mark.parametrize("seed", range(10))
def test_the_photo_that_is_moved_empties_no_other_class(seed):
    shared = [(Item(f"{label}/0.jpg", (label,), group="both"), f"{label} 0") for label in "ab"]
    parts = divide(shared + photos(1, label="a", start=1) + photos(3, label="b", start=1), seed=seed)
    for label in "ab":
        assert {part for source, part in parts.items() if source.startswith(label)} == {"train", "val"}


def divide_knowing(
    photos: list[tuple[Item, str]], trained: set[str], *, share: float = 0.2, seed: int = 0
) -> dict[str, str | None]:
    items, contents = [item for item, _ in photos], [content for _, content in photos]
    return {item.source: item.split for item in hold_out(items, contents, share=share, seed=seed, trained=trained)}


def in_part(parts: dict[str, str | None], part: str) -> set[str]:
    return {source for source, own in parts.items() if own == part}


@pytest.mark.parametrize("seed", range(20))
def test_what_an_earlier_run_held_out_is_held_out_again_under_any_seed(seed):
    pictures = [*photos(60, label="a"), *photos(60, label="b"), *photos(60, label="c")]
    before = divide(pictures)
    assert divide_knowing(pictures, in_part(before, "train"), seed=seed) == before


def test_of_many_new_pictures_the_share_of_all_is_held_out():
    pictures = photos(2000)
    trained = {item.source for item, _ in pictures[:1200]}
    held_out = in_part(divide_knowing(pictures, trained), "val")
    assert not held_out & trained
    assert 0.17 < len(held_out) / 2000 < 0.23


def test_a_group_or_content_that_trained_is_never_held_out():
    grouped = [(Item(f"{g}/{i}.jpg", ("a",), group=f"p{g}"), f"{g} {i}") for g in range(50) for i in range(4)]
    copies = [(Item(f"copy/{g}.jpg", ("b",)), f"{g} 0") for g in range(50)]
    trained = {f"{g}/3.jpg" for g in range(40)}
    held_out = in_part(divide_knowing([*grouped, *copies], trained, share=0.5, seed=3), "val")
    assert held_out <= {f"{g}/{i}.jpg" for g in range(40, 50) for i in range(4)} | {
        f"copy/{g}.jpg" for g in range(40, 50)
    }
    assert held_out


def test_where_all_have_trained_nothing_is_held_out():
    pictures = photos(50)
    assert set(divide_knowing(pictures, {item.source for item, _ in pictures}).values()) == {"train"}


def test_a_class_of_one_photo_stays_in_train():
    assert all(divide(photos(1, label=f"class {i}")) == {f"class {i}/0.jpg": "train"} for i in range(30))


def test_parts_that_are_given_stay():
    test = [(Item(f"t/{i}.jpg", ("a",), "test"), f"t {i}") for i in range(5)]
    assert Counter(divide(photos(50) + test).values())["test"] == 5
    val = [(Item("v/0.jpg", ("a",), "val"), "v")]
    assert Counter(divide(photos(50) + val).values()) == {"train": 50, "val": 1}


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_leaves_one_side_empty_is_refused(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        divide(photos(5), share=share)


def test_digests_tell_contents_apart():
    pixels = np.arange(12, dtype=np.uint8)
    several = [b"x", b"y", pixels.reshape(3, 4), pixels.reshape(4, 3), pixels.tobytes()]
    assert len({splits.digest(content) for content in several}) == 5
    assert splits.digest(pixels.reshape(3, 4)) == splits.digest(pixels.reshape(3, 4).copy())
    assert len(splits.digest(b"x")) == 32


def test_a_split_is_written_and_read(tmp_path):
    name = unicodedata.normalize("NFC", "개미")
    items = [
        Item("b, 10.jpg", (name,), "train"),
        Item("b, 2.jpg", ("נמלים",), "val", "p1"),
        Item(" a\n.jpg", ("x",), "test"),
    ]
    splits.write_split(tmp_path / "split.csv", items)
    assert splits.read_split(tmp_path / "split.csv") == {item.source: item.split for item in items}
    text = (tmp_path / "split.csv").read_text(encoding="utf-8")
    assert text.startswith("source,label,split,group\n")
    assert text.index("2.jpg") < text.index("10.jpg")
    splits.write_split(tmp_path / "split.csv", items[:1])
    assert (tmp_path / "split.csv").read_text(encoding="utf-8") == f'source,label,split\n"b, 10.jpg",{name},train\n'


def test_a_damaged_split_is_refused_with_the_line(tmp_path):
    (tmp_path / "split.csv").write_text("source,label,split\na.jpg,a,train\nb.jpg,b,\n")
    with pytest.raises(DataError, match=r"split.csv, line 3: split is ''"):
        splits.read_split(tmp_path / "split.csv")


def test_an_earlier_split_holds_and_new_photos_train():
    items = [Item("photos/a/1.jpg", ("a",)), Item("photos/a/2.jpg", ("a",)), Item("photos/b/3.jpg", ("b",))]
    divided, num_new = splits.reuse_split(items, {"photos/a/1.jpg": "val", "photos/a/2.jpg": "train"})
    assert [item.split for item in divided] == ["val", "train", "train"]
    assert num_new == 1


@pytest.mark.parametrize("where", ["/home/me/photos/", "../photos/", "photos.zip::inside/"])
def test_an_earlier_split_is_recognised_under_another_path(where):
    rows = {"photos/train/a/1.jpg": "val", "photos/train/b/1.jpg": "train"}
    divided, _ = splits.reuse_split([Item(f"{where}train/a/1.jpg"), Item(f"{where}train/b/1.jpg")], rows)
    assert [item.split for item in divided] == ["val", "train"]


def test_a_split_of_other_data_is_refused():
    with pytest.raises(DataError, match=r"it begins with other/x\.jpg, the data with a/0\.jpg"):
        splits.reuse_split([item for item, _ in photos(2)], {"other/x.jpg": "val", "other/y.jpg": "train"})


def held_out(pictures: list[tuple[Item, str]]) -> list[Item]:
    return [dataclasses.replace(item, split="val") for item, _ in pictures]


def test_many_held_out_photos_are_halved_class_by_class_and_group_by_group():
    pictures = [*photos(500, label="a"), *photos(300, label="b"), *photos(2, label="rare")]
    items = [dataclasses.replace(item, group=item.source[:4]) for item in held_out(pictures[:800])]
    items = [*items, *held_out(pictures[800:]), Item("t.jpg", ("a",), "train")]
    contents = [*(content for _, content in pictures), "other"]
    halved = halve(items, contents, seed=0)
    for label, total in (("a", 500), ("b", 300), ("rare", 2)):
        scored = sum(item.split == "test" for item in halved if item.label == label)
        assert 0.35 < scored / total < 0.65
    parts: dict[str, set[str | None]] = {}
    for item in halved[:800]:
        parts.setdefault(str(item.group), set()).add(item.split)
    assert all(len(part) == 1 for part in parts.values())
    assert halved[-1].split == "train"
    assert halve(items, contents, seed=1) != halved


def test_which_half_a_photo_is_in_is_decided_by_its_content_and_not_by_whether_it_is_held_out():
    pictures = photos(3000)
    divided = hold_out([item for item, _ in pictures], [content for _, content in pictures], share=0.3, seed=0)
    halved = halve(divided, [content for _, content in pictures], seed=0)
    scored, select = (sum(item.split == part for item in halved) for part in ("test", "val"))
    assert abs(scored - select) < 4 * (scored + select) ** 0.5
    shuffled = list(zip(divided, [content for _, content in pictures], strict=True))
    random.Random(0).shuffle(shuffled)
    again = halve([item for item, _ in shuffled], [content for _, content in shuffled], seed=0)
    assert sorted(again, key=lambda item: item.source) == sorted(halved, key=lambda item: item.source)


def test_few_held_out_photos_and_data_with_a_test_part_are_not_halved():
    pictures = photos(ENOUGH_TO_HALVE)
    contents = [content for _, content in pictures]
    few = held_out(pictures[:-1])
    assert halve(few, contents[:-1], seed=0) == tuple(few)
    given = [*held_out(pictures), Item("t.jpg", ("a",), "test")]
    assert halve(given, [*contents, "t"], seed=0) == tuple(given)
    assert {item.split for item in halve(held_out(pictures), contents, seed=0)} == {"val", "test"}
