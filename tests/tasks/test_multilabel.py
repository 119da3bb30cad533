import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from resnetkit.data.batches import Batch, mixing
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.errors import DataError
from resnetkit.models.thresholds import Thresholds
from resnetkit.runtime import Runtime
from resnetkit.tasks.multilabel.learning import learning, loss_of, score
from resnetkit.tasks.multilabel.scoring import fitted, folded, scored
from resnetkit.training.recipe import Recipe
from resnetkit.training.together.ranks import Ranks
from tests.training.conftest import PREPROCESS

NAN = math.nan
CLASSES = ("car", "dog", "tree")


def part_of(targets: np.ndarray) -> Part:
    items = tuple(
        Item(
            f"{number}.png", tuple(name for name, t in zip(CLASSES, row, strict=True) if t == 1), "val",
            unknown=tuple(name for name, t in zip(CLASSES, row, strict=True) if math.isnan(t)),
        )
        for number, row in enumerate(targets.tolist())
    )  # fmt: skip
    return Part(items=items, targets=targets, pixels=Pixels(np.zeros((len(items), 8, 8, 3), np.uint8)), content="here")


def random_part(count: int, *, seed: int = 0) -> tuple[np.ndarray, Part]:
    """Logits that know something, and the part they are of."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((count, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    logits = (3 * (targets - 0.5) + generator.normal(size=targets.shape)).astype(np.float32)
    return logits, part_of(targets)


def test_the_loss_is_the_mean_over_known_labels() -> None:
    outputs = torch.tensor([[0.3, -1.0, 2.0], [1.0, 1.0, 1.0], [5.0, 5.0, 5.0]])
    targets = torch.tensor([[1.0, 0.0, NAN], [1.0, 0.0, 1.0], [NAN, NAN, NAN]])
    each = functional.binary_cross_entropy_with_logits(outputs, targets.nan_to_num(0), reduction="none")
    wanted = torch.stack([each[0, :2].mean(), each[1].mean(), torch.tensor(0.0)])
    torch.testing.assert_close(loss_of(outputs, targets), wanted)


def test_what_is_not_known_gives_no_gradient() -> None:
    outputs = torch.zeros(2, 3, requires_grad=True)
    loss_of(outputs, torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert (outputs.grad == 0).tolist() == [[False, True, False], [True, True, True]]


def test_balanced_pictures_with_a_label_weigh_as_much_as_those_without() -> None:
    targets = np.array([[1, 0, NAN]] * 2 + [[0, 0, 1]] * 8, np.float32)
    task = learning(
        Recipe(class_weights="balanced"), train=part_of(targets), val=None, preprocess=PREPROCESS, runtime=Runtime(),
        ranks=Ranks(),
    )  # fmt: skip
    outputs = torch.zeros(10, 3, requires_grad=True)
    loss, figures = task.learn(lambda images: images, Batch(outputs, torch.from_numpy(targets)))
    loss.backward()
    assert outputs.grad is not None
    gradient = outputs.grad * torch.tensor([[2], [2], *[[3]] * 8])  # each picture's mean over its known labels
    assert gradient[:2, 0].sum() == pytest.approx(-float(gradient[2:, 0].sum()))
    assert figures["exact"] == 0  # a probability of a half says nothing, and all pictures have a label but two


def test_validation_scores_known_labels_as_scikit_learn_does() -> None:
    logits, part = random_part(60)
    targets = part.targets.copy()
    targets[::7, 1] = NAN
    asked = [(np.arange(start, min(start + 25, 60)), logits[start : start + 25]) for start in (0, 25, 50)]
    figures = score(asked, targets, ranks=Ranks()).figures
    wanted = [
        average_precision_score(targets[known, k], logits[known, k])
        for k, known in enumerate(np.isfinite(targets).T)
    ]  # fmt: skip
    assert figures["val_map"] == pytest.approx(np.mean(wanted))
    right = ((logits > 0) == (targets == 1)) | np.isnan(targets)
    assert figures["val_exact"] == pytest.approx(right.all(1).mean())
    assert figures["val_loss"] == pytest.approx(
        float(loss_of(torch.from_numpy(logits), torch.from_numpy(targets)).mean())
    )


def test_a_part_in_which_no_label_can_be_ranked_has_no_precision() -> None:
    targets = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    assert score([(np.arange(2), np.zeros((2, 3), np.float32))], targets, ranks=Ranks()).figures["val_map"] is None


def test_labels_of_two_pictures_are_mixed_and_what_one_lacks_is_not_known_of_both() -> None:
    own, partner = torch.tensor([[1.0, 0.0, NAN]]), torch.tensor([[0.0, 0.0, 1.0]])
    mixed = mixing.soft_targets(own, partner, weight=0.75, num_classes=3)
    torch.testing.assert_close(mixed[0, :2], torch.tensor([0.75, 0.0]))
    assert mixed[0, 2].isnan()


def test_rows_say_labels_answers_and_all_probabilities() -> None:
    logits, part = random_part(40)
    decision = fitted(logits, part, classes=CLASSES, where="val", goal="f1")
    assert decision.fitted_to == "here"
    metrics, rows = scored(logits, logits, part, classes=CLASSES, decision=decision, split="val")
    assert metrics["thresholds"] == {"goal": "f1", "fitted_on": 40, "cross_fitted": True, "optimistic": False}
    assert [row["labels"] for row in rows] == [item.written for item in part.items]
    assert metrics["exact_match"] == pytest.approx(np.mean([row["correct"] for row in rows]))
    others = Thresholds(at=decision.at, fitted_on=40, fitted_to="elsewhere")
    elsewhere, _ = scored(logits, logits, part, classes=CLASSES, decision=others, split="test")
    assert not elsewhere["thresholds"]["cross_fitted"]
    assert elsewhere["map"] == metrics["map"]
    # the very pictures that a threshold was chosen by flatter it
    assert elsewhere["macro_f1"] >= metrics["macro_f1"]


def test_folds_have_a_mean_and_no_intervals() -> None:
    logits, part = random_part(60)
    numbers = np.arange(60) % 3 + 1
    found = folded(logits, part, numbers)["folds"]
    assert [one["count"] for one in found["each"]] == [20, 20, 20]
    assert found["mean"] == pytest.approx(np.mean([one["map"] for one in found["each"]]))
    metrics, _ = scored(logits, logits, part, classes=CLASSES, decision=Thresholds(), split="folds")
    assert metrics["map_interval"] is None
    assert all(one["ap_interval"] is None for one in metrics["per_class"])


def test_a_label_that_the_model_does_not_know_is_told() -> None:
    logits, part = random_part(10)
    with pytest.raises(DataError, match=r"'tree'.*is not among the 2 known classes"):
        scored(logits[:, :2], logits[:, :2], part, classes=CLASSES[:2], decision=Thresholds(), split="test")


def test_numbers_that_are_not_finite_are_refused() -> None:
    logits, part = random_part(10)
    logits[3, 1] = NAN
    with pytest.raises(DataError, match="not finite"):
        scored(logits, logits, part, classes=CLASSES, decision=Thresholds(), split="test")
