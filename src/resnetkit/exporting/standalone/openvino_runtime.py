"""Run an exported OpenVINO graph in fp32 (an int8 graph in the arithmetic that it holds)."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit.exporting.standalone.resizing import answer_of, images_of


def opened(folder: Path, record: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a `[H, W, C]` uint8 picture to `[K]` probabilities, or to the rows of objects."""
    if "openvino" not in sys.modules:  # what reports its use would write into the home folder; it has a stand-in
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # Without this OpenVINO computes in bf16 where the processor has it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    run = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings)
    if record["reads"] == "picture":
        return lambda picture: run(picture[None])[0][0]
    header = record["header"]
    preprocess = header["preprocess"]
    return lambda picture: answer_of(run(images_of(picture, preprocess))[0], picture, header)
