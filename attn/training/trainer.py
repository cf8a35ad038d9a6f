"""The training loop of one process, alone or in a process group.

All output (progress, pictures, checkpoints) goes through a `Reporter`, so the loop is the same in a test, on a laptop
and in a Ray Train worker.
"""

from __future__ import annotations

__all__ = ["Trainer", "TrainingCancelled"]

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attn.data.classes import check_classes
from attn.data.sample import Batch
from attn.errors import WeightsError
from attn.maps.checks import deferred
from attn.methods.base import Progress, StepOutput
from attn.training.accumulation import Accumulator
from attn.training.checkpoint import Position, load_checkpoint, save_checkpoint
from attn.training.components import TrainingComponents
from attn.training.length import Length
from attn.training.pace import Pace
from attn.training.pending import PendingStep
from attn.training.randomness import random_state, restore_random_state, seed_everything
from attn.training.reporter import EpochRecord, Reporter, Scorer, StepRecord
from attn.training.run_config import RunConfig
from attn.training.running import Running
from attn.training.update import Updater
from attn.training.world import Fault, TrainingStopped, World, attempt
from attn.wording import shorten

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainingCancelled(Exception):
    """The run was cancelled, and its checkpoint is written. Raised on all workers at the same step."""


class Trainer:
    """Trains one network by one method.

    Args:
        accumulator: Takes the maps; required with `store.accumulate`, and not allowed without.
        scorer: Gives more metrics of every epoch; for a world of one.

    Attributes:
        selection: The best epoch so far, and for how long the scores have not improved.
        length: The epochs and steps of the whole training, those before a restart among them.
        length_notice: A message about a checkpoint of a run whose epochs had another number of steps.
        epoch_end: The number of steps at the end of the epoch that is trained.
        save_requested: A checkpoint is wanted before the training goes on; set it on the first worker.
    """

    def __init__(
        self,
        config: RunConfig,
        world: World,
        components: TrainingComponents,
        accumulator: Accumulator | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        if config.accumulates != (accumulator is not None):
            raise ValueError(f"store.accumulate={config.accumulates} does not go with accumulator={accumulator}")
        self.config, self.world, self.accumulator, self.components = config, world, accumulator, components
        self.network = components.network.to(world.device)
        if config.training.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.updater = Updater(self.network, components.auxiliary, config, world)
        self.auxiliary = self.updater.auxiliary
        self.position, self.running, self.cancelled, self._lacks_batch = Position(), Running(), False, False
        self._pending: PendingStep | None = None
        self._late_fault: Fault | None = None
        self.selection, self.scorer = config.selection, scorer
        self.length = Length.of(config.training, components.sampler.batches_in)
        self.length_notice: str | None = None
        self.epoch_end, self.save_requested, self._saves = 0, False, False
        seed_everything(config.seed, world.rank, deterministic=config.training.is_deterministic(world.device.type))

    def fit(self, reporter: Reporter, start: Path | None = None) -> dict[str, float]:
        """Train to the last epoch, or to the one after which `training.early_stopping` ends the training.

        Args:
            start: Folder of the checkpoint to continue from.

        Returns:
            The metrics of the last epoch.

        Raises:
            TrainingStopped: On all workers, at the same step: where a loss is not finite, one step later, with weights
                and the optimiser's state as they were before that step; where weights are not, before the checkpoint.
            TrainingCancelled: On all workers, at the same step, after a checkpoint.
            WeightsError: The checkpoint is damaged.
        """
        saved = None if start is None else self._restore(start)
        if self.accumulator is not None:
            self.accumulator.begin(saved)
        metrics: dict[str, float] = {}
        while not self.has_ended:
            epoch = self.position.epoch
            self._train_epoch(epoch, reporter)
            losses = self.world.mean(self.running.means())
            skipped = tuple(dict.fromkeys(name for names in self.world.gather(self.running.skipped) for name in names))
            self.running = Running()
            metrics = {f"train/{name}": value for name, value in losses.items()}
            self._settle()
            if self.accumulator is not None:
                metrics |= self.accumulator.finish_epoch(epoch)
            metrics |= self._scores(epoch, metrics)
            self.position = Position(epoch + 1, 0, self.position.step)
            self._report_epoch(reporter, EpochRecord(epoch, self.position.step, metrics, skipped))
            self._save(reporter, metrics)
            if self.cancelled and not self.has_ended:
                raise TrainingCancelled
        return metrics

    @property
    def epochs(self) -> int:
        """Number of epochs of the whole training."""
        return self.length.epochs

    @property
    def total_steps(self) -> int:
        """Number of optimiser steps of the whole training."""
        return self.length.steps

    def steps_in(self, epoch: int) -> int:
        """Number of optimiser steps of a whole epoch."""
        return -(-self.components.sampler.batches_in(epoch) // self.config.training.accumulate_steps)

    @property
    def has_ended(self) -> bool:
        """Whether no epoch is left, or early stopping has ended the training."""
        return self.position.epoch >= self.epochs or self.selection.stops

    def _scores(self, epoch: int, losses: dict[str, float]) -> dict[str, float]:
        """The scores after an epoch, none where it is not validated; the selection takes them into account."""
        metrics = dict(losses)
        validated = epoch + 1 == self.epochs or (epoch + 1) % self.config.validation.every_epochs == 0
        if validated:
            metrics |= self.components.validate(self.world, self._autocast())
            if wanted := self.selection.metrics & set(self.config.evaluated_scores):
                metrics |= self.components.evaluate(wanted, self.world)
        scores = dict(metrics)  # a scorer's may be of another split
        if (scorer := self.scorer) is not None:
            metrics |= self.world.all_or_raise(lambda: scorer(scores, self))
        if validated and self.selection.metrics and epoch >= self.config.first_counted(self.epochs):
            may_stop = epoch >= self.config.first_stopping(self.epochs)
            self.selection = self.selection.after(epoch + 1, scores, metrics, may_stop=may_stop)
        return metrics

    def _train_epoch(self, epoch: int, reporter: Reporter) -> None:
        self.network.train()
        self.components.dataset.set_epoch(epoch)
        self.components.sampler.set_epoch(epoch)
        self.components.sampler.start(self.position.batch)
        count, accumulate = self.components.sampler.batches_in(epoch), self.config.training.accumulate_steps
        left = -(-(count - self.position.batch) // accumulate)
        self.epoch_end = min(self.position.step + left, self.total_steps)
        if not left:  # the checkpoint is of an epoch that had more batches
            return
        batches = self._batches(epoch)
        following: Batch | Fault | None = self.world.all_or_raise(lambda: next(batches))
        pace = Pace()
        kept = self.accumulator is not None and self.accumulator.wants(epoch)
        while self.position.step < self.epoch_end:
            size = min(accumulate, count - self.position.batch)
            fraction = self.position.step / self.total_steps
            factor = self.config.schedule.factor(fraction)
            self.updater.set_rate(factor)
            step = PendingStep(epoch, self.position.step, self.config.optimizer.lr * factor)
            after = Position(epoch, self.position.batch + size, self.position.step + 1)
            for micro in range(size):
                batch, last = self._agreed(following, reporter), micro == size - 1
                with self.updater.micro_batch(last=last):
                    output = attempt(partial(self._forward, batch, Progress(epoch, step.step, fraction, maps=kept)))
                    # Read ahead, while the device computes: a method may ask all workers, so each must have a batch.
                    ends = last and after.step == self.epoch_end
                    following = None if ends else pace.wait(lambda: attempt(lambda: next(batches)))
                    lacks_batch = isinstance(following, Fault)
                    losses = self._checked(batch, output, step, reporter, lacks_batch=lacks_batch, last=last)
                    self.updater.backward(losses, size)
                pace.count(len(batch.image_ids))
            self.updater.step()
            step.end(self.updater.blocked, pace)
            self.position, self._pending = after, step
            every = self.config.checkpoint.every_steps or after.step + 1
            due = self.cancelled or self._saves or after.step % every == 0
            if due and after.step < self.epoch_end:
                self._finish_all(reporter)
                self._save_within(epoch, reporter)
                if self.cancelled:
                    raise TrainingCancelled
        self._finish_all(reporter)
        self.cancelled = self.world.any(self.cancelled or (self.world.rank == 0 and reporter.cancelled()))

    def _agreed(self, following: Batch | Fault | None, reporter: Reporter) -> Batch:
        """The next batch, if all workers have read one."""
        if self._lacks_batch:
            self._finish_all(reporter)
            self.world.raise_fault(following if isinstance(following, Fault) else None)
        assert isinstance(following, Batch), "one worker's fault is known to all"
        return following

    def _checked(
        self,
        batch: Batch,
        output: StepOutput | Fault,
        step: PendingStep,
        reporter: Reporter,
        *,
        lacks_batch: bool,
        last: bool,
    ) -> dict[str, Tensor]:
        """The losses of a micro-batch, once no worker has a fault; in the meantime, the step before is reported.

        Args:
            lacks_batch: This worker could not read the batch after this one.
            last: The last micro-batch of its step.

        Raises:
            TrainingStopped: On all workers: the method, or the step before, has failed on one of them.
            StorageAwayError: On all workers, likewise.
        """
        fault = output if isinstance(output, Fault) else self._late_fault
        bad = torch.zeros_like(self.updater.blocked) if isinstance(output, Fault) else step.add(batch, output)
        cancelled = last and self.world.rank == 0 and reporter.cancelled()
        exchange = self.world.exchange([fault is not None, lacks_batch, cancelled, last and self.save_requested], bad)
        self._finish(reporter)
        failed, self._lacks_batch, self.cancelled, self._saves = exchange.flags()
        if failed:
            self.world.raise_fault(fault)
        assert isinstance(output, StepOutput), "one worker's fault is known to all"
        self.updater.block(exchange.bad())
        return output.losses

    def _finish(self, reporter: Reporter) -> None:
        """Report the step before, once its results have arrived. The first fault of maps is kept until it is raised.

        Raises:
            TrainingStopped: On all workers: a loss was not finite.
        """
        if (step := self._pending) is None:
            return
        self._pending = None
        parts, blocked = step.read()
        if blocked:
            fault = self.world.first_fault(step.describe_fault(parts))
            raise TrainingStopped(fault or "a loss was not finite; the update was not made")
        losses = Running()
        for values in parts:
            losses.add(values)
        self.running.add(losses.means())
        self.running.skipped += step.skipped()
        self._report_step(reporter, step, losses.means())
        if self.accumulator is not None and self._late_fault is None:
            added = attempt(partial(step.accumulate, self.accumulator))
            self._late_fault = added if isinstance(added, Fault) else None

    def _finish_all(self, reporter: Reporter) -> None:
        """Report the step before, and raise the faults that are kept."""
        self._finish(reporter)
        if self.world.any(self._late_fault is not None):
            self.world.raise_fault(self._late_fault)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """The remaining of the epoch's batches, each with its batch of the second stream, if the method has one."""
        batches, stream, first = iter(self.components.loader), self.components.source_batches, self.position.batch
        if stream is not None:
            sampler = self.components.sampler
            before = sum(sampler.batches_in(earlier) for earlier in range(epoch))
            others = stream.batches(before + first, sampler.batches_in(epoch) - first)
            batches = (replace(batch, source_batch=other) for batch, other in zip(batches, others, strict=True))
        weights = self.components.class_weights
        weights = None if weights is None else weights.to(self.world.device)
        for batch in batches:
            weighted = batch if weights is None else replace(batch, class_weights=weights)
            yield weighted.to(self.world.device, channels_last=self.config.training.channels_last)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        precision = self.config.training.precision
        if precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.world.device.type, dtype=PRECISIONS[precision])

    def _forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """Compute a micro-batch's losses, and its maps if `progress.maps` is set.

        Raises:
            TrainingStopped: The method returns no maps.
        """
        with self._autocast(), deferred():
            output = self.components.method.step(self.updater.model, batch, progress)
        if progress.maps and output.maps is None:
            raise TrainingStopped(
                f"{type(self.components.method).__name__}.step returned no maps at epoch {progress.epoch + 1}, "
                f"step {progress.step + 1}: it must return StepOutput.maps where progress.maps is set. Mend the "
                "method, or set store.accumulate=false"
            )
        return output

    def _report_step(self, reporter: Reporter, step: PendingStep, losses: dict[str, float]) -> None:
        if self.world.rank != 0:
            return
        rate = step.rate * self.world.size
        left = (self.total_steps - step.step - 1) * self.config.training.batch_size / rate
        place = (step.epoch, self.epochs, step.step + 1, self.total_steps)
        reporter.step(StepRecord(*place, losses, step.lr, rate, left, step.waiting))

    def _settle(self) -> None:
        """Average the workers' running statistics, and refuse a network that has diverged."""
        self.world.average_buffers(self.network)
        held = self.network.state_dict() | (self.auxiliary.module.state_dict() if self.auxiliary else {})
        bad = next((name for name, value in held.items() if not torch.isfinite(value).all()), None)
        if fault := self.world.first_fault(
            bad and f"{bad} holds NaN or infinity: nothing was saved. Lower optimizer.lr"
        ):
            raise TrainingStopped(fault)

    def _report_epoch(self, reporter: Reporter, record: EpochRecord) -> None:
        self.world.all_or_raise(lambda: reporter.epoch(record, self) if self.world.rank == 0 else None)

    def _save_within(self, epoch: int, reporter: Reporter) -> None:
        """Save within an epoch. Each worker keeps its own statistics, so that saving does not change the training."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        self._settle()
        if self.accumulator is not None:
            self.accumulator.checkpoint(epoch)
        self._save(reporter, {}, buffers)
        self._take_buffers(buffers)

    def _take_buffers(self, buffers: dict[str, Tensor]) -> None:
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])

    def _save(self, reporter: Reporter, metrics: dict[str, float], buffers: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint.

        Args:
            buffers: This worker's own, within an epoch.
        """
        shared = {
            "model": self.network.state_dict(),
            **self.updater.state(),
            "classes": list(self.components.source.classes),
        }
        if self.accumulator is not None:
            shared |= self.accumulator.state()
        shared |= self.selection.state()
        own = {"random": random_state(), "running": asdict(self.running), "buffers": buffers}

        def write(folder: Path) -> None:
            save_checkpoint(folder, self.position, shared, own, self.world.rank, self.world.size)

        reporter.checkpoint(self.position, metrics, write)
        self.save_requested = False

    def _read(self, folder: Path) -> tuple[Position, dict[str, Any], dict[str, Any] | None]:
        """Read a checkpoint, and check its classes. Old checkpoints do not name them, and are accepted."""
        result = load_checkpoint(folder, self.world.rank, self.world.size)
        classes = self.components.source.classes
        check_classes(result[1].get("classes", classes), classes, what="the run's checkpoint")
        bad = next((name for name, value in result[1]["model"].items() if not torch.isfinite(value).all()), None)
        if bad is not None:
            raise WeightsError(f"checkpoint {folder}: {bad} holds NaN or infinity; resume from an older one")
        return result

    def _restore(self, folder: Path) -> dict[str, Any]:
        """Load a checkpoint, and return the values that all workers share."""
        position, shared, own = self.world.all_or_raise(lambda: self._read(folder))
        self.world.all_or_raise(lambda: self._take_over(folder, shared, own))
        length = Length.of(self.config.training, self.components.sampler.batches_in, position)
        self.length_notice = length.notice(position) if length != self.length else None
        self.length = length
        self.position = replace(position, batch=min(position.batch, self.components.sampler.batches_in(position.epoch)))
        self.selection = self.selection.restored(shared)
        return shared

    def _take_over(self, folder: Path, shared: dict[str, Any], own: dict[str, Any] | None) -> None:
        try:
            self.network.load_state_dict(shared["model"])
            self.updater.load(shared)
            if own is not None:
                restore_random_state(own["random"])
                self.running = Running(**own["running"])
                if own["buffers"] is not None:
                    self._take_buffers(own["buffers"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = shorten(str(error), 200)
            raise WeightsError(
                f"checkpoint {folder} does not fit what this run trains ({type(error).__name__}: {reason}): it is of "
                "another config, or damaged; resume from an older one"
            ) from None
