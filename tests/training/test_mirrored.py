from collections.abc import Callable
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnetkit.api.training import plan
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.planning.mirrored import (
    MirrorPair,
    _chance,
    cross_fitted,
    mirror_pairs,
    named_mirrors,
    seen_mirrors,
    words_of,
)
from resnetkit.training.planning.plan import decide, unmirrored
from resnetkit.training.request import Request
from resnetkit.training.state import network_tensors

SPEC = ResNetSpec(blocks=(1, 1), width=8, stem="cifar", num_classes=3)
SIGNS = ("from the left", "from the right", "both ways")


def sign(kind: int, generator: np.random.Generator) -> np.ndarray:
    """A wedge that opens to one side (0, 1), or a bar that is its own mirror image (2); 16 x 16 x 3 uint8."""
    picture = generator.integers(0, 90, (16, 16, 3))
    for row in range(3, 13):
        reach = abs(row - 8) + 1
        columns = (slice(2, 2 + 2 * reach), slice(14 - 2 * reach, 14), slice(7, 9))[kind]
        picture[row, columns] += 150
    return picture.astype(np.uint8)


def signs(kinds: tuple[int, ...], *, each: int = 12, seed: int = 0, groups: int | None = None) -> Part:
    """Pictures of these kinds, one class each; with `groups` of all, as frames of so many films are."""
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(len(kinds)), each)
    pixels = np.stack([sign(kinds[target], generator) for target in targets])
    names = [None if groups is None else f"film {i % groups}" for i in range(len(targets))]
    items = tuple(
        Item(f"{i}.png", (str(t),), "train", group=g) for i, (t, g) in enumerate(zip(targets, names, strict=True))
    )
    return Part(items=items, targets=targets, pixels=Pixels(pixels))


def seen(part: Part, classes: tuple[str, ...]) -> list[MirrorPair]:
    torch.manual_seed(0)
    size = Preprocess.for_size(16)
    return seen_mirrors(ResNet(SPEC), part, classes, preprocess=size, runtime=Runtime(threads=1))


def test_names_that_swap_left_and_right_are_mirrors_in_many_languages() -> None:
    pairs = [
        ("Turn Left", "turn right"), ("keepleft", "keepright"), ("left, then right", "right, then left"),
        ("Linkskurve", "Rechtskurve"), ("à gauche", "à droite"), ("pied gauche", "pied droit"),
        ("curva_izquierda", "curva_derecha"), ("поворот налево", "поворот направо"), ("左转", "右转"),
        ("svängt vänster", "svängt höger"),
    ]  # fmt: skip
    for pair in pairs:
        assert named_mirrors(("stop", *pair)) == [MirrorPair(first=pair[0], second=pair[1])], pair
    assert named_mirrors(("left over", "bright", "right", "wrong", "stop", "left and right")) == []


def test_mirrored_signs_are_found_and_those_that_are_their_own_mirror_image_are_not() -> None:
    (found,) = seen(signs((0, 1, 2)), SIGNS)
    assert (found.first, found.second) == ("from the left", "from the right")
    assert found.found >= 20
    assert found.looked == 24
    assert seen(signs((0, 2)), SIGNS[::2]) == []  # a sign with a side, and none that is its mirror image


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_of_the_same_pictures_are_no_mirrors(seed: int) -> None:
    assert seen(signs((0, 0, 2), seed=seed), SIGNS) == []
    assert seen(signs((2, 2), seed=seed), SIGNS[:2]) == []


def test_pictures_of_one_film_count_once() -> None:
    assert seen(signs((0, 1, 2), groups=7), SIGNS) == []


def counted(
    *, mirrored: dict[tuple[int, int], int], plain: dict[tuple[int, int], int], each: int, classes: int
) -> list:
    """Return the pairs where so many of `each` pictures of a class are taken for another, the rest for their own."""
    tables = []
    for wrong in (plain, mirrored):
        table = np.eye(classes, dtype=int) * each
        for (own, other), number in wrong.items():
            table[own, other], table[own, own] = number, table[own, own] - number
        tables.append(table)
    return mirror_pairs(*tables)


def test_what_is_confused_anyway_or_one_way_alone_is_no_mirror() -> None:
    both = {(0, 1): 9, (1, 0): 10}
    assert counted(mirrored=both, plain={}, each=10, classes=40) == [(0, 1)]
    assert counted(mirrored=both, plain={(0, 1): 8, (1, 0): 8}, each=10, classes=40) == []
    assert counted(mirrored={(0, 1): 10}, plain={}, each=10, classes=40) == []
    assert counted(mirrored={(0, 1): 10, (1, 0): 4}, plain={}, each=10, classes=40) == []


def test_few_pictures_must_say_more_the_more_pairs_there_are() -> None:
    both = {(0, 1): 4, (1, 0): 4}
    assert counted(mirrored=both, plain={}, each=4, classes=2) == [(0, 1)]
    assert counted(mirrored=both, plain={}, each=4, classes=40) == []


def test_the_chance_of_a_false_pair_is_that_of_fishers_exact_test() -> None:
    plain, mirrored = np.array([[9, 3], [0, 5]]), np.array([[2, 10], [0, 5]])
    # 13 of 24 pictures are taken for the other class; chance makes 10 or more of them mirrored ones.
    exact = sum(comb(13, k) * comb(11, 12 - k) for k in (10, 11, 12)) / comb(24, 12)
    assert _chance(plain, mirrored, plain.sum(1), 0, 1) == pytest.approx(exact)


def test_a_picture_is_judged_by_a_head_that_has_not_seen_it() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(60, 500))  # a head that has seen these would name each of them right
    plain, _ = cross_fitted(noise, noise, np.arange(60) % 2, num_classes=2)
    assert plain.trace() < 45


def request(*settings: str) -> Request:
    return Request(data=("signs",), model="resnet8", settings=settings)


def test_the_plan_without_mirrors_says_so_and_how_to_have_them() -> None:
    asked = request("augment.flip=alternating", "tta=flip")
    before = decide(asked, origin=None, median_side=32, num_classes=2, num_pictures=100)
    told = request()
    after = unmirrored(decide(told, origin=None, median_side=32, num_classes=2, num_pictures=100), told, "they are")
    assert after.recipe.augment.flip == "none"
    assert after.reasons[-1] == "mirroring off: they are; --set augment.flip=random to mirror all the same"
    assert not any("mirrored" in reason for reason in after.reasons)
    assert unmirrored(before, asked, "so").recipe.tta == "flip"
    assert unmirrored(before, request(), "so").recipe.tta == "none"


def test_pairs_are_told_in_a_line() -> None:
    pairs = [MirrorPair(first=f"{n}", second=f"{n + 1}", found=9, looked=10) for n in range(0, 8, 2)]
    assert words_of(pairs[:1]) == "`0` and `1` are each other's mirror image (found in 9 of 10 pictures)"
    assert words_of(pairs).startswith("`0` and `1`, `2` and `3`, `4` and `5` and 1 more pairs are each other's")
    assert words_of([MirrorPair(first="a", second="b")]).endswith("(by their names)")


@pytest.fixture(scope="module")
def make_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(*names: str) -> Path:
        folder, generator = tmp_path_factory.mktemp("signs"), np.random.default_rng(0)
        for kind, name in enumerate(names):
            (folder / name).mkdir()
            for number in range(15):
                Image.fromarray(sign(kind, generator)).save(folder / name / f"{number}.png")
        return folder

    return make


def test_what_train_decides_is_in_the_plan_unless_a_setting_says_otherwise(
    make_data: Callable[..., Path], tmp_path: Path
) -> None:
    options = {"model": "resnet8", "threads": 1}
    named = make_data("left", "right")
    decided, _ = plan(named, **options)
    assert decided.recipe.augment.flip == "none"
    assert "`left` and `right` are each other's mirror image (by their names)" in "\n".join(decided.reasons)
    assert plan(named, **options, settings=("augment.flip=random",))[0].recipe.augment.flip == "random"

    numbered = make_data("7", "8", "9")
    assert plan(numbered, **options)[0].recipe.augment.flip == "random"  # random weights see nothing
    weights = {"weights": str(tmp_path / "w.safetensors"), "threads": 1}
    header = Header(spec=SPEC, classes=("x", "y", "z"), preprocess=Preprocess.for_size(16))
    checkpoint.save(tmp_path / "w.safetensors", network_tensors(ResNet(SPEC)), header)
    decided, _ = plan(numbered, **weights)
    assert decided.recipe.augment.flip == "none"
    assert "`7` and `8` are each other's mirror image (found in " in "\n".join(decided.reasons)
    assert plan(numbered, **weights, settings=("augment.flip=random",))[0].recipe.augment.flip == "random"
