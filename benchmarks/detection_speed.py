"""Times a detector from files to boxes, in turns, against torchvision's own program.

    python benchmarks/detection_speed.py --model runs/cells --photos PICTURES [--int8 EXPORT] [--rounds 20]

Ways: torchvision's `fasterrcnn_resnet50_fpn` in PyTorch at its 800 pixels (random weights), the detector in PyTorch in
fp32, in OpenVINO in fp32 and where the processor has it in bf16, and its int8 export where one is given. Each round
takes one picture through all of them, one after the other, so that other programs on the machine slow all alike.
Printed are medians in milliseconds a picture, on the clock with quartiles and of the processor (what all threads of the
process took, which other programs change less), and how many times as fast as the first and the second way: by the
clock, or by the processor with --by cpu.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import resnetkit as rk
from resnetkit.runtime import cpu_name, resolve

Way = Callable[[Path], object]


def torchvision_way(threads: int) -> Way:
    """Return torchvision's own program: decode, its resize to 800 pixels, network and suppression."""
    import torch
    from PIL import Image
    from torchvision.models.detection import fasterrcnn_resnet50_fpn
    from torchvision.transforms.functional import to_tensor

    torch.set_num_threads(threads)
    network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()

    def run(path: Path) -> object:
        with torch.inference_mode(), Image.open(path) as picture:
            return network([to_tensor(picture.convert("RGB"))])

    return run


def ways(model: str, int8: str | None, threads: int) -> dict[str, Way]:
    """Return what is timed, by name."""
    made: dict[str, Way] = {"torchvision R50 800 px, PyTorch fp32": torchvision_way(threads)}
    half = resolve(device="cpu").dtype == "bf16"
    computed = [("torch", "fp32"), ("openvino", "fp32"), *([("openvino", "bf16")] if half else [])]
    for engine, precision in computed:
        opened = rk.load(model, engine=engine, precision=precision, threads=threads)  # type: ignore[arg-type]
        made[f"{engine} {precision}"] = opened.predict
    if int8 is not None:
        made["openvino int8"] = rk.load(int8, threads=threads).predict
    return made


def measured(made: dict[str, Way], photos: list[Path], rounds: int) -> dict[str, np.ndarray]:
    """Return the milliseconds of each way in each round, `[R, 2]` by the clock and of the processor.

    A first round is not counted.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, run in made.items():
            begun, worked = time.perf_counter(), time.process_time()
            run(photos[number % len(photos)])
            if number:
                times[name].append((1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - worked)))
    return {name: np.array(each) for name, each in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--int8")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--by", choices=["clock", "cpu"], default="clock")
    parser.add_argument("--output", type=Path, help="a JSON file of the same figures")
    given = parser.parse_args()
    photos = sorted(path for path in given.photos.iterdir() if path.suffix in (".jpg", ".png"))[: given.rounds]
    times = measured(ways(given.model, given.int8, given.threads), photos, given.rounds)
    medians = {name: np.median(each, axis=0).tolist() for name, each in times.items()}
    by = ("clock", "cpu").index(given.by)
    theirs, same = (each[by] for each in list(medians.values())[:2])
    load = os.getloadavg()[0]
    print(f"{cpu_name()}, {given.threads} threads, {given.rounds} rounds, load {load:.1f} at the end")
    print(f"{'':38}{'clock':>9}{'quartiles':>16}{'cpu':>9}{'x torchvision':>15}{'x PyTorch':>11}")
    for name, each in times.items():
        low, high = np.quantile(each[:, 0], [0.25, 0.75])
        clock, cpu = medians[name]
        ratios = f"{theirs / medians[name][by]:>15.1f}{same / medians[name][by]:>11.2f}"
        print(f"{name:38}{clock:>6.0f} ms{f'{low:.0f} to {high:.0f}':>16}{cpu:>6.0f} ms{ratios}")
    if given.output is not None:
        told = {"machine": cpu_name(), "threads": given.threads, "load": load, "clock_and_cpu_ms": medians}
        given.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
