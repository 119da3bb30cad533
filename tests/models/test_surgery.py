import pytest
import torch

from resnetkit.errors import UsageError
from resnetkit.models.catalog import build
from resnetkit.models.surgery import Headless, adapt_input, replace_head


def test_a_new_head_has_the_classes_asked_for_and_the_body_stays() -> None:
    network = build("resnet20").half()
    before = {key: value.clone() for key, value in network.state_dict().items() if not key.startswith("fc.")}
    replace_head(network, 3)
    assert network.fc.weight.shape == (3, 64)
    assert network.fc.weight.dtype == torch.float16
    assert network.spec.num_classes == 3
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
def test_a_grey_picture_gives_what_it_gave_as_equal_colours(name: str) -> None:
    network = build(name, width=8).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = network(grey.expand(-1, 3, -1, -1))
        adapt_input(network, 1)
        torch.testing.assert_close(network(grey), expected, rtol=1e-4, atol=1e-5)
    assert network.spec.in_channels == 1


def test_more_channels_of_one_picture_give_what_three_gave() -> None:
    network = build("resnet18", width=8).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = network(grey.expand(-1, 3, -1, -1))
        adapt_input(network, 6)
        torch.testing.assert_close(network(grey.expand(-1, 6, -1, -1)), expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    network = build("resnet20")
    for change, count in ((replace_head, -1), (adapt_input, 0)):
        with pytest.raises(UsageError):
            change(network, count)
    assert network.spec == build("resnet20").spec
    assert network.fc.out_features == 10


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "resnet50", "resnet8_fast"])
def test_without_its_head_a_network_gives_what_the_head_would_read(name: str) -> None:
    network = build(name, width=8).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = Headless(network)(images)
        replace_head(network, 0)
        assert torch.equal(network(images), expected)
    assert not [key for key in network.state_dict() if key.startswith("fc")]
    replace_head(network, 4)
    assert network(images).shape == (2, 4)


def test_a_whitening_stem_keeps_its_channels() -> None:
    with pytest.raises(UsageError, match="of 3 channels"):
        adapt_input(build("resnet8_fast", width=8), 1)
