"""The only training loop: from scratch and fine-tuning, interrupted and resumed, on one device or on many ranks."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnetkit.data.batches import Batch, Batches
from resnetkit.errors import DivergedError, InterruptedRun, ResourceError
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import layers_before, split
from resnetkit.runtime import Runtime
from resnetkit.training import budget
from resnetkit.training import state as states
from resnetkit.training.choosing import Validation, better, keep_answers
from resnetkit.training.learning import Figures, Learning
from resnetkit.training.planning.compiled import compiled
from resnetkit.training.recipe import Recipe
from resnetkit.training.state import Position, State
from resnetkit.training.steps.optim import build_optimizer, current_rate, rate_factor, set_rate
from resnetkit.training.steps.recounting import recount
from resnetkit.training.steps.stored import StoredBatches
from resnetkit.training.stopping import Stopped, StopRequest
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Row, Step, Watcher

# A device that works ahead of Python is asked for its losses this often, so that no step waits for it.
_STEPS_BETWEEN_READS = 10


class Loop:
    """One run between its first step and its last; `state` is always able to be saved."""

    def __init__(
        self, network: ResNet, *, state: State, batches: Batches | StoredBatches, task: Learning, recipe: Recipe,
        runtime: Runtime, folder: Path, watch: Watcher, on_saved: Callable[[State], None], ranks: Ranks,
    ) -> None:  # fmt: skip
        self.network, self.state, self.batches, self.task = network, state, batches, task
        self.recipe, self.runtime, self.folder, self.watch = recipe, runtime, folder, watch
        self.on_saved, self.ranks = on_saved, ranks
        self.averaged = copy.deepcopy(network) if recipe.ema else network
        self.frozen = nn.Sequential() if recipe.train == "all" else layers_before(network.body, recipe.train)
        self.frozen.requires_grad_(False)
        learner = split(network, recipe.train)[1] if recipe.views else network
        self.forward = compiled(learner) if runtime.compiled else learner
        self.compiled_ahead = False
        self.optimizer = build_optimizer(network, recipe.optim)
        self.unread: list[tuple[torch.Tensor, Figures, torch.Tensor, int]] = []
        self.last_save = time.monotonic()
        self._take_up(state)

    def run(self, stop: StopRequest) -> State:
        """Train to the last epoch of the recipe and return the state after it.

        Raises `InterruptedRun` after a signal (the state is saved), `DivergedError` where the loss is not finite and
        `ResourceError` where a single image does not fit the device's memory.
        """
        while self.state.position.epoch < self.recipe.epochs:
            try:
                self._prepare_epoch(stop)
                self._compile_ahead()
                self._fit_into_budget(stop)
                self._train_epoch(stop)
                self._finish_epoch(stop)
            except torch.OutOfMemoryError as error:
                self._halve_micro_batch(error)
        return self.state

    def _prepare_epoch(self, stop: StopRequest) -> None:
        """Have the view of this epoch computed, where views are stored and it is not there."""
        begin = time.monotonic()
        try:
            self.batches.prepare(self.state.position.epoch, lambda: self._check(stop))
        except Stopped as stopped:
            self._save_and_leave(stopped.signal_number)
        self.state.position.storing_seconds += time.monotonic() - begin

    def _compile_ahead(self) -> None:
        """Compile for every length of batch before anything is timed; weights and statistics stay as they are."""
        if not self.runtime.compiled or self.compiled_ahead:
            return
        self._set_training()
        epoch, before = self.state.position.epoch, [buffer.clone() for buffer in self.network.buffers()]
        for step in sorted({0, self.batches.steps_per_epoch - 1}):  # batches have two lengths, the longer ones first
            indices = self.batches.indices(epoch, step)
            batch = self.batches.get(indices, epoch, step, share=self.ranks.share(len(indices)))
            self._backward(batch, count=len(indices))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, kept in zip(self.network.buffers(), before, strict=True):
                buffer.copy_(kept)
        self.compiled_ahead = True

    def _set_training(self) -> None:
        """Put what learns in training mode; frozen BatchNorm keeps its statistics (its scale and shift still learn)."""
        self.network.train()
        self.frozen.eval()
        if self.recipe.batchnorm == "frozen":
            for module in self.network.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _train_epoch(self, stop: StopRequest) -> None:
        self._set_training()
        position, steps = self.state.position, self.batches.steps_per_epoch
        started, seen, first = time.monotonic(), 0, position.step
        while position.step < steps:
            begin = time.monotonic()
            seen += self._step(position)
            position.step += 1
            position.seconds += time.monotonic() - begin
            self._read(at_least=1 if self.runtime.device == "cpu" else _STEPS_BETWEEN_READS)
            self._show(position, seen / (time.monotonic() - started))
            if position.step == first + 1:  # it compiled, or touched its memory for the first time
                started, seen = time.monotonic(), 0
            self._save_if_due(stop)
        self._read(at_least=1)

    def _step(self, position: Position) -> int:
        """Do one optimizer step and return its number of images, over all ranks."""
        indices = self.batches.indices(position.epoch, position.step)
        share = self.ranks.share(len(indices))
        set_rate(self.optimizer, self._rate_factor(position.step))
        self.optimizer.zero_grad(set_to_none=True)
        with self.ranks.failing_together(torch.OutOfMemoryError):
            batch = self.batches.get(indices, position.epoch, position.step, share=share)
            loss, figures = self._backward(batch, count=len(indices))
        self.ranks.add_up_step(self.network, loss, *figures.values(), weight=len(batch) / len(indices))
        norm = self._guard(loss, indices)
        self.unread.append((loss, figures, norm, len(indices)))
        self.optimizer.step()
        self._average()
        return len(indices)

    def _backward(self, batch: Batch, *, count: int) -> tuple[torch.Tensor, Figures]:
        """Add up the gradients of this rank's images; return their share of the mean loss over `count`, and figures."""
        loss = torch.zeros((), device=batch.images.device)
        figures = {name: torch.zeros_like(loss) for name in self.task.figures}
        parts = -(-self.ranks.longest_share(count) // (self.state.micro_batch or count))
        for part in batch.split(parts):
            if not len(part) and self.recipe.batchnorm != "sync":  # whose BatchNorm waits for every rank
                continue
            summed, found = self.task.learn(self._outputs, part)
            share = summed / count
            share.backward()
            loss, figures = loss + share.detach(), {name: figure + found[name] for name, figure in figures.items()}
        return loss, figures

    def _outputs(self, images: torch.Tensor, *more: Any) -> Any:
        with self.runtime.autocast():
            return self.forward(images, *more)

    def _guard(self, loss: torch.Tensor, indices: Any) -> torch.Tensor:
        """Keep what is not finite from the weights: raise at once on a CPU, elsewhere zero the gradients."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) + loss * 0
        if self.runtime.device == "cpu":
            if not math.isfinite(norm.item()):
                raise self._diverged(loss.item(), self.state.position.step, indices)
        else:
            for gradient in gradients:
                gradient.copy_(torch.where(torch.isfinite(norm), gradient, 0))
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self.network.parameters(), self.recipe.clip_norm, norm)
        return norm

    def _diverged(self, loss: float, step: int, indices: Any) -> DivergedError:
        names = self.batches.sources(indices)
        rate = current_rate(self.optimizer)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return DivergedError(
            f"the loss or its gradient is not finite (loss {loss:.4g}) at epoch {self.state.position.epoch + 1}, "
            f"step {step + 1}, learning rate {rate:.4g}; the batch: {', '.join(names[:5])}{more}. "
            f"{self._way_back()}"
        )

    def _way_back(self) -> str:
        kept = self.ranks.by_first(lambda: states.describe(self.folder)["position"])
        return (
            f"the last save is kept (epoch {kept['epoch'] + 1}, step {kept['step']}); begin again under another --name "
            f"with a lower rate: --set optim.lr={self.recipe.optim.lr / 10:.3g}"
        )

    def _read(self, *, at_least: int) -> None:
        """Add up the losses that are ready; one by one, so that sums do not depend on when they are read."""
        if len(self.unread) < at_least:
            return
        position = self.state.position
        first = position.step - len(self.unread)
        for offset, (loss, figures, norm, count) in enumerate(self.unread):
            if not math.isfinite(norm.item()):
                raise self._diverged(loss.item(), first + offset, self.batches.indices(position.epoch, first + offset))
            position.loss_sum += loss.item() * count
            for name, figure in figures.items():
                position.figures[name] = position.figures.get(name, 0.0) + figure.item()
            position.num_seen += count
        self.unread.clear()

    def _finish_epoch(self, stop: StopRequest) -> None:
        position = self.state.position
        begin = time.monotonic()
        set_rate(self.optimizer, self._rate_factor(position.step - 1))
        try:
            network = self._answering(stop)
            if self.recipe.head_last and position.epoch + 1 == self.recipe.epochs:
                self.task.fit_head(network, lambda: self._check(stop))
            due = (position.epoch + 1) % self.recipe.score_every == 0 or position.epoch + 1 == self.recipe.epochs
            held_out = self.task.validate(network, lambda: self._check(stop)) if due else Validation({})
        except Stopped as stopped:
            self._save_and_leave(stopped.signal_number)
        if not math.isfinite(held_out.figures.get("val_loss") or 0.0):
            raise DivergedError(f"the held-out loss is not finite after epoch {position.epoch + 1}; {self._way_back()}")
        train_seconds, count = position.seconds, max(1, position.num_seen)
        row: Row = {
            "epoch": position.epoch + 1,
            "seconds": round(position.storing_seconds + train_seconds + time.monotonic() - begin, 3),
            "images_per_second": round(count / max(train_seconds, 1e-9), 2),
            "lr": current_rate(self.optimizer),
            "train_loss": position.loss_sum / count,
            **{f"train_{name}": position.mean(name) for name in self.task.figures},
            **held_out.figures,
            **({"storing_seconds": round(position.storing_seconds, 3)} if self.recipe.views else {}),
        }
        self.state.rows.append(row)
        if held_out.right is not None and self.recipe.select != "last":
            keep_answers(self.state, row["epoch"], held_out.right)
        if self.state.best_row is None or better(row, self.state.best_row, self.recipe.select):
            self.state.best_row, self.state.best = row, states.network_tensors(self.averaged)
        self.state.position = Position(epoch=position.epoch + 1)
        self._decide(lambda: budget.fewer_epochs(self.recipe, self.state.rows, best=self.state.best_row))
        self.save()
        self.watch.epoch(row)
        number = self._signal(stop)
        if number and self.state.position.epoch < self.recipe.epochs:
            self._leave(number)

    def _answering(self, stop: StopRequest) -> ResNet:
        """Return the network as it answers, with BatchNorm's statistics counted anew where the recipe says so."""
        network = self.averaged.eval()
        if self.recipe.batchnorm == "recounted":
            epoch = self.state.position.epoch
            recount(network, self.batches, recipe=self.recipe, epoch=epoch, check=lambda: self._check(stop))
            if self.ranks.size > 1:  # libraries may differ between machines
                network.load_state_dict(self.ranks.by_first(lambda: dict(network.named_buffers())), strict=False)
        return network

    def _fit_into_budget(self, stop: StopRequest) -> None:
        """Before a run with a time budget begins: time a few steps, undo them, and choose the number of epochs."""
        if self.recipe.budget.minutes is None or self.state.begun.timed:
            return
        number, each, storing = 0, 0.0, self.state.position.storing_seconds
        try:
            if self.recipe.train != "all":  # what is frozen sees the held-out pictures once
                self.task.validate(self._answering(stop), lambda: self._check(stop))
            each = budget.seconds_per_epoch(
                self._rehearse,
                lambda: self.task.validate(self._answering(stop), lambda: self._check(stop)),
                steps=self.batches.steps_per_epoch,
            )
            number = self._signal(stop)
        except Stopped as stopped:
            number = stopped.signal_number
        finally:
            self._take_up(self.ranks.by_first(lambda: states.newest(self.folder)))
        if number:
            self._leave(number)
        self.state.begun = replace(self.state.begun, timed=True)
        self.state.position.storing_seconds = storing
        self._decide(
            lambda: budget.epochs_that_fit(
                self.recipe, self.state.rows, each=each, storing=storing, compiled=self.runtime.compiled
            )
        )
        self.save()

    def _rehearse(self, step: int) -> None:
        self._set_training()
        self.state.position.step = step
        self._step(self.state.position)
        self.state.position.step += 1
        self._read(at_least=1)

    def _decide(self, make: Callable[[], budget.Length | None]) -> None:
        """Let the first rank decide about the number of epochs, and record it."""
        if (decision := self.ranks.by_first(make)) is not None:
            self.recipe = self.recipe.changed(epochs=decision.epochs)
            self.state.begun = replace(self.state.begun, recipe=self.recipe.to_json())
            self.watch.note(decision.why)

    def save(self) -> None:
        """Save the state, then what is written again from it; the first rank does, for all hold the same."""
        self._read(at_least=1)
        if not self.ranks.first:
            return
        self.state.model = states.network_tensors(self.network)
        self.state.ema = states.network_tensors(self.averaged) if self.recipe.ema else {}
        self.state.optimizer = states.optimizer_tensors(self.optimizer)
        self.state.save(self.folder)
        self.last_save = time.monotonic()
        self.on_saved(self.state)

    def _save_if_due(self, stop: StopRequest) -> None:
        due = self.ranks.first and time.monotonic() - self.last_save > 60 * self.recipe.save_minutes
        number, due_there = self.ranks.agree(stop.signal_number or 0, due)
        if number:
            self._save_and_leave(number)
        if due_there:
            self.save()

    def _signal(self, stop: StopRequest) -> int:
        """Return the signal that a rank has heard, or 0; all ranks ask at the same places."""
        return self.ranks.agree(stop.signal_number or 0)[0]

    def _check(self, stop: StopRequest) -> None:
        if number := self._signal(stop):
            raise Stopped(number)

    def _save_and_leave(self, signal_number: int) -> None:
        self.save()
        self.ranks.wait()
        self._leave(signal_number)

    def _leave(self, signal_number: int) -> None:
        position = self.state.position
        where = f"epoch {position.epoch + 1} of {self.recipe.epochs}, step {position.step}"
        raise InterruptedRun(f"stopped at {where}; state saved", signal_number=signal_number)

    def _take_up(self, state: State) -> None:
        """Put network, average and optimizer where the state says."""
        self.state = state
        self.unread.clear()
        self.network.load_state_dict(state.model)
        if self.recipe.ema:
            self.averaged.load_state_dict(state.ema or state.model)
        self.optimizer.state.clear()
        states.load_optimizer(self.optimizer, state.optimizer)

    def _halve_micro_batch(self, error: torch.OutOfMemoryError) -> None:
        """Go back to the last save with half the micro-batch; the effective batch stays."""
        batch = min(self.recipe.batch_size, self.batches.num_images)
        present = min(self.state.micro_batch or batch, self.ranks.longest_share(batch))
        if present == 1:
            raise ResourceError("one image does not fit the device's memory: use a smaller --image-size") from error
        half = (present + 1) // 2
        self.optimizer.zero_grad(set_to_none=True)
        self._take_up(self.ranks.by_first(lambda: states.newest(self.folder)))
        self.state.micro_batch = half
        if self.ranks.first:
            self.state.save(self.folder)
        self.watch.note(
            f"out of memory: going on with {half} images at a time, the batch stays {self.recipe.batch_size}"
        )

    def _average(self) -> None:
        """Move the averaged weights toward the present ones; the decay warms up over the first steps."""
        if not self.recipe.ema:
            return
        done = self.state.position.epoch * self.batches.steps_per_epoch + self.state.position.step
        decay = min(self.recipe.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for kept, new in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)

    def _rate_factor(self, step: int) -> float:
        """Return the factor on the learning rate at `step` of the present epoch."""
        steps = self.batches.steps_per_epoch
        return rate_factor(
            self.recipe.schedule, step=self.state.position.epoch * steps + step, steps_per_epoch=steps,
            epochs=self.recipe.epochs,
        )  # fmt: skip

    def _show(self, position: Position, speed: float) -> None:
        seen = max(1, position.num_seen)
        total = self.recipe.epochs * self.batches.num_images
        done = position.epoch * self.batches.num_images + self.batches.num_before(position.step)
        self.watch.step(
            Step(
                epoch=position.epoch + 1, epochs=self.recipe.epochs, step=position.step,
                steps=self.batches.steps_per_epoch, loss=position.loss_sum / seen,
                figures={name: position.mean(name) for name in self.task.figures}, lr=current_rate(self.optimizer),
                images_per_second=speed, seconds_left=(total - done) / speed,
            )
        )  # fmt: skip
