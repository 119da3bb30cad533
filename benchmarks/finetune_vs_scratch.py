"""Fine-tune a checkpoint on a folder and train the same network from scratch on it, over several seeds.

    python benchmarks/finetune_vs_scratch.py ../shared/data/hymenoptera --weights runs/cifar10-resnet20 --image-size 64

Prints the held-out accuracy of every run, the best epoch's, mean and spread, and the paired differences.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import resnetkit as rk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="for fine-tuning only")
    parser.add_argument("--scratch-set", action="append", default=[], help="for training from scratch only")
    options = parser.parse_args()
    reached: dict[str, list[float]] = {"finetune": [], "scratch": []}
    with tempfile.TemporaryDirectory() as place:
        for seed in range(options.seeds):
            for kind in reached:
                started = time.monotonic()
                run = rk.train(
                    options.data,
                    model=options.model,
                    weights=options.weights if kind == "finetune" else "none",
                    recipe=kind,
                    image_size=options.image_size,
                    seed=seed,
                    settings=tuple(options.settings if kind == "finetune" else options.scratch_set),
                    output=Path(place) / f"{kind}-{seed}",
                )
                assert run.metrics is not None
                reached[kind].append(run.metrics["top1"])
                print(
                    f"seed {seed}  {kind:<9} {100 * run.metrics['top1']:5.1f} % of {run.metrics['count']}  "
                    f"{len(run.history)} epochs  {time.monotonic() - started:.0f} s",
                    flush=True,
                )
    for kind, values in reached.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{kind:<9} mean {100 * statistics.mean(values):.1f} %, standard deviation {100 * spread:.1f}")
    differences = [100 * (a - b) for a, b in zip(reached["finetune"], reached["scratch"], strict=True)]
    print("finetune - scratch, points:", ", ".join(f"{d:+.1f}" for d in differences))


if __name__ == "__main__":
    main()
