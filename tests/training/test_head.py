import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from resnetkit.data.preflight import Part
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.training.head import fit_head, pooled_features
from tests.training.conftest import PREPROCESS, SPEC, make_part


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
    scaler = StandardScaler().fit(features)
    reference = LogisticRegression(C=fit.inverse_penalty, max_iter=1000).fit(scaler.transform(features), part.targets)
    with torch.inference_mode():
        probabilities = network.fc(torch.from_numpy(features)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaler.transform(features)), atol=1e-5)
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
