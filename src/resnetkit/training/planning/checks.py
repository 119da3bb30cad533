"""What cannot be trained is refused before the run has a folder, most of it before any picture is decoded."""

from __future__ import annotations

import torch

from resnetkit.errors import DataError, UsageError
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Runtime
from resnetkit.training.planning.compiled import check_compiler
from resnetkit.training.planning.memory import check_memory
from resnetkit.training.planning.plan import Plan
from resnetkit.training.recipe import Recipe
from resnetkit.training.steps.stored import check_room
from resnetkit.training.together.ranks import Ranks


def check_plan(plan: Plan, *, holds_out: bool, runtime: Runtime, ranks: Ranks) -> None:
    """Raise `UsageError` for what contradicts each other whatever the pictures are; `holds_out`: some will be."""
    recipe, spec, size = plan.recipe, plan.spec.body, min(plan.preprocess.frame)
    if recipe.budget.patience and not holds_out:
        raise UsageError("budget.patience judges by held-out pictures: hold some out with val_share, or leave it out")
    if recipe.select != "last" and not holds_out:
        raise UsageError(
            f"select={recipe.select} chooses by held-out pictures: hold some out with val_share, or leave it out"
        )
    _check_frozen(recipe, spec)
    if recipe.head_last and recipe.select != "last":
        raise UsageError(
            f"head_last fits the head of the last epoch again, and select={recipe.select} may choose another: "
            "leave one of them out"
        )
    if recipe.optim.name == "muon" and recipe.batchnorm == "frozen" and recipe.train != "head":
        raise UsageError(
            "optim.name=muon changes the scale of filters, which only BatchNorm that learns makes up for: "
            "use optim.name=sgd, or leave batchnorm=frozen out"
        )
    if spec.last_side(size) == 0:
        raise UsageError(
            f"this network halves its pictures {len(spec.blocks)} times, too often for {plan.preprocess.sides} pixels: "
            f"use --image-size {2 ** (len(spec.blocks) + 1)}, or another --model"
        )
    if recipe.augment.cutout >= 2 * max(plan.preprocess.frame):
        raise UsageError(
            f"augment.cutout={recipe.augment.cutout} blanks whole pictures of {plan.preprocess.sides} pixels: use "
            "less, or leave it out"
        )
    if plan.preprocess.channels not in (1, 3) and (recipe.augment.colour or recipe.augment.policy != "none"):
        raise UsageError(
            f"augment.colour and augment.policy change colours, not {plan.preprocess.channels} bands: leave them out"
        )
    if recipe.compile == "on":
        check_compiler(runtime.device)
    check_ranks(ranks, recipe, runtime)


def _check_frozen(recipe: Recipe, spec: ResNetSpec) -> None:
    """Refuse stages that the network lacks, and stored views where nothing is frozen or pictures are mixed."""
    stages = [info.name for info in spec.feature_info[2:]]
    if recipe.train.startswith("layer") and recipe.train not in stages:
        others = ", ".join([*reversed(stages), "all"])
        raise UsageError(
            f"train={recipe.train}: this network has {len(spec.blocks)} stage{'s'[: len(spec.blocks) > 1]}: use "
            f"--set train={others} or head"
        )
    if recipe.views and recipe.train == "all":
        raise UsageError(
            f"views={recipe.views} stores what frozen stages make of pictures, and train=all freezes none: add "
            f"--set train={stages[-1] if stages else 'head'}, or leave views out"
        )
    if recipe.views and (recipe.augment.mixup or recipe.augment.cutmix):
        raise UsageError(
            f"augment.mixup and augment.cutmix mix the pixels of other pairs in each epoch, and views={recipe.views} "
            "stores what was made of single pictures: leave one of them out"
        )


def check_batches(plan: Plan, count: int, *, runtime: Runtime, ranks: Ranks) -> None:
    """Raise where `count` training pictures do not make batches that this network and this machine can train on."""
    if count < 2:
        raise DataError("training needs at least two pictures")
    _check_batchnorm(plan, count, num_ranks=ranks.size)
    if plan.recipe.epochs:
        largest = ranks.longest_share(min(count, plan.recipe.batch_size))
        check_memory(plan.spec.body, plan.recipe, frame=plan.preprocess.frame, count=largest, runtime=runtime)
        check_room(plan.spec.body, plan.recipe, frame=plan.preprocess.frame, count=count)


def _check_batchnorm(plan: Plan, count: int, *, num_ranks: int) -> None:
    """Refuse batches of one picture where BatchNorm would have a single number to take the variance of."""
    recipe = plan.recipe
    smallest = max(1, count // -(-count // recipe.batch_size) // num_ranks)
    smallest //= -(-smallest // min(recipe.micro_batch or smallest, smallest))
    one_pixel = plan.spec.body.last_side(max(plan.preprocess.frame)) == 1
    if smallest < 2 and one_pixel and recipe.batchnorm in ("batch", "recounted") and recipe.train != "head":
        raise UsageError(
            f"{count} pictures in batches of {recipe.batch_size} leave one picture alone, and BatchNorm needs two at "
            f"{plan.preprocess.sides} pixels: use a --batch-size of {4 * num_ranks} or more, or --set batchnorm=frozen"
        )


def check_ranks(ranks: Ranks, recipe: Recipe, runtime: Runtime) -> None:
    """Refuse several ranks on one GPU, and BatchNorm over all ranks where torch has none.

    For one rank `batchnorm="sync"` is what BatchNorm is.
    """
    here, device = ranks.place.local_size, runtime.device
    if recipe.batchnorm == "sync" and ranks.size > 1 and not device.startswith("cuda"):
        raise UsageError(
            f"batchnorm=sync works between GPUs only, not between processes on {device}: "
            "leave it out, or use --set batchnorm=frozen"
        )
    if here > 1 and device.startswith("cuda") and (device != "cuda" or here > torch.cuda.device_count()):
        raise UsageError(
            f"{here} processes on this machine need a GPU each, and --device {device} gives them "
            f"{1 if device != 'cuda' else torch.cuda.device_count()}: say --device cuda and --nproc-per-node gpu"
        )
