"""One photo from a cold start: the whole command `resnetkit predict` against a bare OpenVINO script, in turns.

    python benchmarks/cold_start.py --photo PHOTO [--model resnet18] [--rounds 9]

Both processes start from nothing but what is kept on disk: a model prepared by an earlier command, OpenVINO's compiled
cache. The bare script imports openvino, NumPy and Pillow, opens the photo, resizes it and prints the first class.
Prints the wall time of each process (medians), and how long `import torch, torchvision` alone takes.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from predict_folder import made
from resnetkit.runtime import available_threads, cpu_name

BARE = """
import sys
import numpy as np
import openvino as ov
from PIL import Image
model, cache, photo = sys.argv[1:]
core = ov.Core()
core.set_property({"CACHE_DIR": cache})
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
pixels = np.asarray(Image.open(photo).convert("RGB").resize((224, 224)))[None]
print(compiled(pixels)[0].argmax())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"RESNETKIT_CACHE": f"{folder}/cache"}
        file = made(options.model, Path(folder))
        command = [sys.executable, "-m", "resnetkit", "predict", options.photo, "--model", str(file)]
        command += ["--precision", "fp32", "--engine", "openvino"]
        subprocess.run(command, check=True, capture_output=True, env=environment)  # prepares
        [network] = Path(folder, "cache", "prepared").rglob("network.xml")
        static = _static(network, Path(folder))
        ways = {
            "resnetkit predict": command,
            "bare script": [sys.executable, "-c", BARE, str(static), f"{folder}/bare-cache", options.photo],
            "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for round_ in range(options.rounds + 1):
            for way, call in ways.items():
                begun = time.perf_counter()
                subprocess.run(call, check=True, capture_output=True, env=environment)
                if round_:
                    seconds[way].append(time.perf_counter() - begun)
    print(f"{cpu_name()}, {available_threads()} cores; {options.model}, medians of {options.rounds}")
    for way, times in seconds.items():
        print(f"  {way:<26} {statistics.median(times):.2f} s  ({min(times):.2f} to {max(times):.2f})")


def _static(network: Path, folder: Path) -> Path:
    """Write the prepared graph for one picture at a time, as a bare script would have it."""
    import openvino

    model = openvino.Core().read_model(network)
    model.reshape([1, *model.inputs[0].partial_shape[1:]])
    openvino.save_model(model, folder / "bare.xml", compress_to_fp16=False)
    return folder / "bare.xml"


if __name__ == "__main__":
    main()
