import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnetkit.models import catalog
from resnetkit.models.macs import num_macs
from resnetkit.models.resnet import ResNet
from tests.models.test_resnet import KINDS


@pytest.mark.parametrize("size", [32, 45])
@pytest.mark.parametrize("kind", KINDS)
def test_multiply_adds_are_those_that_pytorch_counts(kind: str, size: int) -> None:
    spec = KINDS[kind]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ResNet(spec).eval()(torch.empty(1, spec.in_channels, size, size))
    assert 2 * num_macs(spec, (size, size)) == counter.get_total_flops()


def test_they_are_those_that_are_published() -> None:
    for record in catalog.records():
        if record.giga_macs:
            frame = record.preprocess.frame
            assert num_macs(catalog.spec_of(record.arch), frame) / 1e9 == pytest.approx(record.giga_macs, abs=0.01), (
                record.name
            )
