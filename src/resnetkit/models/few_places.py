"""3x3 convolutions with many filters over few places, as matrix products.

Where pictures of 64 to 224 pixels reach the last stages of a ResNet-18, oneDNN spends most of a training step in a few
convolutions: they have 256 or 512 filters and 4 to 49 places a picture. Written as a product for each of the nine
places of a filter, of what it sees of the picture, forwards and backwards, they take a quarter to four fifths of that
on processors with AVX2 (`benchmarks/few_places.py`): most of what a filter of 3x3 sees of 2x2 places is padding. On
others, in bf16 and on a GPU, nothing was gained or measured, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MANY_FILTERS, _VERY_MANY = 256, 512
_FEW_PLACES, _FEW_OF_VERY_MANY = 16, 49
_SIDE, _MIDDLE = 3, 1  # of the filters
_PAYS = "AVX2"


class FewPlacesConv2d(nn.Conv2d):
    """A convolution with filters of 3x3 and padding 1, computed as products where that is quicker."""

    def forward(self, input: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to `[N, filters, ceil(H / stride), ceil(W / stride)]`."""
        if not _pays(input, self.weight, self.stride[0]):
            return super().forward(input)
        found: Tensor = _Products.apply(input, self.weight, self.stride[0])
        return found


def _pays(pictures: Tensor, weight: Tensor, stride: int) -> bool:
    """Tell whether products are quicker, by what was measured."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False  # for pictures of other sizes too
    if pictures.dim() != 4 or pictures.shape[1] != weight.shape[1] or not pictures.shape[2:].numel():
        return False  # what is wrong with them is said there
    height, width = _places(pictures.shape[2:], stride)
    return (
        height * width <= (_FEW_OF_VERY_MANY if len(weight) >= _VERY_MANY else _FEW_PLACES)
        and pictures.device.type == "cpu"
        and pictures.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and weight.is_contiguous(memory_format=torch.channels_last)
        and torch.backends.cpu.get_cpu_capability() == _PAYS
    )


def _places(size: tuple[int, ...], stride: int) -> tuple[int, int]:
    height, width = ((side - 1) // stride + 1 for side in size)
    return height, width


class _Products(torch.autograd.Function):
    """What each place of a filter sees `[N * places, C]`, times that place `[C, O]`, as channels-last memory has them.

    The middle of a filter sees a place for each one that is put out; the others lack those at an edge.
    """

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, weight: Tensor, stride: int) -> Tensor:
        seen, filters = pictures.permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0)
        channels, count = filters.shape[2:]
        ctx.save_for_backward(seen, weight)
        ctx.stride = stride
        middle = seen[:, ::stride, ::stride]
        found = (middle.reshape(-1, channels) @ filters[_MIDDLE, _MIDDLE]).view(*middle.shape[:3], count)
        for row, column, at, to in _edges(seen.shape[1:3], stride):
            part = seen[at]
            found[to] += (part.reshape(-1, channels) @ filters[row, column]).view(*part.shape[:3], count)
        return found.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        seen, weight = ctx.saved_tensors
        given, filters, stride = gradients[0].permute(0, 2, 3, 1), weight.permute(2, 3, 0, 1), ctx.stride
        count, channels = filters.shape[2:]
        of_weight = weight.new_zeros(count, _SIDE, _SIDE, channels) if ctx.needs_input_grad[1] else None
        of_seen = torch.zeros_like(seen) if ctx.needs_input_grad[0] else None
        middle = (slice(None), slice(None, None, stride), slice(None, None, stride))
        everywhere = (slice(None), slice(None), slice(None))
        for row, column, at, to in ((_MIDDLE, _MIDDLE, middle, everywhere), *_edges(seen.shape[1:3], stride)):
            part, wanted = seen[at], given[to].reshape(-1, count)
            if of_weight is not None:
                torch.mm(wanted.t(), part.reshape(-1, channels), out=of_weight[:, row, column])
            if of_seen is not None:
                of_seen[at] += (wanted @ filters[row, column]).view(part.shape)
        turned = [None if one is None else one.permute(0, 3, 1, 2) for one in (of_seen, of_weight)]
        return turned[0], turned[1], None


_Where = tuple[slice, slice, slice]


def _edges(size: Sequence[int], stride: int) -> Iterator[tuple[int, int, _Where, _Where]]:
    """Yield row and column of each place of a filter but the middle, where it sees something, and where that goes."""
    for row, (at_y, to_y) in enumerate(_sights(size[0], stride)):
        for column, (at_x, to_x) in enumerate(_sights(size[1], stride)):
            if (row, column) != (_MIDDLE, _MIDDLE) and at_y.stop > at_y.start and at_x.stop > at_x.start:
                yield row, column, (slice(None), at_y, at_x), (slice(None), to_y, to_x)


def _sights(length: int, stride: int) -> list[tuple[slice, slice]]:
    """Return along one side, for each row of a filter, which rows of a picture it sees and where they go.

    >>> _sights(3, 1)
    [(slice(0, 2, 1), slice(1, 3, None)), (slice(0, 3, 1), slice(0, 3, None)), (slice(1, 3, 1), slice(0, 2, None))]
    """
    found = []
    for place in range(_SIDE):
        shift = place - _MIDDLE
        first = -(shift // stride) if shift < 0 else 0
        last = min(length - 1, length - 1 - shift) // stride
        found.append((slice(first * stride + shift, last * stride + shift + 1, stride), slice(first, last + 1)))
    return found
