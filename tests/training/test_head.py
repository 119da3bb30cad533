import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from resnetkit.data.prepared import Part
from resnetkit.errors import InterruptedRun
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.training.choosing import Validation
from resnetkit.training.learning import Learning
from resnetkit.training.loop import Loop
from resnetkit.training.run import COLUMNS
from resnetkit.training.steps.head import choose_penalty, first_row, fit_head, pooled_features, words_of
from resnetkit.training.steps.linear import Scaling
from resnetkit.training.stopping import StopRequest
from tests.training.conftest import PREPROCESS, SPEC, make_part
from tests.training.test_loop import assert_same_bits


def prepared(classes: int) -> tuple[ResNet, Part]:
    torch.manual_seed(0)
    part = make_part(60)
    keep = part.targets < classes
    part = Part(
        items=tuple(item for item, kept in zip(part.items, keep, strict=True) if kept),
        targets=part.targets[keep],
        pixels=type(part.pixels)(part.pixels.take(np.flatnonzero(keep))),
    )
    return ResNet(SPEC.changed(num_classes=classes)), part


def check(classes: int) -> None:
    network, part = prepared(classes)
    features = pooled_features(network, part, preprocess=PREPROCESS, runtime=Runtime(), check=lambda: None)
    fit = fit_head(network, part, preprocess=PREPROCESS, runtime=Runtime(), balanced=False)
    scaling = Scaling.of(features)
    reference = LogisticRegression(C=fit.inverse_penalty, max_iter=1000).fit(scaling.transform(features), part.targets)
    with torch.inference_mode():
        probabilities = network.fc(torch.from_numpy(features)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaling.transform(features)), atol=1e-5)
    assert fit.top1 == (probabilities.argmax(1) == part.targets).mean()
    own = probabilities[np.arange(len(part)), part.targets]
    assert abs(fit.loss + np.log(own).mean()) < 1e-5


def test_the_head_is_scikit_learns_regression_with_the_scaling_folded_in() -> None:
    check(3)


def test_two_classes_get_two_rows_of_weights() -> None:
    check(2)


def test_only_the_head_changes() -> None:
    network, part = prepared(3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_head(network, part, preprocess=PREPROCESS, runtime=Runtime(), balanced=True)
    after = network.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"fc.weight", "fc.bias"}


def alone(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_noise_takes_the_strongest_penalty_and_a_clear_difference_a_weak_one() -> None:
    generator = np.random.default_rng(0)
    noise, targets = generator.normal(size=(120, 40)), np.arange(120) % 2
    strongest = choose_penalty(noise, targets, groups=alone(120), balanced=False)
    clear = np.where(targets[:, None] == 1, 3.0, -3.0) + 0.1 * noise
    assert strongest == 0.001
    assert choose_penalty(clear, targets, groups=alone(120), balanced=False) == 10.0


def test_pictures_of_one_group_never_vouch_for_each_other() -> None:
    # Each group has a feature of its own: known to a weak penalty, and of no use for groups that were never seen.
    groups = np.repeat(np.arange(24), 10)
    features, targets = np.eye(24)[groups], np.random.default_rng(1).integers(0, 2, 24)[groups]
    assert choose_penalty(features, targets, groups=alone(240), balanced=False) == 10.0
    assert choose_penalty(features, targets, groups=[str(group) for group in groups], balanced=False) == 0.001


def test_a_class_of_a_single_picture_can_be_fitted() -> None:
    features, targets = np.random.default_rng(0).normal(size=(9, 4)), np.array([0] * 8 + [1])
    assert choose_penalty(features, targets, groups=alone(9), balanced=False) == 0.01


def test_the_same_pictures_give_the_same_bits() -> None:
    heads = []
    for _ in range(2):
        network, part = prepared(3)
        fit_head(network, part, preprocess=PREPROCESS, runtime=Runtime(), balanced=False)
        heads.append(network.fc.weight)
    assert torch.equal(*heads)


def test_the_first_row_has_the_columns_of_an_epoch() -> None:
    network, part = prepared(3)
    task = Learning(
        figures=("top1",), learn=lambda forward, batch: (batch.images.sum(), {}),
        validate=lambda network, check: Validation({"val_loss": 0.7, "val_top1": 0.625}),
        fit_head=lambda network, check: {"train_loss": 0.5, "train_top1": 0.75},
    )  # fmt: skip
    row, _ = first_row(network, task, count=len(part))
    assert {*COLUMNS, "train_top1", "val_loss", "val_top1"} == set(row)
    assert (row["epoch"], row["lr"]) == (0, 0.0)
    assert "62.5 % of the held-out ones" in words_of(row)
    assert "held-out" not in words_of(row | {"val_top1": None})


def test_a_rare_class_does_not_stop_the_choice_of_the_penalty() -> None:
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2, 3], [1000, 1000, 5, 1])
    features = (random.normal(size=(2006, 2)) + 3 * targets[:, None]).astype(np.float32)
    groups = [str(i) for i in range(2006)]
    with_rare = choose_penalty(features, targets, groups=groups, balanced=False)
    without = choose_penalty(features[:2000], targets[:2000], groups=groups[:2000], balanced=False)
    assert with_rare >= 0.1
    assert without >= 0.1


@pytest.mark.parametrize("ema", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_the_head_of_the_last_epoch_is_fitted_again_and_scored(
    make_loop: Callable[..., Loop], tmp_path: Path, ema: float
) -> None:
    def refuse(network: ResNet, check: Callable[[], None]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        check()

    ends = {}
    for last in (False, True):
        with StopRequest() as stop:
            ends[last] = make_loop(head_last=last, ema=ema, folder=tmp_path / str(last)).run(stop)
    stopped = make_loop(head_last=True, ema=ema, folder=tmp_path / "stopped")
    stopped.task = replace(stopped.task, fit_head=refuse)
    with StopRequest() as stop, pytest.raises(InterruptedRun, match="epoch 2 of 2, step 5"):
        stopped.run(stop)
    with StopRequest() as stop:
        assert_same_bits(
            make_loop(head_last=True, ema=ema, folder=tmp_path / "stopped", fresh=False).run(stop), ends[True]
        )
    network = ResNet(SPEC)
    network.load_state_dict(ends[False].best)
    fit_head(network, make_part(37), preprocess=PREPROCESS, runtime=Runtime(dtype="bf16"), balanced=False)
    assert all(torch.equal(tensor, ends[True].best[name]) for name, tensor in network.state_dict().items())
    assert ends[True].rows[0]["val_loss"] == ends[False].rows[0]["val_loss"]
    assert ends[True].rows[1]["val_loss"] != ends[False].rows[1]["val_loss"]
