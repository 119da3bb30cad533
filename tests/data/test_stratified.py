import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.folds import Folds
from resnetkit.data.splits import halve, hold_out, into_folds
from resnetkit.data.stratified import stratified
from resnetkit.data.units import Unit
from resnetkit.errors import DataError, UsageError


def pictures(count: int, *, num_labels: int = 20, seed: int = 0) -> list[Item]:
    """Pictures of common and rare labels, some of which come together, and of none."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        own = {k for k in range(num_labels) if chance.random() < 0.5 / (k + 1) ** 1.2}
        own |= {0} if own & {3, 5, 8} else set()
        made.append(Item(f"{number}.jpg", tuple(f"l{k:02d}" for k in sorted(own))))
    return made


def contents(items: Sequence[Item]) -> list[str]:
    return [f"content {item.source}" for item in items]


def held_out(items: Sequence[Item], *, share: float = 0.2, seed: int = 0, several: bool = True, **more) -> list[bool]:
    divided = hold_out(items, contents(items), share=share, seed=seed, several=several, **more)
    assert [item.source for item in divided] == [item.source for item in items]
    return [item.split == "val" for item in divided]


def deviations(items: Sequence[Item], out: Sequence[bool], share: float) -> dict[str | None, float]:
    """Return for each label, and for all pictures, how many more or fewer than its share are held out."""
    total, own = Counter(), Counter()
    for item, is_out in zip(items, out, strict=True):
        total.update([*item.labels, None])
        own.update([*item.labels, None] if is_out else [])
    return {label: abs(own[label] - share * total[label]) for label in total}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_label_gives_its_share_but_for_one_picture(share, seed):
    items = pictures(300, seed=seed)
    assert min(Counter(label for item in items for label in item.labels).values()) < 10
    assert max(deviations(items, held_out(items, share=share, seed=seed), share).values()) <= 1


def test_hashes_alone_are_further_off():
    worst = {several: [] for several in (True, False)}
    for seed in range(10):
        items = pictures(300, seed=seed)
        for several, found in worst.items():
            found.append(max(deviations(items, held_out(items, seed=seed, several=several), 0.2).values()))
    assert 5 * max(worst[True]) < min(worst[False])


@pytest.mark.parametrize("seed", range(10))
def test_labels_of_two_pictures_or_more_are_on_both_sides_and_those_of_one_train(seed):
    items = pictures(60, num_labels=60, seed=seed)
    out = held_out(items, seed=seed)
    times = Counter(label for item in items for label in item.labels)
    sides = {
        label: {is_out for item, is_out in zip(items, out, strict=True) if label in item.labels} for label in times
    }
    # A picture trains for a label that it alone has: others of that picture can be missing from what is held out.
    bound = {item.source for item in items if any(times[label] == 1 for label in item.labels)}
    free = {label for item in items if item.source not in bound for label in item.labels}
    assert {1, 2} <= set(times.values())
    assert all(sides[label] == {False, True} for label in free if times[label] > 1)
    assert all(False in own for own in sides.values())
    assert not any(is_out for item, is_out in zip(items, out, strict=True) if item.source in bound)


def test_labels_that_cannot_all_be_on_both_sides_all_train():
    items = [Item("1", ("a", "c")), Item("2", ("a", "b")), Item("3", ("b", "c"))]
    for seed in range(20):
        out = held_out(items, share=0.5, seed=seed)
        assert {label for item, is_out in zip(items, out, strict=True) if not is_out for label in item.labels} == {
            *"abc"
        }
        assert any(out)


def test_a_label_that_came_to_one_side_has_a_unit_moved():
    # "b" and "c" are placed first, on two sides; "ad" would then have to be on both, and is on that of "bd".
    units = [
        Unit(members=[n], free=True, labels=Counter(own), height=(n + 0.5) / 3)
        for n, own in enumerate(["bd", "ad", "ac"])
    ]
    for order in permutations(units):
        sides = {unit.members[0]: side for unit, side in zip(order, stratified(order, [0.5, 0.5]), strict=True)}
        assert sides[1] != sides[0]
        assert sides[1] != sides[2]


def test_groups_copies_and_what_they_share_are_on_one_side():
    items = [
        Item(item.source, item.labels, group=f"g{number // 4}" if number < 160 else None)
        for number, item in enumerate(pictures(400))
    ]
    own = contents(items)
    alike = [(own[number], own[number + 1]) for number in range(200, 300, 2)]
    out = held_out(items, alike=alike)
    assert all(len(set(out[start : start + 4])) == 1 for start in range(0, 160, 4))
    assert all(out[number] == out[number + 1] for number in range(200, 300, 2))
    assert max(deviations(items, out, 0.2).values()) <= 4  # the pictures of a group
    assert 70 <= sum(out) <= 90


def test_the_seed_decides_and_the_order_does_not():
    items = pictures(200)
    out = dict(zip(items, held_out(items), strict=True))
    shuffled = random.Random(1).sample(items, len(items))
    assert dict(zip(shuffled, held_out(shuffled), strict=True)) == out
    assert held_out(items, seed=1) != list(out.values())


def test_what_trained_is_never_held_out_and_the_share_is_of_all():
    items = pictures(300)
    trained = {item.source for item in items[:150]}
    out = held_out(items, trained=trained)
    assert not any(out[:150])
    assert max(deviations(items, out, 0.2).values()) <= 1


def test_what_an_earlier_run_held_out_is_held_out_again():
    items = pictures(300)
    out = held_out(items)
    trained = {item.source for item, is_out in zip(items, out, strict=True) if not is_out}
    assert held_out(items, seed=5, trained=trained) == out


def test_pictures_without_labels_are_divided_by_number():
    items = [Item(f"{number}", (), None) for number in range(50)] + [Item("x", None)]
    assert sum(held_out(items)) == 10


def test_half_of_many_held_out_pictures_scores():
    items = [Item(item.source, item.labels, "val") for item in pictures(801)]
    out = [item.split == "test" for item in halve(items, contents(items), seed=0, several=True)]
    assert max(deviations(items, out, 0.5).values()) <= 1
    assert halve(items[:300], contents(items[:300]), seed=0, several=True) == tuple(items[:300])


def folds_of(items: Sequence[Item], *, count: int = 5, seed: int = 0, **more) -> list[int]:
    return into_folds(items, contents(items), count=count, seed=seed, several=True, **more)


@pytest.mark.parametrize("seed", range(10))
def test_every_picture_is_held_out_once_and_folds_are_alike_in_labels(seed):
    items = pictures(300, seed=seed)
    numbers = folds_of(items, seed=seed)
    assert set(numbers) == {1, 2, 3, 4, 5}
    for fold in range(1, 6):
        assert max(deviations(items, [number == fold for number in numbers], 0.2).values()) <= 1
    assert numbers == folds_of(items, seed=seed)
    assert numbers != folds_of(items, seed=seed + 1)


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("seed", range(10))
def test_no_fold_holds_out_all_of_a_label_that_has_more(count, seed):
    items = pictures(40, num_labels=60, seed=seed)
    numbers = folds_of(items, count=count, seed=seed)
    times = Counter(label for item in items for label in item.labels)
    for label, number in times.items():
        folds = {fold for item, fold in zip(items, numbers, strict=True) if label in item.labels}
        assert len(folds) > 1 or number == 1


def test_folds_keep_groups_and_what_trained_is_in_none():
    items = [
        Item(item.source, item.labels, group=f"g{n // 3}" if n < 90 else None) for n, item in enumerate(pictures(200))
    ]
    items[5] = Item("other part", ("l00",), "val")
    numbers = folds_of(items, trained={items[1].source, items[150].source})
    assert [index for index, number in enumerate(numbers) if number == 0] == [0, 1, 2, 5, 150]
    assert all(len(set(numbers[start : start + 3])) == 1 for start in range(6, 90, 3))


def test_fewer_pictures_than_folds_are_refused_and_so_are_known_ones():
    items = pictures(4)
    with pytest.raises(UsageError, match=r"there are 4 pictures to hold out .* use --folds 4, or add pictures"):
        folds_of(items)
    assert sorted(folds_of(items, count=4)) == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="know all of these pictures"):
        folds_of(items, trained={item.source for item in items})


def test_a_fold_without_a_label_is_fine_and_one_without_pictures_is_not():
    targets = np.array([[1, 0], [0, np.nan], [0, 0]], np.float32)
    pixels = Pixels(np.zeros((3, 8, 8, 3), np.uint8))
    Folds(count=3, numbers=np.array([1, 2, 3]), pixels=pixels).check(targets, ["a", "b"])
    with pytest.raises(DataError, match="fold 2 of 3 would hold out nothing"):
        Folds(count=3, numbers=np.array([1, 1, 3]), pixels=pixels).check(targets, ["a", "b"])
