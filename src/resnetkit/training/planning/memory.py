"""How much memory a training step needs, estimated before it is started."""

from __future__ import annotations

from resnetkit import runtime as machine
from resnetkit.errors import ResourceError
from resnetkit.models.layers import Layer, activation_elements, layer_table, num_parameters
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.recipe import Recipe

# Peak memory of a step, for ResNet-18, 50 and 20 at 32 to 224 pixels in fp32 and bf16, stays below these times the
# outputs of all layers and the bytes of each parameter with gradient, momentum and bf16 copy
# (benchmarks/step_memory.py).
_PER_OUTPUT = 1.8
_BYTES_PER_PARAMETER = 12


def check_memory(spec: ResNetSpec, recipe: Recipe, *, frame: tuple[int, int], count: int, runtime: Runtime) -> None:
    """Raise `ResourceError`, naming the flag to change, where a step on `count` pictures cannot fit the main memory."""
    free = machine.available_memory()
    if runtime.device != "cpu" or free is None:
        return
    chunk = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size, count)
    bytes_each = 2 if runtime.dtype == "bf16" else 4
    # A bound on the outputs of all layers that costs nothing: every layer as large as the largest.
    height, width = (-(-side // (2 if spec.stem == "imagenet" else 1)) for side in frame)
    most = 3 * spec.num_layers * spec.width * spec.expansion * height * width
    if most * bytes_each * _PER_OUTPUT * chunk < free / 4:
        return
    layers = layer_table(spec, frame)
    per_image = activation_elements(_learning(layers, recipe.train)) * bytes_each * _PER_OUTPUT
    fixed = num_parameters(layers) * _BYTES_PER_PARAMETER
    if fixed + per_image * chunk <= free:
        return
    fits = int((free - fixed) / per_image)
    way = f"--set micro_batch={fits} keeps the batch" if fits > 0 else "use a smaller --image-size"
    raise ResourceError(
        f"a batch of {chunk} pictures of {'x'.join(dict.fromkeys(map(str, frame)))} pixels needs about "
        f"{(fixed + per_image * chunk) / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free: {way}, or use a "
        "smaller --batch-size"
    )


def _learning(layers: tuple[Layer, ...], train: str) -> tuple[Layer, ...]:
    """Return the layers from which the backward pass needs anything; those of frozen stages keep nothing for it."""
    if train == "all":
        return layers
    first = "fc" if train == "head" else f"{train}."
    return layers[next(i for i, layer in enumerate(layers) if layer.name.startswith(first)) :]
