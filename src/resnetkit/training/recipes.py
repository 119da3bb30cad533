"""The named recipes: typed functions that derive from one another, each with what it reached."""

from collections.abc import Callable

from resnetkit.errors import UsageError, near_miss
from resnetkit.training.recipe import Augment, Budget, Optim, Recipe, Schedule


def scratch() -> Recipe:
    """Train from random weights on pictures of one's own: SGD with Nesterov momentum, one cosine.

    Reached 63.4 % (sd 5.7, 5 seeds) of 153 photos of ants and bees, trained on 195 others with ResNet-20 at 32 pixels,
    and 98.9 % (sd 0.3) of 297 traffic lights, in 12 and 43 s on one core (Xeon with AMX, other programs beside):
    `benchmarks/probe_finetune_scratch.py`, scoring the epoch that was best by held-out accuracy (`select=top1`).
    """
    return Recipe(
        name="scratch",
        epochs=30,
        batch_size=64,
        optim=Optim(lr=0.05, weight_decay=5e-4),
        schedule=Schedule(warmup_epochs=1.0),
    )


def cifar10() -> Recipe:
    """Train on 32x32 photos after section 4.2 of the paper: SGD at 0.1, batch 128, flip, 4-pixel shift.

    Not as there: one epoch of warm-up and a cosine in place of steps, 30 epochs (there about 164), Nesterov momentum,
    weight decay 5e-4 (there 1e-4).

    Reached 81.5 % of the 10,000 test pictures of CIFAR-10 (n = 1) in 5 epochs of ResNet-20, each 47 s on two CPU cores:
    `resnetkit train cifar10.zip --recipe cifar10 --model resnet20 --epochs 5 --set val_share=0.1 --set select=top1`.
    """
    return scratch().changed(
        name="cifar10",
        batch_size=128,
        optim=Optim(lr=0.1, weight_decay=5e-4),
        augment=Augment(crop="shift"),
    )


def cifar10_fast() -> Recipe:
    """Train the pooled network to 94 % of CIFAR-10 in minutes, after airbench94_muon.py and cifar10-fast.

    Reached 94.18 % (sd 0.04, 3 seeds) of the 10,000 test pictures with flips and shifts averaged, 93.39 % (sd 0.16)
    without, in 18.6 minutes of the whole command on two CPU cores (AMD EPYC without AMX; 100 s an epoch, 0.35
    petaFLOP): `benchmarks/cifar10.py`. With ReLU in place of GELU, `--set model.activation=relu`, 94.11 % (sd 0.06,
    3 seeds) and 93.30 % (sd 0.19) took 14 epochs, 10.1 minutes on a Xeon with AMX (0.50 petaFLOP); wider and longer
    still, `--set model.width=96 --epochs 16`, it reached 94.06 % (sd 0.17, 3 seeds) without averaging, 94.74 % (sd
    0.11) with it, in 24 minutes there (seed 0, beside other work; seeds 1 and 2 on one core; 1.23 petaFLOP).
    """
    return cifar10().changed(
        name="cifar10-fast",
        network="resnet8_fast",
        epochs=10,
        batch_size=1000,
        optim=Optim(
            name="muon", lr=0.24, plain_lr=0.01, bias_factor=5000.0, momentum=0.6, plain_momentum=0.85, weight_decay=1.3
        ),
        schedule=Schedule(name="linear"),
        augment=Augment(flip="alternating", crop="shift", shift=0.0625, border="reflect"),
        label_smoothing=0.2,
        val_share=0.0,
        tta="flip_shift",
    )


def cifar10_resnet() -> Recipe:
    """Train a network of the paper on all of CIFAR-10, as accurately as its parameters and your hours allow.

    Muon on the filters, alternating flips, cutout of 8 pixels, a linear decay to zero. ResNet-20 reached 93.20 % (sd
    0.15, 3 seeds) of the 10,000 test pictures, 93.80 % (sd 0.22) with flips averaged, in 2.1 to 2.5 hours on one core
    (Xeon with AMX, other programs beside), 1.45 petaFLOP; `docs/training.md` has its deeper sisters, each a `--model`
    and a number of `--epochs`.
    """
    return cifar10().changed(
        name="cifar10-resnet",
        network="resnet20",
        epochs=120,
        batch_size=250,
        optim=Optim(name="muon", lr=0.03, plain_lr=0.05, momentum=0.9, weight_decay=1e-3),
        schedule=Schedule(name="linear"),
        augment=Augment(flip="alternating", crop="shift", cutout=8),
        val_share=0.0,
        tta="flip",
    )


def finetune() -> Recipe:
    """Fit a pretrained network to new classes: the new head first, then all layers.

    AdamW with a warm-up of two epochs. What answers is an average of the weights, with BatchNorm's statistics counted
    anew after each epoch: the running ones lag behind at this rate. What `train` takes for pictures far from those of
    the weights; near ones get `Recipe.gentle` where it is named. Reached from the trunk of the package at 96 and 128
    pixels on two cores (AMD EPYC, bf16, the whole command) 90.7 % of 309 traffic signs in 120 s (n = 3), 88.9 % of 156
    breast ultrasounds in 113 s (n = 3), 99.5 % of 209 blood cells in 150 s (n = 2; `benchmarks/finetuning.py`).
    """
    return scratch().changed(
        name="finetune",
        epochs=40,
        batch_size=16,
        budget=Budget(steps=400),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05),
        schedule=Schedule(warmup_epochs=2),
        ema=0.98,
        head_first=True,
        batchnorm="recounted",
    )


def probe() -> Recipe:
    """Fit a linear head to the features of a frozen pretrained network: seconds, and the least a fine-tuning must beat.

    Each picture passes the network once, as for evaluation; the head is a logistic regression. What `train` takes for
    few pictures near those of the weights. Reached 94.8 % of 153 ants and bees in 26 s (n = 5) from the trunk of the
    package at 224 pixels, and 50.6 % of the signs and 82.1 % of the ultrasounds of `finetune`.
    """
    return Recipe(
        name="probe",
        epochs=0,
        augment=Augment(flip="none", crop="none"),
        head_first=True,
        train="head",
    )


def detect_light() -> Recipe:
    """Train a light detector from a pretrained trunk, on a CPU: SGD at 0.02, frozen statistics, stem and layer1 frozen.

    Pictures are mirrored, cropped to a half of their area at least and changed in colour; an average of the weights
    answers. Reached 92.2 % mAP@.50 and 60.7 % mAP@.50:.95 of 72 blood photos (205 to train from, seed 0, 48 epochs,
    mirrored top to bottom too) in 57 minutes of one core beside other programs, and 90.0 and 57.8 % in 14 epochs, 8.6
    minutes of two (AMD EPYC, bf16). In 20 epochs of a constant rate 91.5 % (sd 0.2, 3 seeds) and 60.5 % (sd 1.1), 67 to
    85 minutes of one core in fp32 (AMD EPYC, AVX2 alone, other programs beside).
    """
    return Recipe(
        name="detect-light",
        epochs=100,
        batch_size=8,
        budget=Budget(steps=2000),
        optim=Optim(lr=0.02, weight_decay=1e-4),
        schedule=Schedule(warmup_epochs=1),
        augment=Augment(crop="random_resized", scale=0.5, colour=0.2),
        clip_norm=10.0,
        ema=0.99,
        train="layer2",
        batchnorm="frozen",
        compile="off",
    )


def detect() -> Recipe:
    """Train torchvision's detectors as its references do: SGD at 0.02 for 16 pictures, stem and layer1 frozen.

    For a GPU: a step at 800 pixels takes a CPU about half a minute.
    """
    return detect_light().changed(
        name="detect", epochs=26, batch_size=16, budget=Budget(), ema=0.0, augment=Augment(crop="random_resized")
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        scratch, probe, finetune, cifar10, cifar10_fast, cifar10_resnet, detect_light, detect,
    )
}  # fmt: skip


def recipe_named(name: str) -> Recipe:
    """Return the recipe called `name`; raises `UsageError` with the nearest known name."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}: choose {', '.join(RECIPES)}{near_miss(name, RECIPES)}")
    return RECIPES[name]()
