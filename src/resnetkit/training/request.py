"""What a person asked of a training."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from resnetkit.data.opening import windows
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import Asked, asked
from resnetkit.errors import UsageError
from resnetkit.models import catalog
from resnetkit.models.detection.names import Named, named
from resnetkit.models.spec import ResNetSpec
from resnetkit.training.recipe import with_settings
from resnetkit.training.recipes import RECIPES, recipe_named

# What tasks were called where `labels` was asked for.
_TASKS: dict[str, Asked] = {"one": "classification", "several": "multilabel", "objects": "detection"}


def sides_of(size: Any) -> tuple[int | None, int | None]:
    """Return height and width of an image size, the latter None for squares; both where nothing is given.

    It is a number, a pair or text. Raises `UsageError` for anything else.

    >>> sides_of(224), sides_of("36x96"), sides_of((36, 96)), sides_of(None)
    ((224, None), (36, 96), (36, 96), (None, None))
    """
    if size is None:
        return None, None
    parts = size.lower().split("x") if isinstance(size, str) else size if isinstance(size, list | tuple) else [size]
    try:
        sides = [int(part) if isinstance(part, str) else operator.index(part) for part in parts]
    except (TypeError, ValueError):
        sides = []
    if len(sides) not in (1, 2) or isinstance(size, bool):
        raise UsageError(f"--image-size {size!r}: give a side in pixels, or height and width as in 36x96")
    if min(sides) < 1:
        raise UsageError(f"--image-size must be at least 1, not {size}")
    return sides[0], None if sides[0] == sides[-1] else sides[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asked `train` for; kept in the run so that `resume` needs nothing else.

    `cost`: what errors cost, as `models.costs.costs_of` reads it; the finished model decides by that.
    `image_size` may be given as `36x96` or `(36, 96)`, height and width: `image_width` is then the second.
    Raises `UsageError` for unknown networks, recipes and settings, before any picture is read.
    """

    data: tuple[str, ...]
    model: str | None = None
    weights: str = "auto"
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    image_size: int | None = None
    image_width: int | None = None
    stem: Literal["auto", "imagenet", "cifar"] = "auto"
    seed: int = 0
    bad_images: Literal["stop", "skip"] = "stop"
    group_by: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    split_from: str | None = None
    folds: int | None = None
    limit: int | None = None
    task: Asked = "auto"
    settings: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise UsageError("DATA is missing: a folder with a folder of pictures per class, for example")
        for name in ("settings", "cost"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.bad_images not in ("stop", "skip") or self.stem not in ("auto", "imagenet", "cifar"):
            raise UsageError(
                f"bad_images is stop or skip, stem auto, imagenet or cifar: {self.bad_images}, {self.stem}"
            )
        asked(self.task)
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be a whole number from 0 to 2**63 - 1, not {self.seed}")
        height, width = sides_of(self.image_size)
        if self.image_width is not None:
            if height is None or width is not None:
                raise UsageError("image_width stands beside an image_size that is one number, the height")
            height, width = sides_of((height, self.image_width))
        object.__setattr__(self, "image_size", height)
        object.__setattr__(self, "image_width", width)
        for name in ("epochs", "batch_size", "limit"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.folds is not None and (type(self.folds) is not int or self.folds < 2):
            raise UsageError(f"--folds must be at least 2, not {self.folds}: each fold is held out once")
        if self.folds is not None and self.split_from is not None:
            raise UsageError("--folds and --split-from contradict each other: one holds out every picture in turn")
        if self.model is not None and "." in self.model:
            if self.weights not in ("auto", self.model):
                raise UsageError(
                    f"--model {self.model} names weights, and so does --weights {self.weights}: "
                    f"use --model {self.named}, or leave --weights out"
                )
            object.__setattr__(self, "weights", self.model)
        catalog.spec_of(self.architecture)
        _ = self.page  # reading the settings checks them
        windows.all_normal(self._of_pictures.get("windows", ()))

    @property
    def named(self) -> str | None:
        """The network asked for, else the one the recipe is made for."""
        made_for = recipe_named(self.recipe).network if self.recipe else None
        name = self.model or made_for
        return None if name is None else name.partition(".")[0]

    @property
    def detector(self) -> Named | None:
        """What the name of a detector says, where one is `named`."""
        return None if self.named is None else named(self.named)

    @property
    def architecture(self) -> str:
        """The network that is `named`, or that in a detector, else the one to begin from random weights: resnet18."""
        return self.detector.arch if self.detector else self.named or "resnet18"

    @property
    def spec(self) -> ResNetSpec:
        """The network asked for, with the changes of the settings."""
        return catalog.spec_of(self.architecture, **self.spec_changes)

    @property
    def spec_changes(self) -> dict[str, Any]:
        """What the recipe and `--set model....` change in the network."""
        return with_settings(recipe_named(self.recipe or "scratch"), {}, self.settings).model

    @property
    def page(self) -> int:
        """Which page of files of several is asked for: wanted before the pictures decide on the rest."""
        return Preprocess(page=self._of_pictures.get("page", 1)).page

    @property
    def frames(self) -> str:
        """Which frames of files are asked for as pictures of their own."""
        return Preprocess(frames=self._of_pictures.get("frames", "one")).frames

    @property
    def _of_pictures(self) -> dict[str, Any]:
        """What `--set preprocess....` changes."""
        changes: dict[str, Any] = {}
        with_settings(recipe_named(self.recipe or "scratch"), changes, self.settings)
        return changes

    @property
    def set_keys(self) -> frozenset[str]:
        """The keys that settings name, as `optim.lr`."""
        return frozenset(setting.partition("=")[0] for setting in self.settings)

    @property
    def asked_side(self) -> int | None:
        """The shorter side of the pictures that the network is to see, where one was asked for."""
        return self.image_size if self.image_width is None else min(self.image_size or 1, self.image_width)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Request:
        """Read what `to_json` wrote, here or in an older version.

        A recipe that is gone is passed over, for a run carries all that it said.
        """
        values = dict(values)
        known: dict[str, Any] = {name: tuple(values[name]) for name in ("data", "settings", "cost") if name in values}
        known |= {"recipe": values["recipe"] if values["recipe"] in RECIPES else None}
        if (labels := values.pop("labels", None)) is not None:
            known |= {"task": _TASKS.get(labels, "auto")}
        return cls(**values | known)
