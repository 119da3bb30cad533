"""Fit a new head to the classes on frozen features, before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from resnetkit.data.augment import centre
from resnetkit.data.batches import normalise
from resnetkit.data.preflight import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime

# Inverse strength of the head's L2 penalty on standardised features.
_INVERSE_PENALTY = 0.01
_BATCH = 64


def fit_head(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, balanced: bool,
    check: Callable[[], None] = lambda: None,
) -> float:  # fmt: skip
    """Set `network.fc` to a logistic regression on the pooled features of the training part; return its accuracy there.

    Features are standardised for the fit and the scaling is folded into the weights. Pictures are not augmented.
    `check` is called between batches.
    """
    features = pooled_features(network, part, preprocess=preprocess, runtime=runtime, check=check)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(
        C=_INVERSE_PENALTY, max_iter=500, class_weight="balanced" if balanced else None
    )  # fmt: skip
    model.fit(scaler.transform(features), part.targets)
    coefficients, intercept = model.coef_, model.intercept_
    if len(coefficients) == 1:  # scikit-learn keeps one row for two classes
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercept = np.concatenate([-intercept / 2, intercept / 2])
    weight = coefficients / scaler.scale_
    bias = intercept - weight @ scaler.mean_
    with torch.no_grad():
        network.fc.weight[model.classes_] = torch.from_numpy(weight).to(network.fc.weight)
        network.fc.bias[model.classes_] = torch.from_numpy(bias).to(network.fc.bias)
    return float((model.predict(scaler.transform(features)) == part.targets).mean())


@torch.inference_mode()
def pooled_features(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, check: Callable[[], None]
) -> np.ndarray:
    """Return what the head reads for each image of a part, `[N, features]` float32, in evaluation mode."""
    network.eval()
    rows = []
    for start in range(0, len(part.items), _BATCH):
        check()
        taken = part.pixels.take(np.arange(start, min(start + _BATCH, len(part.items))))
        pixels = centre([torch.from_numpy(picture) for picture in taken], preprocess=preprocess)
        inputs = normalise(pixels.to(runtime.device), preprocess, memory_format=runtime.memory_format())
        last = network.features(inputs)[network.feature_info[-1].name]
        rows.append(last.mean((2, 3)).float().cpu().numpy())
    return np.concatenate(rows)
