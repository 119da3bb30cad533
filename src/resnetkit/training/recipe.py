"""How a run goes, as values: optimizer, schedule, augmentation, and the rest of the recipe."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from resnetkit.data.drawing import Sampling
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.splits import KeepTogether
from resnetkit.errors import UsageError, near_miss
from resnetkit.evaluation.averaging import Views
from resnetkit.models.spec import ResNetSpec

# Under `budget.steps`. 4,708 X-rays at 64 pixels, three and five: 97.5 and 98.1 % of 524 held-out ones, 91.2 and 90.2 %
# of the 624 that score (n = 1).
_FEWEST_EPOCHS = 3


def _at_least(low: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value < math.inf:
            raise UsageError(f"{name} must be a number of at least {low}, not {value}")


def _one_of(known: tuple[str, ...], **values: str) -> None:
    for name, value in values.items():
        if value not in known:
            raise UsageError(f"unknown {name} {value!r}: choose {', '.join(known)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """The optimizer. `layer_decay`: each earlier stage learns this factor slower than the one after it.

    `plain_lr`, `plain_momentum`: under Muon, whose `lr` and `momentum` are for filters, those of all that is no filter
    (biases, BatchNorm, the head); the shifts of BatchNorm and the stem's bias learn `bias_factor` times faster.
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    lr: float = 0.1
    plain_lr: float = 0.1
    bias_factor: float = 1.0
    momentum: float = 0.9
    plain_momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = True
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        _one_of(("sgd", "adam", "adamw", "muon"), **{"optim.name": self.name})
        _at_least(0, **{"optim.lr": self.lr, "optim.plain_lr": self.plain_lr, "optim.weight_decay": self.weight_decay})
        if not 0 < self.bias_factor < math.inf:
            raise UsageError(f"optim.bias_factor must be a number above 0, not {self.bias_factor}")
        for name in ("momentum", "plain_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"optim.{name} must be in [0, 1), not {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"optim.layer_decay must be in (0, 1], not {self.layer_decay}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate over the run: linear warm-up, then a decay to `final` times the full rate."""

    name: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _one_of(("cosine", "linear", "constant"), **{"schedule.name": self.name})
        _at_least(0, **{"schedule.warmup_epochs": self.warmup_epochs, "schedule.final": self.final})


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random changes of training pictures, on whole batches.

    `flip` mirrors left to right: `random` by a coin for each picture and epoch, `alternating` in every other epoch.
    `crop`: `random_resized` cuts a random part of at least `scale` of the area and resizes it; `shift` moves the
    picture by up to `shift` of its side each way (0.125: 4 of 32 pixels); `auto` is the first where pictures are
    larger than what the network sees, else the second. `border`: what a shift lets in, the `mean` colour or the
    picture's own mirror image. `cutout`: side of a square that is blanked, in pixels (0: none). `mixup`, `cutmix`: the
    alpha of the Beta distribution that the weight of two pictures in one comes from (0: none; both: by a coin).

    For pictures without an upright, from above or through a microscope: `vertical_flip` mirrors half of them top to
    bottom, `turn` turns each by up to so many degrees either way (180: any angle). `colour`: brightness, contrast and
    saturation change by up to this share. `policy`: `trivial` is one change of random strength for each picture (Müller
    and Hutter 2021), `rand` two of middling strength (Cubuk et al. 2019), both torchvision's.
    """

    flip: Literal["none", "random", "alternating"] = "random"
    crop: Literal["auto", "none", "shift", "random_resized"] = "auto"
    shift: float = 0.125
    border: Literal["mean", "reflect"] = "mean"
    scale: float = 0.35
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    vertical_flip: Literal["none", "random"] = "none"
    turn: float = 0.0
    colour: float = 0.0
    policy: Literal["none", "trivial", "rand"] = "none"

    def __post_init__(self) -> None:
        _one_of(("none", "random", "alternating"), **{"augment.flip": self.flip})
        _one_of(("none", "random"), **{"augment.vertical_flip": self.vertical_flip})
        _one_of(("none", "trivial", "rand"), **{"augment.policy": self.policy})
        if not 0 <= self.turn <= 180:
            raise UsageError(f"augment.turn is in degrees, from 0 to 180 (any angle), not {self.turn}")
        if not 0 <= self.colour < 1:
            raise UsageError(f"augment.colour is a share, in [0, 1), not {self.colour}")
        _one_of(("auto", "none", "shift", "random_resized"), **{"augment.crop": self.crop})
        _one_of(("mean", "reflect"), **{"augment.border": self.border})
        _at_least(0, **{f"augment.{name}": getattr(self, name) for name in ("cutout", "mixup", "cutmix")})
        if not 0 <= self.shift < 1:
            raise UsageError(f"augment.shift is a share of the side, in [0, 1), not {self.shift}")
        if not 0 < self.scale <= 1:
            raise UsageError(f"augment.scale must be in (0, 1], not {self.scale}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What keeps a run shorter than `epochs`, which it never exceeds.

    `minutes` of training and validation: before the first step a few are timed, and the epochs are what fits (None: no
    limit). `patience`: the run ends when the held-out figure that `select` names (`top1` or `map` where that is `last`)
    has not improved for so many epochs (0: it does not), and the model is the best of them. `steps`: about so many
    optimizer steps, so fewer epochs the more pictures there are (0: `epochs`).
    """

    minutes: float | None = None
    patience: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        _at_least(0, **{"budget.patience": self.patience, "budget.steps": self.steps})
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"budget.minutes must be a number above 0, not {self.minutes}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that says how a run goes, apart from data, network and seed.

    `micro_batch`: images per forward pass of each process (None: the whole batch); gradients add up, the effective
    batch stays.
    `ema`: decay per step of an average of the weights that is evaluated in their place (0: none). `clip_norm`: largest
    gradient norm (0: no clipping). `class_weights`: `balanced` weighs classes by their rarity.
    `sampling`: each picture `once` an epoch, or `balanced`, as many with classes drawn evenly. `select`: the model is
    the `last` epoch, or the one that is best by this validation figure. `head_first`: fit the new head on frozen
    features before the first epoch; then there may be 0 `epochs`. `head_last`: fit it again after the last one, on the
    features that were learnt.
    `train`: `all` layers, those of a stage and after it (`layer2`, `layer3`, `layer4`), or only the `head`; what lies
    before is frozen. `views`: so many random changes of each picture pass the frozen layers once, and epoch e trains on
    what they made of the view e mod `views` (0: new changes in each epoch, nothing is stored).
    `batchnorm`: statistics of the `batch` that keep learning, `sync` for those of the whole batch where several
    processes share it (on GPUs), or `frozen` ones; `recounted`: those of the batch while it trains, and after each
    epoch, where the network answers, those of training pictures for the weights as they then are.
    `compile`: `auto` compiles the training step where a table says that the run is long enough to repay it.
    `score_every`: held-out pictures are scored after every so many epochs, and after the last.
    `save_minutes`: state is saved at least this often, and after each epoch. `val_share`: held out where the data has
    no validation part; `keep_together`: what then stays on one side, identical `files`, those of equal `pixels` too, or
    also `copies` that were saved again or resized. `tta`: views of each picture over which the final evaluation also
    averages, reported beside the plain figures. `remember`: the checkpoint lists digests of the pictures that it was
    trained on. `network`: the one the recipe is made for, taken where none is named. `model`: changes to its spec.
    """

    name: str = "scratch"
    epochs: int = 30
    batch_size: int = 64
    micro_batch: int | None = None
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    budget: Budget = field(default_factory=Budget)
    label_smoothing: float = 0.0
    ema: float = 0.0
    clip_norm: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Sampling = "once"
    select: Literal["last", "top1", "balanced_accuracy", "loss", "map", "map50"] = "last"
    head_first: bool = False
    head_last: bool = False
    train: Literal["all", "layer2", "layer3", "layer4", "head"] = "all"
    views: int = 0
    batchnorm: Literal["batch", "sync", "frozen", "recounted"] = "batch"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool = True
    compile: Literal["auto", "on", "off"] = "auto"
    score_every: int = 1
    save_minutes: float = 10.0
    val_share: float = 0.2
    keep_together: KeepTogether = "copies"
    tta: Views = "none"
    remember: bool = True
    network: str | None = None
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least(0 if self.head_first else 1, epochs=self.epochs)
        _at_least(1, batch_size=self.batch_size, score_every=self.score_every)
        if self.micro_batch is not None:
            _at_least(1, micro_batch=self.micro_batch)
        _at_least(0, clip_norm=self.clip_norm, save_minutes=self.save_minutes, views=self.views)
        for name in ("label_smoothing", "ema", "val_share"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.class_weights == self.sampling == "balanced":
            raise UsageError("class_weights=balanced and sampling=balanced do the same twice: leave one of them out")
        for name, choices in _words().items():
            _one_of(choices, **{name: getattr(self, name)})

    def changed(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def balances(self) -> bool:
        """Whether rare classes count as much as others."""
        return "balanced" in (self.class_weights, self.sampling)

    def choosing(self, figures: Sequence[str]) -> Recipe:
        """Return the recipe with `select` decided: patience, which judges by a held-out figure, implies the first.

        `figures`: those of the task that may choose; raises `UsageError` for another.
        """
        if self.select not in ("last", *figures):
            raise UsageError(
                f"select={self.select} is no figure of these pictures' labels: choose last, {', '.join(figures)}"
            )
        recipe = self.changed(select=figures[0]) if self.budget.patience and self.select == "last" else self
        return recipe if recipe.select == "last" else recipe.changed(score_every=1)

    def gentle(self) -> Recipe:
        """Return the recipe at a tenth of its rate and with frozen statistics of BatchNorm.

        For pictures like those that its weights have seen, of which these statistics hold better than those of a few.
        """
        return self.changed(optim=replace(self.optim, lr=self.optim.lr / 10), batchnorm="frozen")

    def for_pictures(self, *, median_side: int, size: int) -> Recipe:
        """Return the recipe with `augment.crop="auto"` decided: random crops where pictures have pixels to spare."""
        if self.augment.crop != "auto":
            return self
        crop: Literal["random_resized", "shift"] = "random_resized" if median_side > 1.1 * size else "shift"
        return self.changed(augment=replace(self.augment, crop=crop))

    def for_count(self, num_pictures: int) -> Recipe:
        """Return the recipe with the epochs that `budget.steps` come to on so many training pictures.

        At least 3, at most `epochs`.
        """
        if not self.budget.steps:
            return self
        steps_per_epoch = max(1, -(-num_pictures // self.batch_size))
        epochs = max(_FEWEST_EPOCHS, round(self.budget.steps / steps_per_epoch))
        return self.changed(epochs=min(epochs, self.epochs))

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the recipe with a number of epochs that was asked for; it goes before `budget.steps`."""
        return self.changed(epochs=epochs, budget=replace(self.budget, steps=0))

    def with_warmup_of_half_at_most(self) -> Recipe:
        """Return the recipe with a warm-up that leaves half of the epochs to the decay, so that the rate ends low."""
        most = self.epochs / 2
        if not self.epochs or self.schedule.warmup_epochs <= most:
            return self
        return self.changed(schedule=replace(self.schedule, warmup_epochs=most))

    def stored_bytes(self, spec: ResNetSpec, *, frame: tuple[int, int], count: int) -> int:
        """Return the bytes of the stored views of `count` pictures, two for a number; 0 where none are stored."""
        if not self.views:
            return 0
        return 2 * min(self.views, self.epochs) * count * math.prod(spec.shape_before(self.train, frame))

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote."""
        parts = {"optim": Optim, "schedule": Schedule, "augment": Augment, "budget": Budget}
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})


def with_settings(recipe: Recipe, preprocess: dict[str, Any], settings: tuple[str, ...]) -> Recipe:
    """Return `recipe` changed by `KEY=VALUE` settings; keys under `preprocess.` go into that dict instead.

    `epochs=5`, `optim.lr=0.1`, `model.width=32`, `preprocess.crop=pad`. Raises `UsageError` for an unknown key (with
    the nearest known one) and for a value of the wrong type.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write it as KEY=VALUE, for example --set optim.lr=0.05")
        hint = settable().get(key)
        if hint is None:
            raise UsageError(f"--set {setting}: unknown key{_nearest_key(key)}")
        value = _parse(hint, text, setting)
        room, _, name = key.rpartition(".")
        if room == "preprocess":
            preprocess[name] = value
        elif room == "model":
            recipe = recipe.changed(model=recipe.model | {name: value})
        elif room:
            recipe = recipe.changed(**{room: replace(getattr(recipe, room), **{name: value})})
        elif name == "epochs":
            recipe = recipe.with_epochs(value)
        else:
            recipe = recipe.changed(**{name: value})
    return recipe


def _nearest_key(key: str) -> str:
    """Return the hint at the key that was meant: one that ends so, or the nearest."""
    if key in ("preprocess.size", "preprocess.width"):
        return ": the size of the pictures is --image-size N or HxW"
    ending = next((known for known in settable() if known.endswith(f".{key}")), None)
    if ending is not None:
        return f"; did you mean {ending!r}?"
    return near_miss(key, settable()) or "; resnetkit recipes NAME lists the keys"


@functools.cache
def settable() -> dict[str, Any]:
    """Return every key that `--set` takes, with its type."""
    keys: dict[str, Any] = {}
    for name, hint in get_type_hints(Recipe).items():
        if is_dataclass(hint):
            keys |= {f"{name}.{part}": part_hint for part, part_hint in get_type_hints(hint).items()}
        elif name not in ("name", "network", "model"):
            keys[name] = hint
    keys |= {f"model.{n}": h for n, h in get_type_hints(ResNetSpec).items() if n not in ("num_classes", "in_channels")}
    keys |= {
        f"preprocess.{n}": h for n, h in get_type_hints(Preprocess).items() if n not in ("antialias", "size", "width")
    }
    return keys


def _parse(hint: Any, text: str, setting: str) -> Any:
    """Read `text` as the type `hint`; raises `UsageError` naming the setting."""
    choices = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        if text.casefold() == "none":
            return None
        return _parse(next(c for c in choices if c is not type(None)), text, setting)
    if get_origin(hint) is Literal:
        if text not in choices:
            known = ", ".join(map(str, choices))
            raise UsageError(f"--set {setting}: {text!r} is not one of {known}{near_miss(text, choices)}")
        return text
    if get_origin(hint) is tuple:
        return tuple(_parse(choices[0], part, setting) for part in text.split(","))
    if hint is bool:
        if text.casefold() not in ("true", "false", "1", "0", "yes", "no"):
            raise UsageError(f"--set {setting}: {text!r} is not true or false")
        return text.casefold() in ("true", "1", "yes")
    if hint is str:
        return text
    try:
        return hint(text)
    except ValueError:
        kind = {"int": "a whole number", "float": "a number"}[hint.__name__]
        raise UsageError(f"--set {setting}: {text!r} is not {kind}") from None


@functools.cache
def _words() -> dict[str, tuple[str, ...]]:
    """Return the words that each field of a recipe may be, for those that are one of several words."""
    choices = {name: get_args(hint) for name, hint in get_type_hints(Recipe).items()}
    return {name: words for name, words in choices.items() if words and all(isinstance(word, str) for word in words)}
