"""Files of tensors that are written one after the other: the library reads what was meant."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from resnetkit.models import safetensors_file
from resnetkit.models.safetensors_file import read_safetensors_header, write_safetensors


def test_the_library_reads_tensors_of_every_type_and_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    filters = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    tensors = {name: (100 * torch.rand(3, 5)).to(getattr(torch, name)) for name in safetensors_file._NAMES}
    tensors |= {
        "filters": filters, "turned": filters[0, :, :, 0].t(), "a number": torch.tensor(3), "none": torch.zeros(0, 4),
        "learnt": filters.clone().requires_grad_(), "again": filters, "ünïcode": torch.arange(3),
    }  # fmt: skip
    path = tmp_path / "some.safetensors"
    write_safetensors(path, tensors, {"key": 'wörds "quoted"'})
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(read[name], tensor), name
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"key": 'wörds "quoted"'}
    starts = [entry["data_offsets"][0] for entry in read_safetensors_header(path).values() if "dtype" in entry]
    assert len(starts) == len(tensors)
    before = path.read_bytes()
    write_safetensors(path, dict(reversed(tensors.items())), {"key": 'wörds "quoted"'})
    assert path.read_bytes() == before, "whatever the order of the tensors"


def test_what_the_disk_refuses_is_an_error_of_the_disk() -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(OSError, match="No space left"):
        write_safetensors(full, {"a": torch.zeros(10_000)}, {})
