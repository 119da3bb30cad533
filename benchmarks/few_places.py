"""A step of the bundled trunk with convolutions over few places as matrix products, and without them.

    python benchmarks/few_places.py [--rounds 7] [--threads 1]

Forward and backward through all layers in fp32, the two in turns in one process; medians of processor time with one
thread. Prints pictures a second and the ratio.
"""

import argparse
import statistics
import time

import torch

import resnetkit as rk
from resnetkit.models import few_places
from resnetkit.runtime import cpu_name

SIZES = ((16, 64), (64, 64), (16, 96), (16, 128))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    network = rk.load("resnet_2223.imagenet1k", engine="torch").network
    network = network.to(memory_format=torch.channels_last).train()
    print(f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}, {asked.threads} threads")
    pays = few_places._PAYS
    for batch, side in SIZES:
        pictures = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
        seconds: dict[str, list[float]] = {"none": [], pays: []}
        for _ in range(asked.rounds):
            for way, found in seconds.items():
                few_places._PAYS = way
                begin = time.process_time()
                list(network.features(pictures).values())[-1].square().mean().backward()
                found.append(time.process_time() - begin)
                network.zero_grad(set_to_none=True)
        without, with_products = (statistics.median(one) for one in seconds.values())
        print(
            f"batch {batch}, {side} pixels: {batch / without:.1f} -> {batch / with_products:.1f} pictures/s, "
            f"{without / with_products:.2f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
