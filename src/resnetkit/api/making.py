"""What is made of pictures beside rows, one by one as they are answered: drawings of the objects found, and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.frames import of_files
from resnetkit.data.opening.images import to_look_at
from resnetkit.errors import UsageError
from resnetkit.inference import sorting
from resnetkit.inference.crops import Crops, save_png
from resnetkit.inference.given import Given, picture_of
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.words import counted


@dataclass(slots=True)
class Beside:
    """Folders that get drawings and crops of `pictures`, as they are answered; `drawn` how many there are by now."""

    predictor: Predictor
    pictures: Dataset
    crops: Crops | None = None
    drawings: Path | None = None
    drawn: int = 0

    def add(self, prediction: Prediction, item: Item) -> None:
        """Take one answer, whose picture is read once more; what could not be read is left out."""
        if prediction.objects is None or (self.crops is None and self.drawings is None):
            return
        picture = to_look_at(self.predictor.preprocess.convert(self.pictures.open(item)))
        name = Path(sorting.base_name(item, self.pictures)).stem
        if self.crops is not None:
            self.crops.add(prediction, picture, name)
        if self.drawings is not None:
            save_png(_drawing(prediction, picture, self.predictor.classes), self.drawings, f"{name}.png")
            self.drawn += 1

    def notes(self) -> list[str]:
        """Return what was made, in a line each."""
        crops = [] if self.crops is None else [str(self.crops)]
        if self.drawings is None:
            return crops
        from resnetkit.report.drawing import fonts

        missing = fonts.choose(map(fonts.drawable, self.predictor.classes)).warning
        return [*crops, f"{counted(self.drawn, 'drawing')} in {self.drawings}", *([missing] if missing else [])]


def beside(predictor: Predictor, pictures: Dataset, *, crops: str | None, drawings: str | None) -> Beside:
    """Return what makes crops and drawings of `pictures` in these folders, where they are asked for.

    Raises `UsageError` for a model that finds no objects.
    """
    asked = {"--crops": crops, "--draw": drawings}
    option = next((name for name, folder in asked.items() if folder is not None), None)
    if option is not None:
        _require_objects(predictor, option)
    return Beside(
        predictor,
        of_files(pictures, page=predictor.preprocess.page, frames=predictor.preprocess.frames),
        crops=None if crops is None else Crops(Path(crops), predictor.classes),
        drawings=None if drawings is None else Path(drawings),
    )


def drawing_of(picture: Given, predictor: Predictor) -> Image.Image:
    """Return a picture with the objects that are found on it; raises as `Predictor.predict` does."""
    _require_objects(predictor, "draw")
    prediction, preprocess = predictor.predict(picture), predictor.preprocess
    upright = to_look_at(preprocess.convert(picture_of(picture).open(preprocess.page)))
    return _drawing(prediction, upright, predictor.classes)


def _require_objects(predictor: Predictor, what: str) -> None:
    if predictor.decision.gives != "objects":
        raise UsageError(f"{what}: is for detectors, and {predictor.name} says what a picture is, not where")


def _drawing(prediction: Prediction, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
    from resnetkit.report.drawing.objects import draw_found

    return draw_found(picture, prediction.objects or (), classes=classes)
