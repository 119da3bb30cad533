from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from resnetkit.data.batches import Batch, seeded
from resnetkit.runtime import Runtime
from resnetkit.tasks.classification.learning import learning
from resnetkit.training.learning import Learning
from resnetkit.training.loop import Loop
from resnetkit.training.recipe import Augment, Optim, Recipe
from resnetkit.training.stopping import StopRequest
from resnetkit.training.together.ranks import Ranks
from tests.training.conftest import PREPROCESS, make_part

MakeLoop = Callable[..., Loop]
OUTPUTS = torch.randn(12, 3, generator=seeded(0))
TARGETS = torch.arange(12) % 3


def task_of(**changes: Any) -> Learning:
    return learning(
        Recipe(**changes), train=make_part(37), val=None, preprocess=PREPROCESS, runtime=Runtime(), num_classes=3,
        ranks=Ranks(),
    )  # fmt: skip


def learnt(
    task: Learning, outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return loss and figures of a network that answers with what it is given."""
    return task.learn(lambda images: images, Batch(outputs, targets))


@pytest.mark.parametrize("changes", [{}, {"label_smoothing": 0.1}, {"class_weights": "balanced"},
                                     {"label_smoothing": 0.2, "class_weights": "balanced"}])  # fmt: skip
def test_the_loss_of_mixed_pictures_is_the_weighted_sum_of_the_losses_of_both_classes(changes: dict[str, Any]) -> None:
    task, partners = task_of(**changes), TARGETS.roll(1)
    soft = 0.7 * functional.one_hot(TARGETS, 3) + 0.3 * functional.one_hot(partners, 3)
    loss, _ = learnt(task, OUTPUTS, soft)
    torch.testing.assert_close(loss, 0.7 * learnt(task, OUTPUTS, TARGETS)[0] + 0.3 * learnt(task, OUTPUTS, partners)[0])


def test_a_mixed_picture_is_right_where_the_class_with_most_weight_is_named() -> None:
    task = task_of()
    outputs = functional.one_hot(TARGETS, 3).float()
    soft = 0.7 * functional.one_hot(TARGETS, 3) + 0.3 * functional.one_hot(TARGETS.roll(1), 3)
    assert learnt(task, outputs, soft)[1] == learnt(task, outputs, TARGETS)[1] == {"top1": 12}
    assert learnt(task, outputs, soft.flip(1))[1] == learnt(task, outputs, 2 - TARGETS)[1]


def test_a_run_on_mixed_pictures_learns_and_is_the_same_in_micro_batches(make_loop: MakeLoop) -> None:
    augment = Augment(crop="shift", flip="alternating", mixup=0.2, cutmix=1.0)
    recipe = Recipe(epochs=6, batch_size=8, optim=Optim(lr=0.05), batchnorm="frozen", augment=augment)
    rows = []
    for micro in (None, 3):
        with StopRequest() as stop:
            loop = make_loop(recipe, micro_batch=micro, fresh=True, runtime=Runtime(dtype="fp32", threads=1))
            rows.append(loop.run(stop).rows)
    whole, parts = ([row["train_loss"] for row in each] for each in rows)
    assert whole[-1] < whole[0]
    assert parts == pytest.approx(whole, rel=1e-4)
