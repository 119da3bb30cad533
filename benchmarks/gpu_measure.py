"""One measurement for `gpu_campaign.py`, in a process of its own; prints one line of JSON.

    python benchmarks/gpu_measure.py step --model resnet50 --how compiled --batch-size 256
    python benchmarks/gpu_measure.py predict --model resnet18 --how timm
    python benchmarks/gpu_measure.py photos --model resnet18
    python benchmarks/gpu_measure.py ranks
    python benchmarks/gpu_measure.py memory

`step`: images/s of training steps on a batch that lies on the device, bf16. `predict`: of pictures in main memory to
logits in main memory. `how`: ours `eager` or `compiled`, or `timm`'s network, compiled, with cuDNN free to choose by
timing. `photos`: of `resnetkit train` on made-up photos, augmentation included. `ranks`: sums of gradients through
NCCL with one rank. `memory`: training in what is left beside a full memory must halve its micro-batch and end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

import resnetkit as rk
from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.catalog import build
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime, resolve
from resnetkit.training.planning.compiled import compiled
from resnetkit.training.recipe import Optim
from resnetkit.training.steps.optim import build_optimizer
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Watcher

LEFT = 3 * 2**30  # bytes of the device that `memory` leaves free


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "predict", "photos", "ranks", "memory"])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--how", choices=["eager", "compiled", "timm"], default="eager")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    runtime = resolve(device=options.device, precision="bf16", threads=options.threads)
    runtime.apply()
    begin = time.monotonic()
    found = {"step": step, "predict": predict, "photos": photos, "ranks": ranks, "memory": memory}[options.what](
        options, runtime
    )
    print(json.dumps({**found, "seconds_in_all": round(time.monotonic() - begin, 1)}))


def network_of(options: argparse.Namespace, runtime: Runtime) -> torch.nn.Module:
    """Return the network, ours or timm's, on the device; uncompiled."""
    torch.manual_seed(0)
    if options.how != "timm":
        network: torch.nn.Module = build(options.model, num_classes=1000)
    else:
        import timm

        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        network = timm.create_model(options.model, num_classes=1000)
    return network.to(runtime.device, memory_format=runtime.memory_format())


def step(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Time whole steps: normalisation, forward and backward pass, SGD with momentum."""
    network, preprocess = network_of(options, runtime).train(), Preprocess.for_size(options.size)
    forward = network if options.how == "eager" else compiled(network)
    if options.how == "timm":
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    else:
        optimizer = build_optimizer(network, Optim(lr=1e-3))
    pixels = torch.from_numpy(pictures(options)).to(runtime.device)
    targets = torch.arange(options.batch_size, device=runtime.device) % 1000

    def once() -> None:
        images = normalise(pixels, preprocess, memory_format=runtime.memory_format())
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            outputs = forward(images)
        cross_entropy(outputs.float(), targets).backward()
        optimizer.step()

    return rate(once, options, runtime)


def predict(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Time batches from main memory to logits in main memory, through the engine that `predict` uses."""
    network = network_of(options, runtime).eval()
    ready = network if options.how == "eager" else torch.compile(network, dynamic=False)
    engine = TorchEngine(ready, Preprocess.for_size(options.size), runtime)  # type: ignore[arg-type]
    pixels = pictures(options)
    return rate(lambda: engine.logits(pixels), options, runtime)


def pictures(options: argparse.Namespace) -> np.ndarray:
    """Return a batch, `[N, size, size, 3]` uint8."""
    shape = (options.batch_size, options.size, options.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def rate(once: Callable[[], object], options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Return images/s: the median of ten windows that together take about as long as asked, after a warm-up."""
    wait = torch.cuda.synchronize if runtime.device == "cuda" else lambda: None
    begin = time.perf_counter()
    for _ in range(3):
        once()
    wait()
    warm_up, begin = time.perf_counter() - begin, time.perf_counter()
    once()
    wait()
    steps = max(1, int(options.seconds / 10 / (time.perf_counter() - begin)))
    rates = []
    for _ in range(10):
        begin = time.perf_counter()
        for _ in range(steps):
            once()
        wait()
        rates.append(steps * options.batch_size / (time.perf_counter() - begin))
    peak = torch.cuda.max_memory_allocated() if runtime.device == "cuda" else None
    return {
        "images_per_second": round(statistics.median(rates), 1), "slowest": round(min(rates), 1),
        "fastest": round(max(rates), 1), "windows": len(rates), "steps_each": steps,
        "warm_up_seconds": round(warm_up, 1), "peak_bytes": peak,
        **{name: getattr(options, name) for name in ("model", "how", "size", "batch_size")},
    }  # fmt: skip


def photos(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Train for three epochs on made-up photos; the last one's images/s, random crops on the CPU included."""
    count = 16 * options.batch_size
    size = options.size + options.size // 4
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        run = rk.train(
            (images, np.arange(count) % 10), model=options.model, weights="none", recipe="scratch", epochs=3,
            batch_size=options.batch_size, image_size=options.size, stem="imagenet", device=options.device, quiet=True,
            threads=options.threads, output=Path(folder) / "run",
            settings=("keep_together=files", "precision=bf16", "optim.lr=0.001"),
        )  # fmt: skip
        last = run.history[-1]
    return {
        "images_per_second": float(last["images_per_second"]), "count": count, "threads": runtime.threads,
        "model": options.model, "size": options.size, "batch_size": options.batch_size,
    }  # fmt: skip


def ranks(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Send what a step sends through the backends that training uses, in a group of one rank.

    `Ranks` is told that it is one of two, since one alone sends nothing; sums over the group then change nothing.
    """
    backend = "cpu:gloo,cuda:nccl" if runtime.device == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        two, network = Ranks(rank=0, size=2), build(options.model, num_classes=10).to(runtime.device).train()
        images = torch.randn(8, 3, 64, 64, device=runtime.device)
        cross_entropy(network(images), torch.arange(8, device=runtime.device)).backward()
        before = [p.grad.clone() for p in network.parameters()]
        loss = torch.ones((), device=runtime.device)
        two.add_up_step(network, loss, weight=1.0)
        differs = max(float((p.grad - kept).abs().max()) for p, kept in zip(network.parameters(), before, strict=True))
        two.wait()
        said = [two.agree(3)[0], two.by_first(lambda: "heard")]
        begin = time.perf_counter()
        for _ in range(10):
            two.add_up_step(network, loss, weight=1.0)
        float(loss)
        seconds = (time.perf_counter() - begin) / 10
        dist.destroy_process_group()
    assert differs == 0, f"a sum over one rank changed gradients by {differs}"
    assert said == [3, "heard"], said
    return {"backend": backend, "model": options.model, "largest_change": differs, "ms_each": round(1000 * seconds, 2)}


class Notes(Watcher):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        """Keep a line."""
        self.said.append(text)


def memory(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Fill the device but for 3 GiB and train a batch that needs more."""
    torch.cuda.empty_cache()
    if runtime.device == "cuda":
        free = torch.cuda.mem_get_info()[0]
        ballast = torch.empty(max(0, free - LEFT), dtype=torch.uint8, device=runtime.device)
    else:
        ballast = torch.empty(0)
        pretend_small_memory(options.batch_size // 4)
    images = np.random.default_rng(0).integers(0, 256, (2 * options.batch_size, *[options.size] * 2, 3), dtype=np.uint8)
    notes = Notes()
    with tempfile.TemporaryDirectory() as folder:
        run = rk.train(
            (images, np.arange(len(images)) % 2), model=options.model, weights="none", recipe="scratch", epochs=2,
            batch_size=options.batch_size, image_size=options.size, stem="imagenet", device=options.device,
            threads=options.threads, watcher=notes, output=Path(folder) / "run",
            settings=("val_share=0", "keep_together=files"),
        )  # fmt: skip
        epochs = len(run.history)
        loss = float(run.history[-1]["train_loss"])
    halved = [line for line in notes.said if "out of memory" in line]
    assert halved, "nothing ran out of memory"
    assert epochs == 2, f"{epochs} epochs of 2"
    return {"notes": halved, "epochs": epochs, "loss": loss, "batch_size": options.batch_size, "held": ballast.nbytes}


def pretend_small_memory(most: int) -> None:
    """Let training with more pictures than these fail as a full GPU does, where there is none."""
    forward = ResNet.forward

    def small(network: ResNet, images: torch.Tensor) -> torch.Tensor:
        if network.training and len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return forward(network, images)

    ResNet.forward = small  # type: ignore[method-assign]


if __name__ == "__main__":
    os.environ.setdefault("RESNETKIT_OFFLINE", "1")
    main()
