"""The command: names pictures and prints the most probable classes, or the objects on them."""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

from resnetkit.data.opening.pages import used
from resnetkit.data.shape import check_shape
from resnetkit.exporting.standalone.onnx_runtime import opened
from resnetkit.exporting.standalone.pictures import holds_several, read, read_values


def main() -> None:
    """Name each picture of the command line; the exit code is 1 where one could not be read."""
    folder = Path(__file__).resolve().parent
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    header, failed = record["header"], False
    preprocess = header["preprocess"]
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    run, page = opened(folder, record), preprocess.get("page", 1)
    for path in sys.argv[1:]:
        try:
            data = Path(path).read_bytes()
            windowed, channels = preprocess.get("windows"), preprocess["channels"]
            picture = read_values(data, page) if windowed else read(data, channels, preprocess["depth"], page)
            height, width, _ = picture.shape
            frame = preprocess["size"], preprocess.get("width") or preprocess["size"]
            check_shape(width, height, crop=preprocess["crop"], resize=preprocess["resize"], frame=frame)
        except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error) as problem:
            print(f"{path}: {problem}", file=sys.stderr)
            failed = True
            continue
        if holds_several(data):
            print(f"{path}: holds several frames or pages: {used(page)} was used", file=sys.stderr)
        print(f"{path}: {answer(run(picture).tolist(), header)}")
    sys.exit(int(failed))


def objects(rows: list[list[float]], header: dict[str, Any]) -> str:
    """Return the objects in words, the surest first, a line each: class, how sure, and the edges of the box in pixels.

    How sure is the probability that the box is right, or its score where held-out pictures were too few to tell.
    """
    classes = header["classes"]
    least = header["decision"].get("at") or [0.5] * len(classes)
    said = sorted((row for row in rows if row[5] >= 0 and row[4] >= least[int(row[5])]), key=lambda row: -row[4])
    lines = [
        f"  {classes[int(row[5])]} {100 * sure(row[4], header):.1f} % left {row[0]:.1f} top {row[1]:.1f} "
        f"right {row[2]:.1f} bottom {row[3]:.1f}"
        for row in said
    ]
    return "\n".join([f"{len(said)} objects" if len(said) != 1 else "1 object", *lines])


def sure(score: float, header: dict[str, Any]) -> float:
    """Return the probability that a box of a score is right, the score where it is not known."""
    platt = header["decision"].get("platt")
    if not platt:
        return score
    within = min(max(score, 1e-6), 1 - 1e-6)
    return 1 / (1 + math.exp(-(platt["slope"] * math.log(within / (1 - within)) + platt["offset"])))


def answer(told: list[Any], header: dict[str, Any]) -> str:
    """Return the most probable classes in words; of several labels those that the picture has, of a detector objects.

    `told`: the probability of each class, or rows of objects.
    """
    if header["task"] == "detection":
        return objects(told, header)
    probabilities, classes, decision = told, header["classes"], header["decision"]
    best = sorted(zip(probabilities, classes, strict=True), reverse=True)
    if header["task"] == "multilabel":
        least = dict(zip(classes, decision.get("at") or [0.5] * len(classes), strict=True))
        best = [(p, name) for p, name in best if p >= least[name]]
        return ", ".join(f"{name} {100 * p:.1f} %" for p, name in best) or "none"
    if point := decision.get("point"):
        # The class that is looked for is told from its own probability on, else the best of the others.
        sought = classes[point["finding"]]
        others = next(name for _, name in best if name != sought)
        said = sought if probabilities[point["finding"]] >= point["at"] else others
        best.sort(key=lambda entry: entry[1] != said)
    if costs := decision.get("costs"):
        # The class is told that costs least on average; an error that is not listed costs 1.
        cost = {(true, told): number for true, told, number in costs}
        everyone = range(len(classes))
        expected = {
            classes[j]: sum(probabilities[i] * cost.get((i, j), float(i != j)) for i in everyone) for j in everyone
        }
        said = min(best, key=lambda entry: expected[entry[1]])[1]
        best.sort(key=lambda entry: entry[1] != said)
    threshold = decision.get("threshold")
    unsure = "not sure: " if threshold is not None and best[0][0] < threshold else ""
    return unsure + ", ".join(f"{name} {100 * p:.1f} %" for p, name in best[:5])


if __name__ == "__main__":
    main()
