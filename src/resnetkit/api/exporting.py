"""Handing a model over: an export folder, checked against the model before it appears."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit import files
from resnetkit.api import int8 as quantising
from resnetkit.api.locating import Source, locate, run_of
from resnetkit.api.references import carry
from resnetkit.data.frames import of_files
from resnetkit.data.opening.windows import FILE
from resnetkit.errors import ResNetKitError, ResourceError, UsageError, missing_extra
from resnetkit.exporting.folder import FORMATS, Exported, Format, Reads
from resnetkit.models.checkpoint import DETECTION, MULTILABEL, read_header
from resnetkit.models.decision import Decision
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.runtime import Runtime, available_threads
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.data.dataset import Dataset, Item
    from resnetkit.data.preprocess import Preprocess
    from resnetkit.exporting.int8 import Cost
    from resnetkit.exporting.parity import Differ, Parity, Reference
    from resnetkit.models.checkpoint import Header
    from resnetkit.training.run import RunFolder
    from resnetkit.watcher import Count

# Enough for every kind of file a folder has, in well under a minute.
_MOST_COMPARED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """A finished export folder, how it was compared with the model, and what int8 costs where it is in int8.

    `whose`: the pictures it was compared on, in words.
    """

    exported: Exported
    parity: Parity
    whose: str
    cost: Cost | None = None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.exported.folder


def export(
    model: str | Path,
    *,
    to: str = "openvino",
    preprocess: str = "inside",
    images: Sequence[str | Path] = (),
    int8: bool = False,
    calibrate: Sequence[str | Path] = (),
    max_loss: float | None = None,
    output: str | Path | None = None,
    weights: str | Path | None = None,
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Export:
    """Write a model as a folder that needs nothing of this package, and compare the two on pictures.

    `to` is openvino, onnx or torchvision. With `preprocess` inside the graph reads a decoded picture of any size and
    answers with probabilities; outside it is the bare network, and `preprocess.json` says what comes before it
    (torchvision: always). `images` are the pictures to compare on: without any those that the model's run held out,
    and generated ones where there are none. With `int8` the graph is calibrated and scored on the labelled pictures
    `calibrate`, and may lose `max_loss` (a fraction; 0.01, of a detector 0.005) of its accuracy, of a detector of its
    mAP@.50. Raises `DataError`, and writes nothing, where the export answers otherwise than the model, or loses more.
    """
    watcher = watcher or Watcher()
    format, reads = _known(to, preprocess)
    _check_int8(int8, format, calibrate)
    source = locate(str(model), weights=weights, watcher=watcher)
    place = _free(f"{Path(source.name).stem}-{'int8-' * int8}{format}" if output is None else output)
    source.check()
    header, tensors = source.tensors()
    pictures, whose = _pictures(images, run_of(model), header.preprocess)
    _check_exportable(header, source.name, int8=int8, reads=reads)
    source.tell(header, watcher)
    memory = source.memory(header)
    runtime = Runtime(threads=threads or available_threads())
    calibrating = None
    if int8:
        calibrating = quantising.calibration(
            calibrate, classes=header.classes, memory=memory, name=source.name, watcher=watcher,
            threads=runtime.threads, page=header.preprocess.page, frames=header.preprocess.frames,
            task=header.task,
        )  # fmt: skip
    seen = (
        memory.tells
        if calibrating is None
        else memory.tells.and_calibrated(calibrating.keys, dicom=calibrating.ours.dicom > 0)
    )
    header = _for_others(dataclasses.replace(header, trained_on=seen))
    with _appearing(place) as making:
        made = Exported(
            folder=making, name=source.name, format=format, reads=reads, header=header,
            torchvision=_torchvision(format, header), precision="int8" if int8 else "fp32",
        )  # fmt: skip
        _write(made, tensors, None if calibrating is None else calibrating.ours)
        carry(source, made, dicom=seen.dicom)
        cost = None
        if calibrating is not None:
            cost = quantising.cost(
                source, made, calibrating.others, calibrated_on=len(calibrating.ours), runtime=runtime, watcher=watcher
            )
            _count_look(calibrating, run_of(str(model)))
            cost.check(max_loss=max_loss)
        parity = _compared(made, _reference(source, runtime), pictures, watcher)
        _describe(made, parity, whose, cost)
    return Export(exported=dataclasses.replace(made, folder=place), parity=parity, whose=whose, cost=cost)


def _for_others(header: Header) -> Header:
    """Return the header without digests of pictures where any were DICOM files, whose tags were read."""
    seen = header.trained_on
    if not seen.dicom:
        return header
    return dataclasses.replace(
        header, trained_on=seen.for_others(), decision=dataclasses.replace(header.decision, fitted_to=None),
        data={name: value for name, value in header.data.items() if name != "fingerprint"},
    )  # fmt: skip


def _free(output: str | Path) -> Path:
    """Return the folder to write; raises `UsageError` where something lies there, or nothing can."""
    if (place := Path(output)).exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"--output {place}: is there already; name another folder, or take it away")
    files.check_place(place, "--output")
    return place


def _check_exportable(header: Header, name: str, *, int8: bool, reads: Reads) -> None:
    if header.preprocess.channels not in (1, 3):
        raise UsageError(
            f"{name} reads {header.preprocess.channels} bands, and exports read colour or grey pictures: "
            "predict with the checkpoint"
        )
    if (asked := header.preprocess.windows) and (int8 or reads != "picture" or FILE in asked):
        raise UsageError(
            f"{name} reads windows of measured values, which exports have inside the graph, in fp32 and by numbers: "
            "leave --int8, --to torchvision and --preprocess outside out, and train with numbers in place of file"
        )
    if isinstance(header.decision, Decision) and header.decision.point and header.decision.point.prevalence:
        raise UsageError(
            f"{name} was saved with a stated prevalence, and exports have the probabilities of the network: export the "
            "model that it was loaded from"
        )
    if int8 and header.task == MULTILABEL:
        raise UsageError(f"--int8 scores one class per picture, and {name} gives several labels: leave it out")


def _count_look(calibrating: quantising.Calibration, run: RunFolder | None) -> None:
    from resnetkit.training.run import looked_at_test

    if run is not None and calibrating.part == "test":
        looked_at_test(run, calibrating.name)


def _check_int8(int8: bool, format: Format, calibrate: Sequence[str | Path]) -> None:
    if int8 and format != "openvino":
        raise UsageError(f"--int8 is for OpenVINO, not for {format}: leave --to out")
    if int8 and not calibrate:
        raise UsageError("--int8 is calibrated and scored on labelled pictures: name them with --calibrate DATA")
    if calibrate and not int8:
        raise UsageError("--calibrate is for --int8: add that, or leave it out")


def _known(to: str, preprocess: str) -> tuple[Format, Reads]:
    for format in FORMATS:
        if format == to:
            if preprocess not in ("inside", "outside"):
                raise UsageError(f"unknown preprocess {preprocess!r}: choose inside, outside")
            return format, "picture" if preprocess == "inside" and format != "torchvision" else "images"
    raise UsageError(f"unknown format {to!r}: choose {', '.join(FORMATS)}")


def _torchvision(format: Format, header: Header) -> str | None:
    from resnetkit.exporting.formats import torchvision_detector, torchvision_network

    if format != "torchvision":
        return None
    spec = header.spec
    return torchvision_detector(spec) if isinstance(spec, DetectorSpec) else torchvision_network(spec)


def _write(made: Exported, tensors: Mapping[str, np.ndarray], calibrating: Dataset | None) -> None:
    from resnetkit.exporting import formats
    from resnetkit.exporting.int8 import quantised

    temperature = made.header.decision.temperature
    if calibrating is None:
        formats.write(made, tensors, temperature=temperature)
    else:
        model = formats.openvino_model(made, tensors, temperature=temperature)
        formats.write_openvino(made, quantised(model, quantising.inputs(calibrating, made)))
    made.write_record()


def _reference(source: Source, runtime: Runtime) -> Reference:
    """Return what maps `[1, S, S, C] uint8` pixels, and the picture's size, to an answer: PyTorch in fp32."""
    from resnetkit.inference.engines import TorchEngine

    network, header = source.open()
    runtime.apply()
    engine = TorchEngine(network, header.preprocess, runtime)
    if header.task != DETECTION:
        return lambda pixels, size: header.decision.probabilities(engine.logits(pixels))[0]

    def found(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        width, height = size
        [row] = engine.logits(pixels)
        return Found.of(row, header.preprocess.view(width, height), width=width, height=height).rows()

    return found


def _compared(
    made: Exported, reference: Reference, pictures: Iterator[tuple[str, bytes]], watcher: Watcher
) -> Parity:  # fmt: skip
    from resnetkit.exporting.parity import compare

    runtime = _runtime_of(made)
    with watcher.counting("comparing pictures") as progress:
        counted = _counting(pictures, progress)
        parity = compare(
            counted, reference=reference, exported=runtime, preprocess=made.header.preprocess,
            differ=_differ(made), of_objects=made.header.task == DETECTION,
        )  # fmt: skip
    if made.precision == "fp32":
        parity.check()
    return parity


def _differ(made: Exported) -> Differ:
    """Return how two answers differ: by the class told, or by the labels or objects above their thresholds."""
    from resnetkit.exporting.parity import by_costs, by_first_class, by_labels, by_objects, by_point
    from resnetkit.models.thresholds import Thresholds

    decision, count = made.header.decision, len(made.header.classes)
    if isinstance(decision, Thresholds):
        return by_labels(decision.of(count))
    if isinstance(decision, Sureness):
        return by_objects(decision.of(count), exact=made.precision == "fp32")
    by_one = by_first_class if decision.point is None else by_point(decision.point)
    return by_one if decision.costs is None else by_costs(decision.costs)


def _runtime_of(made: Exported) -> Callable[[np.ndarray], np.ndarray]:
    """Open the export with the very code of its `predict.py`."""
    record = made.to_json()
    if made.format == "onnx":
        if importlib.util.find_spec("onnxruntime") is None:
            raise missing_extra("ONNX exports, which are compared with the model before they appear,", "onnx")
        from resnetkit.exporting.standalone.onnx_runtime import opened as opened_onnx

        return opened_onnx(made.folder, record)
    if made.format == "openvino":
        from resnetkit.exporting.standalone.openvino_runtime import opened as opened_openvino
        from resnetkit.inference.openvino_library import begins_to_compute, library

        begins_to_compute()
        library()  # without what reports its use, before the code of `predict.py` imports it
        return opened_openvino(made.folder, record)
    if made.header.task == DETECTION:
        from resnetkit.exporting.standalone.torchvision_detector import opened as opened_detector

        return opened_detector(made.folder, record)
    from resnetkit.exporting.standalone.torchvision_runtime import opened as opened_torchvision

    return opened_torchvision(made.folder, record)


def _counting(pictures: Iterator[tuple[str, bytes]], progress: Count) -> Iterator[tuple[str, bytes]]:
    for number, picture in enumerate(pictures, start=1):
        yield picture
        progress(number, None)


def _pictures(
    given: Sequence[str | Path], run: RunFolder | None, preprocess: Preprocess
) -> tuple[Iterator[tuple[str, bytes]], str]:  # fmt: skip
    """Return up to `_MOST_COMPARED` picture files, spread over what there is, and whose they are, in words."""
    from resnetkit.data.sources import open_pictures

    if given:
        return _spread(open_pictures(*given), "pictures that were given", preprocess.page)
    if run is not None and (held_out := _held_out(run)) is not None:
        return _spread(held_out.on_page(1), "pictures that the run held out", preprocess.page)
    return _generated(preprocess), "generated pictures, none of yours (compare on yours with --images)"


def _held_out(run: RunFolder) -> Dataset | None:
    """Return the pictures of the run's test or validation part, or None where they are no longer there.

    Of a run of folds they are all, as each of them was held out once.
    """
    from resnetkit.data.sources import open_data
    from resnetkit.data.splits import read_split

    described = tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8"))
    try:
        header = read_header(run.best)
        data = open_data(*described["data"]["sources"], task=header.task)
        data = of_files(data, page=header.preprocess.page, frames=header.preprocess.frames)
    except ResNetKitError:
        return None
    parts = read_split(run.split)
    wanted = ("test", "train") if run.folds.is_dir() else ("test", "val")
    items = tuple(item for item in data.items if parts.get(item.source) in wanted)
    return dataclasses.replace(data, items=items) if items else None


def _spread(pictures: Dataset, whose: str, page: int) -> tuple[Iterator[tuple[str, bytes]], str]:
    count = min(len(pictures), _MOST_COMPARED)
    chosen = [pictures.items[number * len(pictures) // count] for number in range(count)]
    share = "" if count == len(pictures) else f"{count} of "
    return (_content(pictures, item, page) for item in chosen), f"{share}the {len(pictures):,} {whose}"


def _content(pictures: Dataset, item: Item, page: int) -> tuple[str, bytes]:
    content = pictures.read(item)
    return item.source, content if isinstance(content, bytes) else _file(content, page)


def _generated(preprocess: Preprocess) -> Iterator[tuple[str, bytes]]:
    """Yield smooth noise in several shapes, for windows of 12 bits."""
    import numpy as np

    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate(((32, 32), (480, 640), (640, 480), (300, 1000), (97, 31), (1200, 1600))):
        coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        shown = pixels[..., 0].astype(np.uint16) * 16 if preprocess.windows else pixels
        yield f"generated {number + 1}", _file(shown, preprocess.page)


def _file(pixels: np.ndarray, page: int) -> bytes:
    """Return a file that has the picture on that page."""
    from PIL import Image

    content = io.BytesIO()
    first, *others = [Image.new("L", (1, 1))] * (page - 1) + [Image.fromarray(pixels)]
    first.save(content, format="TIFF", save_all=True, append_images=others)
    return content.getvalue()


def _describe(made: Exported, parity: Parity, whose: str, cost: Cost | None) -> None:
    """Write what goes with the model: the script, the card, how it was compared, and the preprocessing."""
    from resnetkit.exporting.card import write_card, write_license
    from resnetkit.exporting.script import write_script

    write_script(made)
    compared = parity.to_json() | {"compared_on": whose} | ({"int8": cost.to_json()} if cost else {})
    files.write_text(made.folder / "parity.json", json.dumps(compared, indent=1) + "\n")
    if made.reads == "images":
        preprocess = made.header.preprocess
        described = {"input": [None, preprocess.channels, *preprocess.frame], "preprocess": preprocess.to_json()}
        files.write_text(made.folder / "preprocess.json", json.dumps(described, indent=1) + "\n")
    write_card(made, parity, whose, cost)
    write_license(made)


@contextlib.contextmanager
def _appearing(place: Path) -> Iterator[Path]:
    """Yield a folder beside `place` that takes its name when the block ends well, and is gone otherwise."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{place.name[:80]}.", dir=place.parent))
    except OSError as error:
        raise ResourceError(f"--output {place}: cannot be written ({error.strerror}); name another place") from error
    try:
        yield making
        os.chmod(making, 0o755)
        if place.is_dir():
            place.rmdir()  # an empty one, as was seen before
        os.rename(making, place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
