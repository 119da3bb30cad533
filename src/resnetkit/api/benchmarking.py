"""`benchmark`: every way to compute a model here, each in a process of its own, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from resnetkit import runtime as machine
from resnetkit.api.locating import locate
from resnetkit.api.model import Model, load
from resnetkit.data.dataset import Dataset
from resnetkit.data.sources import open_data, open_pictures
from resnetkit.errors import ResNetKitError, UsageError
from resnetkit.inference.speed import keep_speed, measure
from resnetkit.models.detection.sureness import Sureness
from resnetkit.watcher import Watcher

# A way that names so many pictures as the reference does may be recommended.
_SAME_ENOUGH = 0.99
_HALF = 0.5
# What is said of one picture: names, or of each object its name and the four edges of its box.
Told = list[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One way to compute a model: seconds, pictures per second, bytes, fractions.

    `load_s` from the beginning of loading to the first answer; `cold_start_s` the whole command `resnetkit predict` for
    one photo, prepared before; `memory_bytes` the most its process held; `agreement` with the first row's answers and
    `accuracy`, where the pictures have labels, on the data that were given: of detectors the share of objects that both
    find, and the mAP@.50.
    """

    model: str
    engine: str
    precision: str
    threads: int
    load_s: float
    cold_start_s: float
    latency_p50_s: float
    latency_p99_s: float
    images_per_second: float
    memory_bytes: int
    batch_size: int
    agreement: float | None = None
    accuracy: float | None = None
    pictures: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)


def benchmark(
    *models: str | Path,
    data: Sequence[str | Path] = (),
    seconds: float = 4.0,
    threads: int | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> list[Measured]:
    """Measure every way to compute each model on this machine, PyTorch in fp32, the reference, first.

    `data` are pictures on which the ways are compared; with labels that the model knows the test part, else the
    validation part, else all of them is scored too. Raises `UsageError` for a model there is not.
    """
    watcher = watcher or Watcher()
    if not seconds > 0:
        raise UsageError(f"seconds must be above 0, not {seconds}")
    if data:
        open_pictures(*data)  # what is missing is said before anything is measured
    ways = [(str(model), *way) for model in models for way in _ways(str(model), device, watcher)]
    rows: list[Measured] = []
    answers: list[list[Told]] = []
    with tempfile.TemporaryDirectory() as folder, watcher.counting("measuring") as progress:
        for number, (model, engine, precision) in enumerate(ways, start=1):
            asked = {
                "model": model, "engine": engine, "precision": precision, "seconds": seconds, "device": device,
                "threads": threads or machine.available_threads(), "data": [str(source) for source in data],
            }  # fmt: skip
            row, named = _measured_apart(asked, Path(folder))
            answers.append(named)
            rows.append(Measured(**row, agreement=_agreement(answers[0], named)))
            keep_speed(model, f"{engine} {precision}", rows[-1].images_per_second)
            progress(number, len(ways))
    return rows


def recommended(rows: Sequence[Measured]) -> Measured:
    """Return the fastest way among those that answer as the reference does (all, where nothing was compared)."""
    alike = [row for row in rows if row.agreement is None or row.agreement >= _SAME_ENOUGH]
    return max(alike or rows, key=lambda row: row.images_per_second)


def _ways(model: str, device: str, watcher: Watcher) -> list[tuple[str, str]]:
    """Return the engines and precisions that can compute a model here."""
    source = locate(model, watcher=watcher)
    source.check()
    exported = None if source.exported is None else source.exported
    if exported is not None and exported.precision == "int8":
        return [("openvino", "int8")]
    resolved = machine.resolve(device=device)
    precisions = ["fp32", *(["bf16"] if resolved.dtype == "bf16" else [])]
    graph = exported is not None and exported.format != "torchvision"
    engines = [*([] if graph else ["torch"]), *(["openvino"] if resolved.device == "cpu" else [])]
    return [(engine, precision) for engine in engines for precision in precisions]


def _measured_apart(asked: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Told]]:
    """Measure one way in a process of its own: nothing loaded before, and its memory alone."""
    call = "import sys; from resnetkit.api.benchmarking import worker; worker(sys.argv[1])"
    ran = subprocess.run([sys.executable, "-c", call, json.dumps(asked)], capture_output=True, text=True)
    if ran.returncode != 0:
        last = ran.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        raise ResNetKitError(f"{asked['model']} with {asked['engine']} in {asked['precision']}: {last[0]}")
    row = json.loads(ran.stdout.splitlines()[-1])
    named = row.pop("named")
    return row | {"cold_start_s": _cold_start(asked, row.pop("page"), folder)}, named


def worker(asked_text: str) -> None:
    """Measure one way in this process and print it as JSON; `benchmark` starts it."""
    import numpy as np

    asked = json.loads(asked_text)
    begun = time.perf_counter()
    model = load(
        asked["model"], engine=asked["engine"], precision=asked["precision"], threads=asked["threads"],
        device=asked["device"],
    )  # fmt: skip
    preprocess = model.header.preprocess
    pixels = np.random.default_rng(0).integers(0, 256, (*preprocess.frame, preprocess.channels), dtype=np.uint8)
    model.engine.logits(pixels[None])
    load_s = time.perf_counter() - begun
    speed = measure(model.engine, pixels, seconds=asked["seconds"])
    memory = machine.peak_memory()
    named, accuracy = _answered(model, asked["data"]) if asked["data"] else ([], None)
    row = {
        "model": asked["model"], "engine": asked["engine"], "precision": asked["precision"],
        "threads": asked["threads"], "load_s": load_s, "latency_p50_s": speed.latency_p50_s,
        "latency_p99_s": speed.latency_p99_s, "images_per_second": speed.images_per_second, "memory_bytes": memory,
        "batch_size": model.engine.batch_size, "named": named, "page": preprocess.page, "accuracy": accuracy,
        "pictures": len(named),
    }  # fmt: skip
    print(json.dumps(row))


def _cold_start(asked: dict[str, Any], page: int, folder: Path) -> float:
    """Return the seconds of the whole command for one photo, which lies on that page, the faster of two."""
    import numpy as np
    from PIL import Image

    photo = folder / ("photo.jpg" if page == 1 else f"page-{page}.tif")
    if not photo.exists():
        noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        first, *others = [Image.new("L", (1, 1))] * (page - 1) + [Image.fromarray(noise).resize((640, 480))]
        several: dict[str, Any] = {"save_all": True, "append_images": others} if others else {}
        first.save(photo, **several)
    command = [
        sys.executable, "-m", "resnetkit", "predict", str(photo), "--model", asked["model"], "--quiet", "--engine",
        asked["engine"], "--precision", asked["precision"], "--threads", str(asked["threads"]), "--device",
        asked["device"],
    ]  # fmt: skip
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return min(times)


def _answered(model: Model, data: Sequence[str]) -> tuple[list[Told], float | None]:
    """Return what the model says of each picture, and how many of them it calls right where they have labels.

    Of a detector the objects, and its mAP@.50 where they are marked.
    """
    pictures = _pictures(data, model)
    if isinstance(model.decision, Sureness):
        return _found(model, model.decision, pictures)
    named: list[Told] = [sorted(answer.names) for answer in model.predictor.predict_many(pictures, top_k=1)]
    labels = [None if item.labels is None else sorted(item.labels) for item in pictures.items]
    if None in labels:
        return named, None
    return named, sum(label == name for label, name in zip(labels, named, strict=True)) / len(named)


def _found(model: Model, decision: Sureness, pictures: Dataset) -> tuple[list[Told], float | None]:
    from resnetkit.api.int8 import map50_of

    everything = Sureness(at=(0.0,) * len(model.classes))
    answers = list(replace(model.predictor, decision=everything).predict_many(pictures))
    least = dict(zip(model.classes, decision.of(len(model.classes)), strict=True))
    told: list[Told] = [
        [[one.label, *one.box] for one in answer.objects or () if one.score >= least[one.label]] for answer in answers
    ]
    marked = pictures.objects != "none" and any(item.marks for item in pictures.items)
    return told, map50_of(pictures.items, answers, model.classes) if marked else None


def _pictures(data: Sequence[str], model: Model) -> Dataset:
    """Return the pictures to compare on, with labels where the model knows all of them."""
    from resnetkit.evaluation.evaluate import choose_split

    try:
        labelled = open_data(*data, task=model.header.task)
    except ResNetKitError:
        return open_pictures(*data)
    unmarked = model.gives == "objects" and labelled.objects == "none"
    if unmarked or not set(labelled.classes) <= set(model.classes):
        return open_pictures(*data)
    part = choose_split("auto", {item.split or "train" for item in labelled.items})
    items = tuple(item for item in labelled.items if part == "all" or item.split == part)
    return replace(labelled, items=items)


def _agreement(reference: list[Told], named: list[Told]) -> float | None:
    """Return the share of pictures that two ways call the same, or of objects that both find; None where none are."""
    if not named or len(reference) != len(named):
        return None
    pairs = list(zip(reference, named, strict=True))
    if all(isinstance(one, str) for told in (*reference, *named) for one in told):
        return sum(a == b for a, b in pairs) / len(named)
    either = sum(max(len(a), len(b)) for a, b in pairs)
    return sum(_both(a, b) for a, b in pairs) / either if either else 1.0


def _both(reference: Told, named: Told) -> int:
    """Return how many objects of one class overlap by half, each counted once."""
    import numpy as np

    from resnetkit.evaluation.detection.overlaps import box_overlaps

    if not reference or not named:
        return 0
    boxes, others = (np.array([one[1:] for one in told], float) for told in (reference, named))
    same = np.array([[one[0] == other[0] for other in named] for one in reference])
    overlap, count = box_overlaps(boxes, others) * same, 0
    for row in overlap:
        nearest = int(row.argmax())
        if row[nearest] >= _HALF:
            count += 1
            overlap[:, nearest] = 0
    return count
