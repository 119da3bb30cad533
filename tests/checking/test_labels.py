"""Labels that are wrong are found by what a network makes of the pictures, and the search says how far it goes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.errors import UsageError
from resnetkit.training.steps.linear import FOLDS, out_of_fold

WRONG = 10


@pytest.fixture(scope="module")
def mislabelled(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Digits of three classes from a part that no run here learns from, ten of them in another class's folder."""
    root, wrong = tmp_path_factory.mktemp("data") / "mislabelled", set()
    names = sorted(folder.name for folder in (digits / "test").iterdir())[:3]
    for label, other in zip(names, names[1:] + names[:1], strict=True):
        for number, path in enumerate(sorted((digits / "test" / label).iterdir())):
            is_wrong = number < WRONG // 3 + (label == names[0])
            place = root / (other if is_wrong else label)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / f"{label}-{path.name}")
            if is_wrong:
                wrong.add(f"{label}-{path.name}")
    Image.new("L", (400, 1), 99).save(root / names[0] / "strip.png")  # too long and thin to crop, and no reason to stop
    assert len(wrong) == WRONG
    return root, wrong


@pytest.fixture(scope="module")
def found(mislabelled: tuple[Path, set[str]], finished: rk.Run) -> rk.Check:
    return rk.check(mislabelled[0], weights=finished.path, threads=1)


def test_wrong_labels_are_found_and_ranked(found: rk.Check, mislabelled: tuple[Path, set[str]]) -> None:
    listed = [Path(finding.sources[0]).name for finding in found.of_kind("label")]
    assert len(mislabelled[1].intersection(listed[:WRONG])) >= 8
    assert len(listed) <= 2 * WRONG
    scores = [finding.score for finding in found.of_kind("label")]
    assert scores == sorted(scores, key=float)


def test_a_finding_names_what_the_picture_looks_like(found: rk.Check) -> None:
    first = found.of_kind("label")[0]
    own = Path(first.sources[0]).name.split("-")[0]
    assert first.why.startswith(f"looks like {own} (")
    assert f"not {first.labels[0]} (" in first.why


def test_the_search_says_what_it_was_made_with(found: rk.Check, finished: rk.Run) -> None:
    said = [note for note in found.notes if note.startswith("wrong labels: looked for with")]
    assert len(said) == 1
    assert finished.name in said[0]
    assert "was trained on" not in "".join(found.notes)


def test_what_twice_as_many_would_bring_is_told_too(found: rk.Check) -> None:
    assert found.forecast is not None
    assert found.to_json()["forecast"]["now"]["value"] > 0.6
    assert found.forecast.count == len(found.items)


def test_suspected_labels_stay_in_the_clean_list(found: rk.Check) -> None:
    assert not {source for finding in found.of_kind("label") for source in finding.sources} & set(found.left_out)


def test_pictures_that_the_network_was_trained_on_are_counted(digits: Path, finished: rk.Run) -> None:
    checked = rk.check(digits / "train", weights=finished.path, limit=60, threads=1)
    assert any("was trained on" in note for note in checked.notes)


def test_small_classes_are_counted_and_not_searched(digits: Path, finished: rk.Run, tmp_path: Path) -> None:
    names = sorted(folder.name for folder in (digits / "test").iterdir())
    for label, count in zip(names, (12, 12, FOLDS - 1), strict=False):
        (tmp_path / label).mkdir()
        for path in sorted((digits / "test" / label).iterdir())[:count]:
            shutil.copy(path, tmp_path / label)
    checked = rk.check(tmp_path, weights=finished.path, threads=1)
    few = f"not looked for: wrong labels of {FOLDS - 1} images, whose classes have fewer than 5 groups or single images"
    assert few in checked.notes
    (tmp_path / names[1]).rename(tmp_path.parent / "away")
    alone = rk.check(tmp_path, weights=finished.path, threads=1)
    assert not alone.of_kind("label")
    assert alone.forecast is None
    assert "how many more pictures: cannot tell from fewer than two classes of 5 groups or single images" in alone.notes


@pytest.mark.slow
def test_small_pictures_are_held_against_the_bundled_network(mislabelled: tuple[Path, set[str]]) -> None:
    checked = rk.check(mislabelled[0], threads=1)
    listed = [Path(finding.sources[0]).name for finding in checked.of_kind("label")]
    assert len(mislabelled[1].intersection(listed[:WRONG])) >= 6
    assert any("resnet20.cifar10" in note for note in checked.notes)


def test_photos_are_held_against_the_trunk_of_the_package(digits: Path, tmp_path: Path) -> None:
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for path in sorted((digits / "test" / label).iterdir())[:FOLDS]:
            with Image.open(path) as picture:
                picture.resize((96, 96)).save(tmp_path / label / path.name)
    checked = rk.check(tmp_path, threads=1)
    assert any("a linear head on resnet_2223.imagenet1k;" in note for note in checked.notes)


def test_weights_that_are_not_there_stop_before_a_picture_is_read(mislabelled: tuple[Path, set[str]]) -> None:
    with pytest.raises(UsageError, match="no weights are called"):
        rk.check(mislabelled[0], weights="resnet18.nobody", threads=1)


def test_no_picture_is_judged_by_a_head_that_was_fitted_to_it() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(200, 300)).astype(np.float32), np.arange(200) % 2
    groups = [str(number) for number in range(200)]
    right = (out_of_fold(features, targets, groups=groups, penalty=0.1).argmax(axis=1) == targets).mean()
    assert right < 0.65  # a head fitted to them would have all right


def test_groups_are_judged_together() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(100, 300)).astype(np.float32), np.arange(100) % 2
    twins = np.concatenate([features, features])
    both = np.concatenate([targets, targets])
    apart = out_of_fold(twins, both, groups=[str(number) for number in range(200)], penalty=0.1)
    together = out_of_fold(twins, both, groups=[str(number % 100) for number in range(200)], penalty=0.1)
    assert (apart.argmax(axis=1) == both).mean() > 0.9
    assert (together.argmax(axis=1) == both).mean() < 0.7
