"""Why a model answers as it does: heat maps over pictures, and how good they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resnetkit.api.locating import locate, run_of
from resnetkit.api.model import Model
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.frames import of_files
from resnetkit.data.opening.images import Opened
from resnetkit.errors import DataError, ResNetKitError, UsageError, near_miss, problem_line
from resnetkit.files import safe_name, write_text
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.explaining.heatmaps import Explainer, Method
    from resnetkit.report.drawing.explanations import ClassMap

_SHOWN_SIDE = 600
METHOD_NAMES = {"gradcam": "Grad-CAM", "occlusion": "Occlusion"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What in one picture speaks for each of a few classes, most probable first; `error` where it cannot be read.

    `picture` is `[h, w, C] uint8`, the part of the picture that the model sees; each of `maps` has `label`,
    `probability`, `heat` `[S, S]` in [0, 1], `scores` and a `verdict` in words.
    """

    source: str
    method: str
    picture: np.ndarray | None = field(default=None, repr=False)
    maps: tuple[ClassMap, ...] = field(default=(), repr=False)
    error: str | None = None

    @property
    def status(self) -> Literal["ok", "error"]:
        """`ok`, or `error` where the picture cannot be read."""
        return "ok" if self.error is None else "error"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values, without the maps."""
        return {
            "source": self.source,
            "status": self.status,
            "method": self.method,
            "classes": [
                {
                    "label": one.label, "probability": round(one.probability, 6), "verdict": one.verdict,
                    **one.scores.to_json(),
                }
                for one in self.maps
            ],
            "error": self.error,
        }  # fmt: skip

    def save(self, folder: str | Path) -> Path:
        """Draw the picture beside its heat maps into `folder`, under a name that is free, and return the file."""
        from resnetkit.report.drawing.explanations import draw

        if self.picture is None:
            raise DataError(str(self.error))
        name = Path(self.source.rpartition("::")[2])
        path = free_file(Path(folder), safe_name(name.stem), ".png")
        draw(self.picture, self.maps, path, title=name.name, method=METHOD_NAMES[self.method])
        return path


def explain(
    *sources: str | Path,
    model: str | Path | Model = "resnet18",
    label: str | None = None,
    method: str = "gradcam",
    top_k: int = 3,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Iterator[Explanation]:
    """Yield for every picture what in it speaks for the class `label`, or for the `top_k` most probable ones.

    `method` is `gradcam` or `occlusion`, which takes longer and needs no gradients. A picture that cannot be read
    becomes an explanation with an error. Raises `UsageError` for a class or method there is not, for an export, which
    has no network to look into, and where the extra `explain` is not installed.
    """
    from resnetkit.data.sources import open_pictures

    pictures = open_pictures(*sources)
    opened = (
        model if isinstance(model, Model) else open_explainable(model, device=device, threads=threads, watcher=watcher)
    )
    return _explained(opened, pictures, label=label, method=method, top_k=top_k)


def explain_into(
    folder: Path, *sources: str, model: str, label: str | None, method: str, top_k: int, watcher: Watcher,
    **computing: Any,
) -> tuple[list[dict[str, Any]], Path]:  # fmt: skip
    """Draw what `explain` yields into a folder; return the figures, each with its `picture`, and the file they are in.

    Raises `UsageError` for a folder among the pictures.
    """
    from resnetkit.data.sources import open_pictures

    pictures, rows = open_pictures(*sources), list[dict[str, Any]]()
    _refuse_own_output(pictures, folder)
    if pictures.hidden is not None:
        watcher.note(pictures.hidden.words)
    opened = open_explainable(model, watcher=watcher, **computing)
    found = _explained(opened, pictures, label=label, method=method, top_k=top_k)
    with watcher.counting("explaining") as show:
        for number, explanation in enumerate(found, start=1):
            rows.append(
                explanation.to_json() | {"picture": None if explanation.error else explanation.save(folder).name}
            )
            show(number, len(pictures))
    path = free_file(folder, "explanations", ".json")
    write_text(path, json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return rows, path


def _refuse_own_output(pictures: Dataset, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    for root in pictures.roots:
        if folder.resolve().is_relative_to(Path(root).resolve()):
            raise UsageError(
                f"--output {folder}: lies inside {pictures.shown(root)}, and the heat maps would become part of those "
                "pictures; choose a folder outside of them"
            )


def _explained(model: Model, pictures: Dataset, *, label: str | None, method: str, top_k: int) -> Iterator[Explanation]:
    """Yield what `explain` does; wrong usage is told before the first picture is asked for."""
    maker, pictures = (
        Maker(model, method),
        of_files(pictures, page=model.header.preprocess.page, frames=model.header.preprocess.frames),
    )
    chosen = () if label is None else (maker.index_of(label),)
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, not {top_k}")
    return (_one(maker, pictures, item, chosen=chosen, top_k=top_k) for item in pictures.items)


def open_explainable(
    model: str | Path, *, device: str = "auto", threads: int | None = None, watcher: Watcher | None = None
) -> Model:
    """Open a model as PyTorch's network in fp32: OpenVINO's has no gradients. Raises as `explain` does."""
    from resnetkit import runtime as machine
    from resnetkit.explaining.heatmaps import require_captum

    require_captum()
    watcher = watcher or Watcher()
    source = locate(str(model), watcher=watcher)
    network, header = source.open()
    if header.decision.gives == "objects":
        raise UsageError(
            f"{source.name} finds objects, which explain has no maps for: predict --draw DIR shows what it finds, and "
            "predict --crops DIR makes pictures for a classifier, which can be explained"
        )
    source.tell(header, watcher)
    runtime = machine.resolve(device=device, precision="fp32", threads=threads)
    return Model(network, header, name=source.name, runtime=runtime, run=run_of(model), files=source.files)


class Maker:
    """A model that is ready to be looked into: heat maps with their scores, for one picture after the other."""

    def __init__(self, model: Model, method: str) -> None:
        from resnetkit.explaining.heatmaps import Explainer, known_method
        from resnetkit.inference.engines import TorchEngine
        from resnetkit.runtime import Runtime

        self.method: Method = known_method(method)
        model.header.check_names_pictures()
        self.model, self.preprocess, self.decision = model, model.header.preprocess, model.decision
        runtime = Runtime(device=model.runtime.device, dtype="fp32", threads=model.runtime.threads)
        runtime.apply()
        self.explainer: Explainer = Explainer(model.network.body, self.preprocess, device=runtime.device)
        self.engine = TorchEngine(self.explainer.network, self.preprocess, runtime)

    def index_of(self, label: str) -> int:
        """Return the output of a class by its name or alias; raises `UsageError` with the nearest."""
        classes = self.model.classes
        name = self.model.header.aliases.get(label, label)
        if name not in classes:
            hint = near_miss(label, classes) or f": it knows {', '.join(classes[:10])}{', ...' * (len(classes) > 10)}"
            raise UsageError(f"{self.model.name} has no class {label!r}{hint}")
        return classes.index(name)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Return `[N, K]` of `[N, S, S, C] uint8`."""
        return self.decision.probabilities(self.engine.logits(pixels))

    def maps(self, image: Opened, *, chosen: Sequence[int] = (), top_k: int = 3) -> tuple[ClassMap, ...]:
        """Return the maps of the `chosen` classes, or of the `top_k` most probable ones, with their scores."""
        import numpy as np

        from resnetkit.explaining.scores import score
        from resnetkit.report.drawing.explanations import ClassMap

        pixels = self.preprocess.pixels(image)
        answer = self.probabilities(pixels[None])[0]
        targets = list(chosen) or np.argsort(-answer, kind="stable")[:top_k].tolist()
        fill = np.round(255 * np.array(self.preprocess.mean))
        heats = self.explainer.heat(pixels, targets, method=self.method)
        scores = score(heats, targets, pixels, self.probabilities, fill=fill)
        return tuple(
            ClassMap(label=self.model.classes[target], probability=float(answer[target]), heat=heat, scores=scored)
            for target, heat, scored in zip(targets, heats, scores, strict=True)
        )


def _one(maker: Maker, pictures: Dataset, item: Item, *, chosen: Sequence[int], top_k: int) -> Explanation:
    from resnetkit.explaining.overlay import seen_picture

    try:
        image = pictures.open(item)
        maps = maker.maps(image, chosen=chosen, top_k=top_k)
        picture = seen_picture(image, maker.preprocess, longest=_SHOWN_SIDE)
    except (ResNetKitError, OSError) as problem:
        return Explanation(source=item.source, method=maker.method, error=problem_line(problem, source=item.source))
    return Explanation(source=item.source, method=maker.method, picture=picture, maps=maps)


def free_file(folder: Path, stem: str, suffix: str) -> Path:
    """Return the first of `stem.suffix`, `stem-2.suffix`, ... that is not there."""
    candidates = (folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}" for number in range(1, 1_000_000))
    return next(path for path in candidates if not path.exists())
