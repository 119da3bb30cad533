import pytest

from resnetkit import runtime as machine
from resnetkit.errors import ResourceError
from resnetkit.models.catalog import spec_of
from resnetkit.runtime import Runtime
from resnetkit.training.planning.memory import check_memory
from resnetkit.training.recipe import Recipe

PHOTO = (224, 224)


def test_a_batch_that_cannot_fit_is_refused_with_the_flag_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 4 * 2**30)
    with pytest.raises(ResourceError, match=r"a batch of 512 pictures of 224 pixels .* --set micro_batch=\d+ .*") as e:
        check_memory(spec_of("resnet50"), Recipe(batch_size=512), frame=PHOTO, count=10**6, runtime=Runtime())
    fits = int(str(e.value).split("micro_batch=")[1].split()[0])
    assert 1 <= fits < 64
    check_memory(
        spec_of("resnet50"),
        Recipe(batch_size=512, micro_batch=fits),
        frame=PHOTO,
        count=10**6,
        runtime=Runtime(),
    )


def test_pictures_too_large_for_any_batch_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 2**30)
    with pytest.raises(ResourceError, match="--image-size"):
        check_memory(spec_of("resnet152"), Recipe(batch_size=1), frame=(1024, 1024), count=10**6, runtime=Runtime())


def test_what_is_frozen_keeps_nothing_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 4 * 2**30)
    for train in ("layer4", "head"):
        recipe = Recipe(batch_size=128, train=train)  # type: ignore[arg-type]
        check_memory(spec_of("resnet50"), recipe, frame=PHOTO, count=10**6, runtime=Runtime())
    with pytest.raises(ResourceError, match="a batch of 128 pictures"):
        check_memory(
            spec_of("resnet50"),
            Recipe(batch_size=128, train="layer2"),
            frame=PHOTO,
            count=10**6,
            runtime=Runtime(),
        )


def test_small_runs_and_unknown_memory_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    check_memory(spec_of("resnet20"), Recipe(batch_size=128), frame=(32, 32), count=10**6, runtime=Runtime())
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    check_memory(spec_of("resnet50"), Recipe(batch_size=10**6), frame=PHOTO, count=10**6, runtime=Runtime())


def test_a_batch_is_never_larger_than_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 4 * 2**30)
    check_memory(spec_of("resnet50"), Recipe(batch_size=4096), frame=PHOTO, count=10, runtime=Runtime())
