"""Whether `torch.compile` repays its compile time within a run: from a table and from sizes, never from a timing."""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

from resnetkit.errors import UsageError
from resnetkit.models.spec import ResNetSpec
from resnetkit.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

# Pictures of 32 x 32 pixels after which compiling has repaid itself three times, on a CPU: ResNet-20 trains at 1,510
# images/s instead of 1,245 (benchmarks/step_throughput.py) and compiles for 20 to 40 s. Narrow layers spend their time
# between the convolutions, which compiling joins into one pass. In wide ones convolutions decide, and compiling makes
# pooled blocks of 64 to 256 channels 8 % slower (LOG.md).
_NARROW = 64  # channels of the widest stage
_REPAID_AFTER = 1_000_000


def repays(recipe: Recipe, spec: ResNetSpec, *, pixels: int, num_images: int, device: str) -> bool:
    """Tell whether a run on `num_images` of so many `pixels` is to be compiled; `recipe.compile` can say so."""
    if recipe.compile != "auto" or recipe.train != "all":
        return recipe.compile == "on" and recipe.train != "head"
    narrow = spec.block == "basic" and max(spec.stage_widths) <= _NARROW and recipe.micro_batch is None
    seen = num_images * recipe.epochs * (pixels / 32**2)
    return device == "cpu" and narrow and seen >= _REPAID_AFTER and _has_compiler()


def check_compiler(device: str) -> None:
    """Raise `UsageError` where a compiled step is asked for and there is no C++ compiler for it."""
    if device == "cpu" and not _has_compiler():
        raise UsageError("a compiled training step needs a C++ compiler: install g++, or train with --set compile=off")


def _has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def compiled(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network's forward pass, compiled once for each shape of batch.

    Not `dynamic`: what is compiled for a shape must not depend on the shapes before it, or a run that is resumed in
    the middle of an epoch would end with other bits.
    """
    import torch

    # It warns of a CUDA toolkit without a GPU, which is nothing to a person who trains on a CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return torch.compile(network, dynamic=False)
