"""How much memory a training step needs, estimated before it is started."""

from __future__ import annotations

from resnetkit import runtime as machine
from resnetkit.errors import ResourceError
from resnetkit.models.layers import activation_elements, layer_table
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.recipe import Recipe

# Kept for the backward pass per element a layer puts out, gradients and workspace included: peak memory of one step
# over that count, measured for ResNet-18 and 50 at 64 and 224 pixels, is 1.2 to 1.9 in fp32 and bf16.
_COPIES = 2.0


def check_memory(spec: ResNetSpec, recipe: Recipe, *, size: int, runtime: Runtime) -> None:
    """Raise `ResourceError`, naming the flag to change, where one step of training cannot fit the main memory."""
    free = machine.available_memory()
    if runtime.device != "cpu" or free is None:
        return
    chunk = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size)
    per_image = activation_elements(layer_table(spec, size)) * (2 if runtime.dtype == "bf16" else 4) * _COPIES
    if per_image * chunk <= free:
        return
    fits = int(free / per_image)
    way = f"--set micro_batch={fits} keeps the batch" if fits else "use a smaller --image-size"
    raise ResourceError(
        f"a batch of {chunk} pictures of {size} pixels needs about {per_image * chunk / 2**30:.1f} GiB of memory "
        f"and {free / 2**30:.1f} GiB are free: {way}, or use a smaller --batch-size"
    )
