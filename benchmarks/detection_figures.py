"""The figures of found objects are those of pycocotools, in a fraction of the seconds.

    python benchmarks/detection_figures.py [--pictures 5000] [--classes 20]

Synthetic pictures with about 7 objects each. Prints the processor's seconds of COCO's figures by pycocotools and by us,
of one matching, of 1,000 draws for the intervals, and of everything in metrics.json; and how far the 12 figures are
apart.
"""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.evaluation.detection.average_precision import average_precision
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import detection_metrics
from resnetkit.evaluation.detection.overlaps import corner_and_size
from resnetkit.evaluation.detection.resampling import average_precisions, draws
from resnetkit.models.detection.found import Found

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.evaluation.detection.scenes import SIZE, scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5_000)
    parser.add_argument("--classes", type=int, default=20)
    asked = parser.parse_args()
    truths, founds = scenes(0, asked.pictures, classes=asked.classes, mean=7)
    print(f"{asked.pictures:,} pictures, {sum(map(len, truths)):,} objects, {sum(map(len, founds)):,} found")
    gold = timed("pycocotools", lambda: by_pycocotools(truths, founds, asked.classes))
    ours = timed("COCO's figures", lambda: average_precision(truths, founds, num_classes=asked.classes))
    matches = timed("matching", lambda: matched(truths, founds, num_classes=asked.classes))
    timed("1,000 draws", lambda: average_precisions(matches, draws(asked.pictures, None)))
    timed("all of metrics.json", lambda: detection_metrics(
        truths, founds, matches=matches, sizes=[SIZE] * asked.pictures, classes=[str(k) for k in range(asked.classes)],
        at=np.full(asked.classes, 0.5), split="test",
    ))  # fmt: skip
    values = [
        ours.map, ours.map50, ours.map75, *ours.map_by_size.values(), *ours.recall_by_most.values(),
        *ours.recall_by_size.values(),
    ]  # fmt: skip
    print(f"apart by {max(abs((a or 0) - b) for a, b in zip(values, gold.tolist(), strict=True)):.1e} at most")


def timed(name: str, run: Callable[[], Any]) -> Any:
    """Return what `run` returns, and print its seconds."""
    start = time.process_time()
    found = run()
    print(f"{name:20} {time.process_time() - start:6.1f} s", flush=True)
    return found


def by_pycocotools(truths: Sequence[Truth], founds: Sequence[Found], classes: int) -> np.ndarray:
    """Return the 12 figures of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true = [
        {"image_id": n, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
        for n, one in enumerate(truths)
        for label, box, crowd in zip(one.labels.tolist(), corner_and_size(one.boxes).tolist(), one.crowd, strict=True)
    ]
    said = [
        {"image_id": n, "category_id": label, "bbox": box, "score": score}
        for n, one in enumerate(founds)
        for label, box, score in zip(
            one.labels.tolist(), corner_and_size(one.boxes).tolist(), one.scores.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gold = COCO()
        gold.dataset = {
            "images": [{"id": n, "width": SIZE[0], "height": SIZE[1]} for n in range(len(truths))],
            "categories": [{"id": k, "name": str(k)} for k in range(classes)],
            "annotations": [{"id": number, **one} for number, one in enumerate(true, start=1)],
        }
        gold.createIndex()
        evaluation = COCOeval(gold, gold.loadRes(said), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


if __name__ == "__main__":
    main()
