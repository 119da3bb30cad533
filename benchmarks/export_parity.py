"""Exports against PyTorch on real photos: pixels, probabilities, first classes; a large photo; the bare network.

    python benchmarks/export_parity.py --photos PHOTOS [--model MODEL]

Without --model it is a ResNet-18 with random weights. Every photo goes as a decoded picture of its own size through the
OpenVINO and the ONNX graph in fp32, and through Pillow and PyTorch in fp32. The bare networks get normalised images at
batches of 1, 2, 7 and 32. The large photo has 12 megapixels: milliseconds (median of 5) and the memory it adds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image

import resnetkit as rk
from predict_folder import made
from resnetkit.data.batches import normalise
from resnetkit.data.sources import open_pictures
from resnetkit.inference.openvino_library import core
from resnetkit.inference.resizing import RESIZED
from resnetkit.runtime import cpu_name, peak_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or made("resnet18", folder)
        for preprocess in ("inside", "outside"):
            for to in ("openvino", "onnx"):
                rk.export(model, to=to, preprocess=preprocess, output=folder / f"{to}-{preprocess}")
        print(f"{cpu_name()}; {model if options.model else 'resnet18, random weights'}")
        whole(folder, model, options.photos)
        bare(folder, model)
        large(folder)


def runners(folder: Path, place: str) -> dict:
    """Return what runs each export on an array."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core().compile_model(str(folder / f"openvino-{place}" / "model.xml"), "CPU", settings)
    session = onnxruntime.InferenceSession(str(folder / f"onnx-{place}" / "model.onnx"))
    [given] = session.get_inputs()
    return {
        "OpenVINO": lambda array: compiled(array)[0],
        "ONNX Runtime": lambda array: session.run(None, {given.name: array})[0],
    }


def whole(folder: Path, model: str | Path, photos: Path) -> None:
    reference = rk.load(model, engine="torch", precision="fp32")
    preprocess, pictures = reference.header.preprocess, open_pictures(str(photos))
    graph = core().read_model(folder / "openvino-inside" / "model.xml")
    [resized] = [out for node in graph.get_ops() for out in node.outputs() if RESIZED in out.get_names()]
    graph.add_outputs([resized])
    pixels_of = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ways = runners(folder, "inside")
    largest, same, other_pixels, num_pixels = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0), 0, 0
    for item in pictures.items:
        image = pictures.open(item)
        decoded, pixels = np.asarray(preprocess.convert(image))[None], preprocess.pixels(image)
        if decoded.ndim == 3:
            decoded = decoded[..., None]
        expected = reference.decision.probabilities(reference.engine.logits(pixels[None]))[0]
        other_pixels += int((pixels_of(decoded)[RESIZED][0] != pixels).sum())
        num_pixels += pixels.size
        for way, run in ways.items():
            answer = run(decoded)[0]
            largest[way] = max(largest[way], float(abs(answer - expected).max()))
            same[way] += int(answer.argmax() == expected.argmax())
    print(f"{len(pictures)} photos: {other_pixels} of {num_pixels:,} pixel values differ from Pillow's (OpenVINO)")
    for way in ways:
        print(f"  {way:<13} largest probability difference {largest[way]:.1e}, first class the same {same[way]}")


def bare(folder: Path, model: str | Path) -> None:
    reference = rk.load(model, engine="torch", precision="fp32")
    preprocess = reference.header.preprocess
    side, ways = preprocess.size, runners(folder, "outside")
    for count in (1, 2, 7, 32):
        pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, preprocess.channels), dtype=np.uint8)
        images = normalise(torch.from_numpy(pixels), preprocess, memory_format=torch.contiguous_format).numpy()
        expected = reference.engine.logits(pixels)
        off = {way: abs(run(images) - expected).max() / abs(expected).max() for way, run in ways.items()}
        print(f"bare network, batch {count:<2}  " + ", ".join(f"{way} {value:.1e}" for way, value in off.items()))


def large(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (75, 100, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(noise).resize((4000, 3000)))[None]
    for way, run in runners(folder, "inside").items():
        run(np.asarray(Image.fromarray(photo[0]).resize((640, 480)))[None])
        before, times = peak_memory(), []
        for _ in range(5):
            begun = time.perf_counter()
            run(photo)
            times.append(time.perf_counter() - begun)
        memory = (peak_memory() - before) / 1e6
        print(f"12 megapixels, {way:<13} {1e3 * statistics.median(times):.0f} ms, {memory:.0f} MB more")


if __name__ == "__main__":
    main()
