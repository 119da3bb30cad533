"""Run an exported ONNX graph."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit.exporting.standalone.resizing import answer_of, images_of


def opened(folder: Path, record: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a `[H, W, C]` uint8 picture to `[K]` probabilities, or to the rows of objects."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would write who uses it into the home folder when imported
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    if record["reads"] == "picture":
        return lambda picture: session.run(None, {"picture": picture[None]})[0][0]
    header = record["header"]
    preprocess = header["preprocess"]
    return lambda picture: answer_of(
        session.run(["logits"], {"images": images_of(picture, preprocess)})[0], picture, header
    )
