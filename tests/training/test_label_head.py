import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from resnetkit.data.prepared import Part
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.training.steps import label_heads
from resnetkit.training.steps.head import fit_label_head, pooled_features, words_of
from resnetkit.training.steps.label_heads import LabelHeads, choose_label_penalty, fit_label_heads
from resnetkit.training.steps.linear import INVERSE_PENALTIES, Scaling
from tests.training.conftest import PREPROCESS, SPEC, make_part


def problem(count: int = 300, *, num_labels: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features far from zero and labels that they half tell, the later the rarer."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 12))
    logits = 2 * features[:, :num_labels] - np.arange(num_labels) + generator.logistic(size=(count, num_labels))
    return (3 * features + 5).astype(np.float32), (logits > 0).astype(np.float32)


def alone(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def fit(features: np.ndarray, targets: np.ndarray, *, balanced: bool = False) -> LabelHeads:
    return fit_label_heads(features, targets, groups=alone(len(targets)), balanced=balanced)


def probabilities(heads: LabelHeads, features: np.ndarray) -> np.ndarray:
    return expit(features.astype(np.float64) @ heads.weight.T + heads.bias)


@pytest.mark.parametrize("balanced", [False, True])
def test_each_label_is_scikit_learns_regression(balanced: bool) -> None:
    features, targets = problem()
    targets[::7, 1] = np.nan
    heads = fit(features, targets, balanced=balanced)
    found = probabilities(heads, features)
    scaled = Scaling.of(features.astype(np.float64)).transform(features.astype(np.float64))
    for label in range(targets.shape[1]):
        known = ~np.isnan(targets[:, label])
        weight = "balanced" if balanced else None
        model = LogisticRegression(C=heads.inverse_penalty, class_weight=weight, tol=1e-9, max_iter=10_000)
        model.fit(scaled[known], targets[known, label])
        np.testing.assert_allclose(found[:, label], model.predict_proba(scaled)[:, 1], atol=1e-4)
    own = np.where(targets == 1, found, 1 - found)[~np.isnan(targets)]
    assert heads.loss == pytest.approx(-np.log(own).mean())


def test_what_is_not_known_says_neither_yes_nor_no() -> None:
    features, targets = problem()
    targets[:100, 2] = np.nan
    filled = (targets, np.nan_to_num(targets, nan=0.0), np.nan_to_num(targets, nan=1.0))
    unknown, no, yes = (probabilities(fit(features, each), features)[:, 2].mean() for each in filled)
    assert no + 0.03 < unknown < yes - 0.03


def test_a_label_without_a_yes_or_without_a_no_answers_how_often_it_is() -> None:
    features, targets = problem(99)
    targets[:, 0], targets[:, 1], targets[:, 2] = 0, 1, np.nan
    targets[:50, 0] = np.nan
    heads = fit(features, targets)
    assert not heads.weight[:3].any()
    np.testing.assert_allclose(expit(heads.bias[:3]), [0.5 / 50, 99.5 / 100, 0.5])
    np.testing.assert_allclose(heads.weight[3], fit(features, targets[:, 3:]).weight[0], atol=1e-4)
    nothing = fit(features, targets[:, :3])
    assert (nothing.inverse_penalty, nothing.weight.any()) == (INVERSE_PENALTIES[1], False)
    assert fit(features, targets[:, 2:3]).loss == 0


def test_noise_takes_the_strongest_penalty_and_a_clear_difference_a_weak_one() -> None:
    generator = np.random.default_rng(0)
    noise, targets = generator.normal(size=(120, 40)), generator.integers(0, 2, (120, 2)).astype(np.float32)
    clear = 0.1 * noise
    clear[:, :2] += np.where(targets == 1, 3.0, -3.0)
    assert choose_label_penalty(noise, targets, groups=alone(120), balanced=False) == 0.001
    assert choose_label_penalty(clear, targets, groups=alone(120), balanced=False) == 10.0


def test_pictures_of_one_group_never_vouch_for_each_other() -> None:
    groups = np.repeat(np.arange(24), 10)
    features = np.eye(24)[groups]
    targets = np.random.default_rng(1).integers(0, 2, (24, 2))[groups].astype(np.float32)
    names = [str(group) for group in groups]
    assert choose_label_penalty(features, targets, groups=alone(240), balanced=False) == 10.0
    assert choose_label_penalty(features, targets, groups=names, balanced=False) == 0.001
    for fitted, held_out in label_heads._folds(5, targets, names):
        assert not {names[i] for i in fitted} & {names[i] for i in held_out}
        assert len(fitted) + len(held_out) == 240


def test_pictures_of_one_group_and_fewer_than_folds_can_be_fitted() -> None:
    features, targets = problem(60)
    assert (
        fit_label_heads(features, targets, groups=["all"] * 60, balanced=False).inverse_penalty == INVERSE_PENALTIES[1]
    )
    for count in (1, 2, 3):
        heads = fit(features[:count], targets[:count])
        assert np.isfinite(heads.weight).all()
        assert np.isfinite(heads.bias).all()


def test_of_many_pictures_some_choose_and_of_each_rare_label_some_are_among_them() -> None:
    targets = np.zeros((12_000, 3), np.float32)
    targets[:6000, 0], targets[7:9, 1], targets[:, 2] = 1, 1, 1
    targets[11_000:11_003, 2] = 0
    chosen = label_heads._for_the_choice(targets)
    assert len(set(chosen)) == len(chosen) <= 5005
    assert {7, 8, 11_000, 11_001, 11_002} <= set(chosen.tolist())


def labelled(count: int) -> Part:
    """Pictures with the labels "brightest is the first channel" and "brightest is not the last", some not known."""
    part = make_part(count)
    targets = np.stack([part.targets == 0, part.targets != 2, part.targets < 0], 1).astype(np.float32)
    targets[::5, 1] = np.nan
    return Part(items=part.items, targets=targets, pixels=part.pixels)


def test_the_network_answers_what_was_fitted_and_only_its_head_changes() -> None:
    torch.manual_seed(0)
    network, part = ResNet(SPEC), labelled(60)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    checks = []
    found = fit_label_head(
        network, part, preprocess=PREPROCESS, runtime=Runtime(), balanced=False, check=lambda: checks.append(1)
    )
    features = pooled_features(network, part, preprocess=PREPROCESS, runtime=Runtime(), check=lambda: None)
    heads = fit(features, part.targets)
    with torch.inference_mode():
        answered = network.fc(torch.from_numpy(features)).sigmoid().numpy()
    np.testing.assert_allclose(answered, probabilities(heads, features), atol=1e-5)
    assert (found.loss, found.inverse_penalty) == (heads.loss, heads.inverse_penalty)
    assert ((answered[:, 0] > 0.5) == (part.targets[:, 0] == 1)).mean() > 0.9
    after = network.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"fc.weight", "fc.bias"}
    assert checks


def test_the_head_of_several_labels_is_told_by_what_is_known_of_it() -> None:
    row = {"seconds": 3.14, "train_loss": 0.2, "val_map": 0.612}
    begin = "head fitted on frozen features in 3.1 s"
    assert words_of(row) == f"{begin}: mean average precision 61.2 % on the held-out pictures"
    assert words_of(row | {"val_map": None}) == begin
    right = {"train_top1": 0.75, "val_top1": 0.5}
    assert (
        words_of({"seconds": 3.14} | right)
        == f"{begin}: 75.0 % of the training pictures right, 50.0 % of the held-out ones"
    )
