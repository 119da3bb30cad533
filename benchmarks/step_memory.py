"""Measure the peak memory of a training step against the activations that the layers list.

    python benchmarks/step_memory.py

Each line is a process of its own: peak resident memory of three steps less what was there before them, over
`activation_elements` times the bytes of the dtype. `training/planning/memory.py` takes its factor from the largest.
"""

import resource
import subprocess
import sys

CASES = [
    (network, size, batch, dtype)
    for network, size, batch in (
        ("resnet18", 224, 16),
        ("resnet50", 224, 16),
        ("resnet20", 32, 512),
        ("resnet50", 64, 64),
    )
    for dtype in ("fp32", "bf16")
]


def measure(network: str, size: int, batch: int, dtype: str) -> None:
    import torch
    from torch.nn import functional

    from resnetkit.models.catalog import build
    from resnetkit.models.layers import activation_elements, layer_table

    net = build(network).to(memory_format=torch.channels_last)
    bytes_each = 2 if dtype == "bf16" else 4
    expected = activation_elements(layer_table(net.spec, (size, size))) * bytes_each * batch
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.zeros(batch, dtype=torch.long)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            logits = net(images)
        functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"{network:<9} {size:>3} px  batch {batch:>3}  {dtype}  layers {expected / 2**20:6.0f} MiB  "
        f"peak {peak / 2**20:6.0f} MiB  factor {peak / expected:.2f}"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        for case in CASES:
            subprocess.run([sys.executable, __file__, *map(str, case)], check=True)
