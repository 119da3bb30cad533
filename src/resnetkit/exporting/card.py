"""The card of an export: what the model is, how good, trained on what, and the lines to use it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit import files
from resnetkit.data.dataset import NUMBERED
from resnetkit.data.preprocess import Preprocess
from resnetkit.exporting.folder import Exported
from resnetkit.exporting.int8 import Cost
from resnetkit.exporting.parity import Parity
from resnetkit.exporting.script import needed
from resnetkit.models.checkpoint import DETECTION, MULTILABEL, Header
from resnetkit.models.choice import choice_in
from resnetkit.models.decision import Decision
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.words import NO_MEDICAL_DEVICE, percent

LICENSE = "LICENSE.txt"
_WIDTH = 78
_MOST_CLASSES = 20


def write_card(exported: Exported, parity: Parity, whose: str, cost: Cost | None) -> None:
    """Write `README.txt`."""
    header = exported.header
    paragraphs = [
        f"{exported.name}: {_what(header)}, for {_RUNTIME[exported.format]}",
        f"Use it:\n\n    pip install {needed(exported.format)}\n    python predict.py PHOTO...",
        _classes(header.classes),
        _accuracy(header.metrics),
        _folds(header.metrics),
        _chosen(header),
        _trained_on(header),
        f"Licence of the weights: {header.license_in_short}{', in full in ' + LICENSE if header.license_text else ''}.",
        _input(exported),
        _costs(header),
        "" if cost is None else _cost(cost),
        f"Compared with the original on {whose}: {_same(header, parity)} (parity.json).",
        NO_MEDICAL_DEVICE,
    ]
    text = "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs if paragraph)
    files.write_text(exported.folder / "README.txt", text + "\n")


def write_license(exported: Exported) -> None:
    """Write `LICENSE.txt` where the licence of the weights is a text that goes with them."""
    if exported.header.license_text:
        files.write_text(exported.folder / LICENSE, exported.header.license_text)


_RUNTIME = {"openvino": "OpenVINO", "onnx": "ONNX Runtime", "torchvision": "torchvision"}


def _what(header: Header) -> str:
    if not isinstance(header.spec, DetectorSpec):
        return "a ResNet that names pictures"
    kind, finds = ("Mask R-CNN", "objects and their masks") if header.spec.masks else ("Faster R-CNN", "objects")
    return f"a {kind} on a ResNet that finds {finds}"


def _same(header: Header, parity: Parity) -> str:
    if header.task == DETECTION:
        return parity.words
    same = "the labels are the same" if header.task == MULTILABEL else "the first class is the same"
    return (
        f"{same} for {parity.same_top1} of {parity.pictures}, probabilities differ by at most "
        f"{parity.largest_difference:.1e}"
    )


def _wrapped(paragraph: str) -> str:
    if "\n\n    " in paragraph:
        return paragraph
    return textwrap.fill(paragraph, _WIDTH)


def _classes(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:_MOST_CLASSES])
    more = ", ... (all in record.json)" if len(classes) > _MOST_CLASSES else ""
    return f"{len(classes)} classes: {shown}{more}."


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """Say the accuracy with its interval, where it was measured."""
    if metrics.get("map") is not None and metrics.get("count"):
        return _found(metrics) if "map50" in metrics else _precision(metrics)
    top1, count = metrics.get("top1"), metrics.get("count")
    if top1 is None or not count:
        return "Accuracy: not measured."
    between = _between(metrics.get("top1_interval"))
    return (
        f"Accuracy: {percent(top1)} of {count:,} {_PART.get(metrics.get('split', ''), 'other')} pictures{between}."
        if "top1_counted" not in metrics
        else f"Accuracy: {percent(top1)} of new pictures{between}, corrected for the choice of the epoch on these "
        f"{count:,}, of which {percent(metrics['top1_counted'])} are right."
    )


def _found(metrics: Mapping[str, Any]) -> str:
    """Say how well objects are found."""
    return (
        f"Mean average precision of its boxes: {percent(metrics['map50'])}{_between(metrics.get('map50_interval'))} at "
        f"an overlap of .50, {percent(metrics['map'])}{_between(metrics.get('map_interval'))} over .50:.95, on "
        f"{metrics['count']:,} {_PART.get(metrics.get('split', ''), 'other')} pictures."
    )


def _between(interval: Sequence[float] | None) -> str:
    return f" (95 % interval {100 * interval[0]:.1f} to {percent(interval[1])})" if interval else ""


def _precision(metrics: Mapping[str, Any]) -> str:
    """Say how well labels are told, where a picture may have several."""
    between = _between(metrics["map_interval"])
    return (
        f"Mean average precision of its labels: {percent(metrics['map'])}{between} on {metrics['count']:,} "
        f"{_PART.get(metrics.get('split', ''), 'other')} pictures; all labels right on "
        f"{percent(metrics['exact_match'])}."
    )


def _folds(metrics: Mapping[str, Any]) -> str:
    """Say whose accuracy it is where folds of the training pictures were held out in turn."""
    folds = metrics.get("folds")
    if not folds:
        return ""
    if metrics.get("split") == "folds":
        return f"That is {folds['says']}: its networks were trained like it, each on all pictures but those it named."
    if "map" in folds:
        return f"Cross-validated on {folds['pictures']:,} other pictures: {percent(folds['map'])}, {folds['says']}."
    return (
        f"Cross-validated, {percent(folds['top1'])} of {folds['pictures']:,} other pictures were right, "
        f"{folds['says']}."
    )


def _chosen(header: Header) -> str:
    """Say which epoch the weights are and what chose it, and where that makes the accuracy too good."""
    chosen = choice_in(header.chosen)
    if chosen is None:
        return ""
    also = (
        " Those pictures scored it too: its accuracy is too good."
        if "top1" in header.metrics.get("optimistic", ())
        else ""
    )
    return f"The weights are {chosen.words}.{also}"


_PART = {"test": "test", "val": "held-out", "folds": "held-out"}


def _trained_on(header: Header) -> str:
    data, seen = header.data, header.trained_on
    sources = data.get("name") or ", ".join(str(source) for source in data.get("sources", ()) if source != NUMBERED)
    count = data.get("counts", {}).get("train")
    if seen.pictures:
        said = f"Trained on: {sources + ', ' if sources else ''}{seen.words()}."
        return f"{said} {_NO_PROOF if seen.dicom else _PROOF}"
    stated = [*([sources] if sources else []), *([f"{count:,} pictures"] if isinstance(count, int) else [])]
    return f"Trained on: {', '.join(stated)}. Which pictures {seen.why}." if stated else "Trained on: not stated."


_NO_PROOF = (
    "No digest of them is in this folder, so it cannot leave them out when it is evaluated: they count like others. "
    "The run that it was exported from can."
)
_PROOF = (
    "record.json holds a digest of a few bytes of each: who has a picture can prove by it that it was in the training "
    "set. `resnetkit train --set remember=false` makes a model without them, which then cannot leave such pictures out "
    "when it is evaluated or trained further."
)


def _cost(cost: Cost) -> str:
    return f"In int8, calibrated on {cost.calibrated_on} pictures: {cost.words}."


def _input(exported: Exported) -> str:
    preprocess = exported.header.preprocess
    if exported.header.task == DETECTION:
        return _detector_input(exported)
    last = "sigmoid" if exported.header.task == MULTILABEL else "softmax"
    if exported.reads == "picture":
        return (
            f"The model reads `picture`, {_picture(preprocess)}, "
            f"and answers with `probabilities`: resize, crop, normalisation and {last} are inside it."
        )
    return (
        f"The model reads normalised images [N, {', '.join(map(str, (preprocess.channels, *preprocess.frame)))}] and "
        "answers with logits: preprocess.json says what comes before it, and predict.py does it."
    )


def _costs(header: Header) -> str:
    """Say by which costs of errors it decides, which whoever reads probabilities has to do too."""
    costs = header.decision.costs if isinstance(header.decision, Decision) else None
    if costs is None:
        return ""
    return (
        f"It decides by what errors cost ({costs.words(header.classes)}, others 1): the class told is that of the "
        "least expected cost, which need not be the most probable one. predict.py does so; whoever reads probabilities "
        "has to (decision.costs in record.json). An accuracy above that was measured before the costs were given is "
        "that of the most probable classes."
    )


def _picture(preprocess: Preprocess) -> str:
    if preprocess.windows:
        shown = ", ".join(preprocess.windows)
        return (
            "measured values [1, H, W, 1] in fp32, upright, of any size, of DICOM those after its rescaling and with "
            f"high values bright (the windows {shown}, centre and width, are inside)"
        )
    return f"a decoded upright picture [1, H, W, {preprocess.channels}] of bytes of any size"


def _of_boxes(header: Header) -> str:
    """Say how scores become probabilities, which whoever reads rows has to do."""
    decision = header.decision
    if not isinstance(decision, Sureness) or decision.platt is None:
        return "; scores are no probabilities"
    platt, tracks = decision.platt, decision.tracks
    of_tracks = "" if tracks is None else (
        f"; that of a track of boxes is {tracks.slope:g} times that of the mean of their probabilities, and "
        f"{tracks.offset:g} (decision.tracks)"
    )  # fmt: skip
    return (
        f"; the logit of the probability that a box is right is {platt.slope:g} times that of its score, and "
        f"{platt.offset:g} (decision.platt; predict.py tells it){of_tracks}"
    )


def _detector_input(exported: Exported) -> str:
    header = exported.header
    preprocess, masks = header.preprocess, getattr(header.spec, "masks", False)
    row = f"left, top, right, bottom in pixels of the %s, score, class from 0{', 28 x 28 of a mask' if masks else ''}"
    none = "rows of no object have the class -1; say those whose score is at least its class's in decision.at "
    where = none + f"(record.json; .5 where that is empty){_of_boxes(header)}"
    if exported.reads == "picture":
        return (
            f"The model reads `picture`, {_picture(preprocess)}, "
            f"and answers with `objects`, the surest first: {row % 'picture'}; {where}."
        )
    if exported.torchvision is not None:
        return (
            f"The weights fit torchvision's {exported.torchvision} with anchors of its own: network_of in predict.py "
            "builds it, and preprocess.json says what comes before it."
        )
    return (
        f"The model reads normalised images [N, {', '.join(map(str, (preprocess.channels, *preprocess.frame)))}] and "
        f"answers with `logits`, the surest first: {row % 'image'}; {where}. preprocess.json says what comes before "
        "it, and predict.py does it."
    )
