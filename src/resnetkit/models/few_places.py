"""3x3 convolutions with many filters over few places, as matrix products.

Where pictures of 64 to 128 pixels reach the last stage of a ResNet-18, oneDNN spends most of a training step in its six
convolutions: it has 512 filters and 4 to 16 places a picture. Written as one product of patches and filters, forwards
and backwards, they take a third to three quarters of that on processors with AVX2 (`benchmarks/few_places.py`). On
others, in bf16 and on a GPU, nothing was gained or measured, and nothing changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MANY_FILTERS = 512
_FEW_PLACES = 16
_SIDE = 3  # of the filters
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
    height, width = _places(pictures.shape[2:], stride)
    return (
        torch.is_grad_enabled()
        and height * width <= _FEW_PLACES
        and pictures.device.type == "cpu"
        and pictures.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and weight.is_contiguous(memory_format=torch.channels_last)
        and torch.backends.cpu.get_cpu_capability() == _PAYS
    )


def _places(size: tuple[int, ...], stride: int) -> tuple[int, int]:
    height, width = ((side - 1) // stride + 1 for side in size)
    return height, width


class _Products(torch.autograd.Function):
    """Patches `[N * places, 9 C]` times filters `[9 C, O]`, both as channels-last memory has them."""

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, weight: Tensor, stride: int) -> Tensor:
        count, channels, *size = pictures.shape
        height, width = _places(tuple(size), stride)
        padded = F.pad(pictures.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
        picture, row, column, channel = padded.stride()
        patches = padded.as_strided(
            (count, height, width, _SIDE, _SIDE, channels),
            (picture, row * stride, column * stride, row, column, channel),
        ).reshape(count * height * width, _SIDE * _SIDE * channels)
        ctx.save_for_backward(patches, weight)
        ctx.size, ctx.stride = pictures.shape, stride
        found = patches @ _as_matrix(weight).t()
        return found.view(count, height, width, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        patches, weight = ctx.saved_tensors
        count, channels, height, width = ctx.size
        down, across = _places((height, width), ctx.stride)
        rows = gradients[0].permute(0, 2, 3, 1).reshape(len(patches), len(weight))
        of_weight = of_pictures = None
        if ctx.needs_input_grad[1]:
            of_weight = (rows.t() @ patches).view(len(weight), _SIDE, _SIDE, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[0]:
            of_patches = (rows @ _as_matrix(weight)).view(count, down, across, _SIDE, _SIDE, channels)
            padded = rows.new_zeros(count, height + 2, width + 2, channels)
            steps = [
                slice(at, at + ctx.stride * (n - 1) + 1, ctx.stride) for n in (down, across) for at in range(_SIDE)
            ]
            for y in range(_SIDE):
                for x in range(_SIDE):
                    padded[:, steps[y], steps[_SIDE + x]] += of_patches[:, :, :, y, x]
            of_pictures = padded[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
        return of_pictures, of_weight, None


def _as_matrix(weight: Tensor) -> Tensor:
    """Return filters `[O, C, 3, 3]` as `[O, 9 C]`, without a copy."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
