"""A tiny training set-up that runs in milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnetkit.data.batches import Batches
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.tasks.classification.learning import learning
from resnetkit.training import state as states
from resnetkit.training.begun import Begun
from resnetkit.training.loop import Loop
from resnetkit.training.recipe import Optim, Recipe
from resnetkit.training.request import Request
from resnetkit.training.state import State
from resnetkit.training.steps.augmenter import build_augmenter, build_mixer
from resnetkit.training.steps.stored import stored
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Watcher

SPEC = ResNetSpec(blocks=(1, 1), width=8, stem="cifar", num_classes=3)
PREPROCESS = Preprocess.for_size(8)
RECIPE = Recipe(epochs=2, batch_size=8, optim=Optim(lr=0.05)).for_pictures(median_side=8, size=8)


BEGUN = Begun(
    request=Request(data=("pictures",)), cwd=".", spec=SPEC, preprocess=PREPROCESS, classes=("a", "b", "c"),
    recipe=RECIPE.to_json(), runtime=Runtime(), weights=None, fingerprint="",
)  # fmt: skip


def make_part(count: int, *, seed: int = 0) -> Part:
    """Pictures whose class is their brightest channel, so that they can be learnt."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 3, count)
    pixels = generator.integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, targets] += 120
    items = tuple(Item(f"{i:03d}.png", ("abc"[t],), "train") for i, t in enumerate(targets))
    return Part(items=items, targets=targets.astype(np.int64), pixels=Pixels(pixels))


@pytest.fixture
def make_loop(tmp_path: Path) -> Callable[..., Loop]:
    """Return a function that sets up a loop; `fresh=False` takes up the newest state of the folder."""

    def make(
        recipe: Recipe = RECIPE,
        *,
        folder: Path | None = None,
        fresh: bool = True,
        watch: Watcher | None = None,
        runtime: Runtime | None = None,
        on_saved: Callable[[State], None] = lambda state: None,
        spec: ResNetSpec = SPEC,
        **changes: Any,
    ) -> Loop:
        recipe = recipe.changed(**changes)
        runtime = runtime or Runtime(dtype="bf16", threads=1)
        runtime.apply()
        folder = folder or tmp_path / "state"
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network = ResNet(spec).to(memory_format=torch.channels_last)
        if fresh:
            state = State(begun=BEGUN, model=states.network_tensors(network), micro_batch=recipe.micro_batch)
            state.save(folder)
        train, val = make_part(37), make_part(20, seed=1)
        batches = Batches(
            train,
            preprocess=PREPROCESS,
            augment=build_augmenter(recipe.augment, PREPROCESS, device="cpu"),
            mix=build_mixer(recipe.augment, num_classes=3),
            batch_size=recipe.batch_size,
            seed=3,
            runtime=runtime,
            views=recipe.views,
            sampling=recipe.sampling,
        )
        task = learning(
            recipe,
            train=train,
            val=val,
            preprocess=PREPROCESS,
            runtime=runtime,
            num_classes=3,
            ranks=Ranks(),
        )
        return Loop(
            network,
            state=states.newest(folder),
            batches=stored(batches, network, recipe=recipe, watch=watch or Watcher()),
            task=task,
            recipe=recipe,
            runtime=runtime,
            folder=folder,
            watch=watch or Watcher(),
            on_saved=on_saved,
            ranks=Ranks(),
        )

    return make
