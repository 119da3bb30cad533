import json

import pytest

from resnetkit.errors import DataError, UsageError
from resnetkit.models.spec import ResNetSpec


def test_a_spec_survives_json() -> None:
    spec = ResNetSpec(block="bottleneck", blocks=(1, 2, 3), widening=2, stem="cifar", stride="v1", in_channels=1)
    assert ResNetSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_field_of_a_newer_version_is_refused() -> None:
    with pytest.raises(DataError, match=r"\['groups'\].*newer version"):
        ResNetSpec.from_json(ResNetSpec().to_json() | {"groups": 32})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"block": "basc"}, "basic, bottleneck"),
        ({"stem": "7x7"}, "imagenet, cifar"),
        ({"shortcut": "C"}, "B, A, none"),
        ({"stride": "v2"}, "v1.5, v1"),
        ({"width": 0}, "width must be"),
        ({"num_classes": 2.0}, "num_classes must be"),
        ({"in_channels": True}, "in_channels must be"),
        ({"blocks": ()}, "1 to 4 stages"),
        ({"blocks": (1, 1, 1, 1, 1)}, "1 to 4 stages"),
        ({"blocks": (2, 0)}, "blocks must be"),
        ({"widening": 2}, "widening is for bottleneck"),
        ({"block": "bottleneck", "shortcut": "A"}, "shortcut A needs basic blocks"),
        ({"num_clases": 3}, "did you mean 'num_classes'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ResNetSpec().changed(**changes)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("num_stages", [1, 2, 3, 4])
def test_strides_and_channels_double_from_stage_to_stage(stem: str, num_stages: int) -> None:
    spec = ResNetSpec(block="bottleneck", blocks=(1,) * num_stages, width=8, stem=stem)  # type: ignore[arg-type]
    info = spec.feature_info
    first = 4 if stem == "imagenet" else 1
    assert [stage.name for stage in info] == ["stem", *(f"layer{i + 1}" for i in range(num_stages))]
    assert [stage.stride for stage in info] == [2 if first == 4 else 1, *(first * 2**i for i in range(num_stages))]
    assert [stage.channels for stage in info] == [8, *(32 * 2**i for i in range(num_stages))]
