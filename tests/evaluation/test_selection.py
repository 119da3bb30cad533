"""The figure of an epoch that was chosen by the pictures that score it is corrected, and its interval holds it."""

import time

import numpy as np
import pytest
from scipy import special

from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.selection import after_choosing
from resnetkit.evaluation.uncertainty import accuracy_interval


def run(random: np.random.Generator, epochs: int, count: int, share: float, alike: float) -> tuple[np.ndarray, int]:
    """Return the answers `[E, N]` of epochs that are equally good, `alike` in what they get right, and the best."""
    of_picture, of_epoch = random.normal(size=count), random.normal(size=(epochs, count))
    latent = np.sqrt(alike) * of_picture + np.sqrt(1 - alike) * of_epoch
    right = latent < special.ndtri(share)
    return right, int(np.argmax(right.sum(axis=1) + random.random(epochs) / 2))


def in_groups(count: int) -> list[str]:
    return [str(i // 5) for i in range(count)]


def test_the_best_of_forty_epochs_on_noise_is_at_chance() -> None:
    random, held, seen, corrected = np.random.default_rng(0), 0, [], []
    for _ in range(200):
        right, chosen = run(random, 40, 30, 1 / 3, 0.3)
        found = after_choosing(right, chosen)
        held += found.interval.low <= 1 / 3 <= found.interval.high
        seen.append(right[chosen].mean())
        corrected.append(found.top1)
    assert held >= 0.95 * 200
    assert np.mean(seen) > 0.48
    assert np.mean(corrected) == pytest.approx(1 / 3, abs=0.015)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize(
    ("epochs", "count", "share"), [(10, 15, 0.99), (100, 15, 0.7), (10, 100, 0.9), (100, 100, 0.7)]
)
def test_intervals_hold_the_epoch_that_ships(
    epochs: int, count: int, share: float, alike: float, *, grouped: bool
) -> None:
    random, held, widths, plain = np.random.default_rng(1), 0, [], []
    groups = in_groups(count) if grouped else None
    for _ in range(150):
        right, chosen = run(random, epochs, count // 5 if grouped else count, share, alike)
        right = right.repeat(5, axis=1)[:, :count] if grouped else right  # pictures of a group are copies
        found = after_choosing(right, chosen, groups)
        held += found.interval.low <= share <= found.interval.high
        widths.append(found.interval.high - found.interval.low)
        plain.append(np.diff(clopper_pearson(found.top1 * count, count)))
    assert held >= 0.93 * 150
    assert grouped or np.median(widths) <= 1.3 * np.median(plain)


def test_an_epoch_that_is_truly_better_than_the_others_is_not_held_for_lucky() -> None:
    random, held = np.random.default_rng(2), 0
    for _ in range(150):
        truths = special.ndtr(special.ndtri(0.8) + 0.3 * random.normal(size=20))
        right = random.random((20, 200)) < truths[:, None]
        chosen = int(right.sum(axis=1).argmax())
        found = after_choosing(right, chosen)
        held += found.interval.low <= truths[chosen] <= found.interval.high
    assert held >= 0.93 * 150  # Wilson's around the corrected share: about 0.85


@pytest.mark.parametrize("shape", [(1, 40), (7, 1), (1, 1)])
def test_where_nothing_was_chosen_or_left_out_it_is_the_plain_interval(shape: tuple[int, int]) -> None:
    right = np.random.default_rng(0).random(shape) < 0.7
    found = after_choosing(right, 0)
    assert found.top1 == right[0].mean()
    assert found.interval == accuracy_interval(right[0])
    alone = after_choosing(right, 0, ["a"] * shape[1])
    assert alone.interval == accuracy_interval(right[0], ["a"] * shape[1])


def test_epochs_that_answer_alike_were_not_chosen_among() -> None:
    right = np.tile(np.arange(60) % 4 != 0, (30, 1))
    found = after_choosing(right, 12)
    assert found.top1 == 0.75
    assert found.interval == accuracy_interval(right[0])


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("count", [2, 3, 30])
def test_all_right_and_none_right_are_no_certainty(value: bool, count: int) -> None:
    found = after_choosing(np.full((20, count), value), 3)
    assert found.top1 == float(value)
    assert found.interval == accuracy_interval(np.full(count, value))


def test_the_figure_lies_in_its_interval_below_what_was_seen_and_is_the_same_every_time() -> None:
    random = np.random.default_rng(3)
    for count in (2, 5, 15, 60):
        for share in (0.05, 0.5, 0.97):
            right, chosen = run(random, 25, count, share, 0.5)
            for groups in (None, in_groups(count), [None, *in_groups(count)[1:]]):
                found = after_choosing(right, chosen, groups)
                assert 0 <= found.interval.low <= found.top1 <= found.interval.high <= 1
                assert found.top1 <= right[chosen].mean()
                assert after_choosing(right, chosen, groups) == found


def test_more_epochs_to_choose_from_take_more_off_and_groups_widen() -> None:
    random = np.random.default_rng(4)
    right = random.random((100, 100)) < 0.7
    right = right[np.argsort(-right.sum(axis=1))]  # the best first
    few, many = after_choosing(right[[0, 50, 60]], 0), after_choosing(right, 0)
    assert right[0].mean() - many.top1 > right[0].mean() - few.top1
    copies = right.repeat(3, axis=1)
    names = [str(i // 3) for i in range(300)]
    blind, told = after_choosing(copies, 0).interval, after_choosing(copies, 0, names).interval
    assert told.high - told.low > 1.4 * (blind.high - blind.low)


def test_a_hundred_epochs_of_four_hundred_pictures_take_no_time() -> None:
    right = np.random.default_rng(5).random((100, 400)) < 0.9
    begin = time.process_time()
    after_choosing(right, int(right.sum(axis=1).argmax()))
    assert time.process_time() - begin < 1
