"""A folder of JPEGs to a CSV: ours in fp32, bf16 and int8 against the loop of the tutorials, in turns.

    python benchmarks/predict_folder.py --photos PHOTOS [--models resnet18 resnet50] [--count 120] [--rounds 5]

The tutorial's loop opens one picture at a time with Pillow, resizes and normalises it with torchvision's transforms and
asks torchvision's network in fp32. Both have the same random weights, all cores, and write a row a picture; models are
loaded and prepared beforehand. Prints images per second (medians), the ratios, and the limit: what is left of the speed
of the bare network (OpenVINO's own benchmark_app on the same graph) when the same cores decode and resize every photo.
"""

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import transforms

import resnetkit as rk
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_pictures
from resnetkit.inference import output
from resnetkit.inference.predictor import _ahead
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import Header, load_arrays
from resnetkit.runtime import available_threads, cpu_name, has_fast_bf16

CLASSES = ("ants", "bees")
MINIMUM = {  # the ratios that were asked for
    ("resnet18", "fp32"): 1.85, ("resnet18", "bf16"): 3.3, ("resnet18", "int8"): 6.0,
    ("resnet50", "fp32"): 2.2, ("resnet50", "bf16"): 4.3, ("resnet50", "int8"): 8.0,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder with a folder of photos for each class")
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    photos = [item.source for item in open_pictures(str(options.photos)).items]
    photos = photos[:: max(1, len(photos) // options.count)][: options.count]
    decoding = decoded_per_second(photos)
    print(f"{cpu_name()}, {available_threads()} cores; {len(photos)} photos of {options.photos}")
    print(f"decoding, resizing and cropping alone: {decoding:,.0f} images/s")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            measure(name, photos, options, Path(folder), decoding)


def measure(name: str, photos: Sequence[str], options: argparse.Namespace, folder: Path, decoding: float) -> None:
    file = made(name, folder)
    models = {"fp32": rk.load(file, precision="fp32")}
    if has_fast_bf16("cpu"):
        models["bf16"] = rk.load(file, precision="bf16")
    whole = rk.export(file, preprocess="outside", images=photos[:2], output=folder / f"{name}-fp32")
    quantised = rk.export(
        file, int8=True, calibrate=[options.photos], max_loss=1.0, preprocess="outside", images=photos[:2],
        output=folder / f"{name}-int8",
    )  # fmt: skip
    models["int8"] = rk.load(quantised.folder)
    ways: dict[str, Callable[[Path], None]] = {"tutorial": tutorial(name, file, photos)}
    ways |= {precision: ours(model, photos) for precision, model in models.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(options.rounds + 1):
        for way, run in ways.items():
            begun = time.perf_counter()
            run(folder / f"{way}.csv")
            if round_:  # the first warms up
                seconds[way].append(time.perf_counter() - begun)
    speeds = {way: len(photos) / statistics.median(times) for way, times in seconds.items()}
    print(f"\n{name}: tutorial {speeds['tutorial']:.1f} images/s")
    for precision in models:
        bare = benchmark_app((quantised if precision == "int8" else whole).folder / "model.xml", precision)
        limit = 1 / (1 / bare + 1 / decoding)
        ratio, wanted = speeds[precision] / speeds["tutorial"], MINIMUM.get((name, precision))
        print(
            f"  {precision}  {speeds[precision]:7.1f} images/s  {ratio:5.2f}x (wanted {wanted}x)  "
            f"{100 * speeds[precision] / limit:.0f} % of the limit {limit:,.0f}, "
            f"{100 * speeds[precision] / bare:.0f} % of benchmark_app's {bare:,.0f}"
        )


def made(name: str, folder: Path) -> Path:
    """Write a checkpoint with random weights; BatchNorm's statistics are those of a few noisy pictures."""
    torch.manual_seed(0)
    network = catalog.build(name, num_classes=2)
    with torch.no_grad():
        network.train()(torch.randn(16, 3, 128, 128))
    header = Header(spec=network.spec, classes=CLASSES, preprocess=Preprocess())
    checkpoint.save(folder / f"{name}.safetensors", network.eval(), header)
    return folder / f"{name}.safetensors"


def tutorial(name: str, file: Path, photos: Sequence[str]) -> Callable[[Path], None]:
    """Return the tutorial's loop over the photos."""
    network = torchvision.models.get_model(name, num_classes=2).eval()
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in load_arrays(file).items()})
    change = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip

    def run(path: Path) -> None:
        torch.set_num_threads(available_threads())
        with open(path, "w", newline="") as stream, torch.no_grad():
            writer = csv.writer(stream)
            for photo in photos:
                image = change(Image.open(photo).convert("RGB")).unsqueeze(0)
                probability, index = torch.softmax(network(image), dim=1).max(dim=1)
                writer.writerow([photo, CLASSES[index.item()], probability.item()])

    return run


def ours(model: rk.Model, photos: Sequence[str]) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with output.to_file(path, top_k=1) as write:
            for prediction in model.predict_many(list(photos), top_k=1):
                write(prediction)

    return run


def decoded_per_second(photos: Sequence[str]) -> float:
    """Return how many photos all cores decode, resize and crop in a second, and nothing else."""
    pictures, preprocess = open_pictures(*photos), Preprocess()
    speeds = []
    for _ in range(3):
        begun = time.perf_counter()
        done = sum(
            1
            for _ in _ahead(
                lambda item: preprocess.pixels(pictures.open(item)),
                pictures.items,
                threads=available_threads(),
                limit=32,
            )
        )
        speeds.append(done / (time.perf_counter() - begun))
    return statistics.median(speeds)


def benchmark_app(model: Path, precision: str) -> float:
    """Return what OpenVINO's benchmark_app measures for a bare network, images per second."""
    hint = "bf16" if precision == "bf16" else "f32"
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-d", "CPU", "-hint", "throughput",
        "-t", "6", "-shape", "[1,3,224,224]", "-infer_precision", hint,
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Throughput:\s+([\d.]+)", ran.stdout)
    assert found, ran.stdout
    return float(found[1])


if __name__ == "__main__":
    main()
