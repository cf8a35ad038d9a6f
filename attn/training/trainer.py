"""The training loop of one process, alone or in a process group.

All output (progress, pictures, checkpoints) goes through a `Reporter`, so the loop is the same in a test, on a laptop
and in a Ray Train worker.
"""

from __future__ import annotations

__all__ = ["Trainer", "TrainingCancelled"]

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from attn.data.classes import check_classes
from attn.data.sample import Batch
from attn.errors import WeightsError
from attn.methods.base import Progress
from attn.training.accumulation import Accumulator
from attn.training.checkpoint import Position, load_checkpoint, save_checkpoint
from attn.training.components import TrainingComponents
from attn.training.optimizer import build_optimizer
from attn.training.randomness import random_state, restore_random_state, seed_everything
from attn.training.reporter import EpochRecord, Reporter, Scorer, StepRecord
from attn.training.run_config import RunConfig
from attn.training.world import TrainingStopped, World
from attn.wording import shorten

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainingCancelled(Exception):
    """The run was cancelled, and its checkpoint is written. Raised on all workers at the same step."""


@dataclass
class _Running:
    """An epoch's sums so far; plain values, which a checkpoint within the epoch keeps.

    Attributes:
        counts: Steps that had each loss: a step may lack some.
        count: Steps. Checkpoints of versions without `counts` have this alone.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    skipped: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.sums, self.count) | self.counts

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.count += 1

    def means(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


class Trainer:
    """Trains one network by one method.

    Args:
        accumulator: Takes the maps; required with `store.accumulate`, and not allowed without.
        scorer: Gives more metrics of every epoch; for a world of one.

    Attributes:
        selection: The best epoch so far, and for how long the scores have not improved.
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
        self.config, self.world, self.accumulator = config, world, accumulator
        self.components = components
        self.network = self.components.network.to(world.device)
        if config.training.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = build_optimizer(self.network, config.optimizer)
        self.auxiliary = self.components.auxiliary
        if self.auxiliary is not None:
            self.auxiliary.module.to(world.device)
        self.model: nn.Module = self.network
        if world.size > 1:
            # Buffers stay each worker's own after the start: a broadcast in the forward would overwrite what the first
            # of two forward passes saved for its backward.
            ids = [world.device.index] if world.device.type == "cuda" else None
            self.model = DistributedDataParallel(self.network, device_ids=ids, forward_sync_buffers=False)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.training.precision == "float16")
        self.position, self.running, self.cancelled = Position(), _Running(), False
        self.selection, self.scorer = config.selection, scorer
        self.batches_per_epoch = len(self.components.sampler)
        accumulate = config.training.accumulate_steps
        self.steps_per_epoch = -(-self.batches_per_epoch // accumulate)
        self.total_steps = config.training.steps or self.steps_per_epoch * config.training.epochs
        self.epochs = -(-self.total_steps // self.steps_per_epoch)
        seed_everything(config.seed, world.rank, deterministic=config.training.deterministic)

    def fit(self, reporter: Reporter, start: Path | None = None) -> dict[str, float]:
        """Train to the last epoch, or to the one after which `training.early_stopping` ends the training.

        Args:
            start: Folder of the checkpoint to continue from.

        Returns:
            The metrics of the last epoch.

        Raises:
            TrainingStopped: On all workers, at the same step: before the update where a loss is not finite, before the
                checkpoint where the weights are not.
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
            self.running = _Running()
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
        batches = self._batches(epoch)
        group_size, clock, seen = self.config.training.accumulate_steps, time.monotonic(), 0
        kept = self.accumulator is not None and self.accumulator.wants(epoch)
        batch_index = self.position.batch
        while batch_index < self.batches_per_epoch and self.position.step < self.total_steps:
            size = min(group_size, self.batches_per_epoch - batch_index)
            fraction = self.position.step / self.total_steps
            factor = self.config.schedule.factor(fraction)
            for group in self.optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            losses = _Running()
            for micro in range(size):
                # Fetched by itself: a method may ask the other workers, who must all have a batch by then.
                batch = self.world.all_or_raise(lambda: next(batches))
                result = self._forward_backward(
                    batch, Progress(epoch, self.position.step, fraction, maps=kept), size, last=micro == size - 1
                )
                losses.add({name: float(value.detach()) for name, value in result.items()})
                self.running.skipped += batch.skipped + (batch.source_batch.skipped if batch.source_batch else ())
                seen += len(batch.image_ids)
            self._update()
            batch_index += size
            self.position = Position(epoch, batch_index, self.position.step + 1)
            self.running.add(losses.means())
            lr = self.config.optimizer.lr * factor
            self._report_step(reporter, epoch, losses.means(), lr, seen / max(time.monotonic() - clock, 1e-9))
            self.cancelled = self.world.any(self.world.rank == 0 and reporter.cancelled())
            every = self.config.checkpoint.every_steps
            due = self.cancelled or (every and self.position.step % every == 0)
            if due and batch_index < self.batches_per_epoch and self.position.step < self.total_steps:
                self._save_within(epoch, reporter)
                if self.cancelled:
                    raise TrainingCancelled

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """The remaining batches of the epoch, each with its batch of the second stream, if the method has one."""
        batches, stream, first = iter(self.components.loader), self.components.source_batches, self.position.batch
        if stream is not None:
            others = stream.batches(epoch * self.batches_per_epoch + first, self.batches_per_epoch - first)
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

    def _forward_backward(self, batch: Batch, progress: Progress, group: int, *, last: bool) -> dict[str, Tensor]:
        """Compute a micro-batch's losses and gradients.

        Args:
            group: Micro-batches of the optimiser step.
            last: The last of them: its backward pass averages the gradients over the workers.
        """
        sync = (
            contextlib.nullcontext()
            if last or not isinstance(self.model, DistributedDataParallel)
            else self.model.no_sync()
        )
        with sync:
            losses = self.world.all_or_raise(lambda: self._step(batch, progress))
            self.scaler.scale(losses["loss"] / group).backward()
            if self.auxiliary is not None:
                self.scaler.scale(losses[self.auxiliary.loss] / group).backward()
        return losses

    def _step(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Compute the losses of the method's step, and give its maps to the accumulator if `progress.maps` is set.

        Raises:
            TrainingStopped: A loss is not finite, or the method returns no maps.
            MapError: A map is not finite.
        """
        with self._autocast():
            output = self.components.method.step(self.model, batch, progress)
        bad = {name: value.item() for name, value in output.losses.items() if not torch.isfinite(value).all()}
        if bad:
            names = batch.image_ids + (batch.source_batch.image_ids if batch.source_batch else ())
            ids = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise TrainingStopped(
                f"{', '.join(f'{name} = {value}' for name, value in bad.items())} at epoch {progress.epoch + 1}, "
                f"step {progress.step + 1}, images {ids}; the update was not made. "
                "Lower optimizer.lr, or set training.clip_norm"
            )
        if progress.maps and self.accumulator is not None:
            if output.maps is None:
                raise TrainingStopped(
                    f"{type(self.components.method).__name__}.step returned no maps at epoch {progress.epoch + 1}, "
                    f"step {progress.step + 1}: it must return StepOutput.maps where progress.maps is set. Mend the "
                    "method, or set store.accumulate=false"
                )
            self.accumulator.add(batch, output.maps, progress.epoch)
        return output.losses

    def _update(self) -> None:
        if self.config.training.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.config.training.clip_norm)
        self.scaler.step(self.optimizer)
        if self.auxiliary is not None:
            self.world.average_gradients(self.auxiliary.module)
            self.scaler.step(self.auxiliary.optimizer)
            self.auxiliary.module.zero_grad(set_to_none=True)
        self.scaler.update()
        self.network.zero_grad(set_to_none=True)  # those too that the optimiser leaves as they are

    def _report_step(
        self, reporter: Reporter, epoch: int, losses: dict[str, float], lr: float, local_rate: float
    ) -> None:
        if self.world.rank != 0:
            return
        rate = local_rate * self.world.size
        left = (self.total_steps - self.position.step) * self.config.training.batch_size / rate
        record = StepRecord(epoch, self.epochs, self.position.step, self.total_steps, losses, lr, rate, left)
        reporter.step(record)

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
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "classes": list(self.components.source.classes),
        }
        if self.auxiliary is not None:
            shared["auxiliary"] = self.auxiliary.module.state_dict()
            shared["auxiliary_optimizer"] = self.auxiliary.optimizer.state_dict()
        if self.accumulator is not None:
            shared |= self.accumulator.state()
        shared |= self.selection.state()
        own = {"random": random_state(), "running": asdict(self.running), "buffers": buffers}

        def write(folder: Path) -> None:
            save_checkpoint(folder, self.position, shared, own, self.world.rank, self.world.size)

        reporter.checkpoint(self.position, metrics, write)

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
        self.position, self.selection = position, self.selection.restored(shared)
        return shared

    def _take_over(self, folder: Path, shared: dict[str, Any], own: dict[str, Any] | None) -> None:
        try:
            self.network.load_state_dict(shared["model"])
            _load(self.optimizer, shared["optimizer"])
            self.scaler.load_state_dict(shared["scaler"])
            if self.auxiliary is not None:
                self.auxiliary.module.load_state_dict(shared["auxiliary"])
                _load(self.auxiliary.optimizer, shared["auxiliary_optimizer"])
            if own is not None:
                restore_random_state(own["random"])
                self.running = _Running(**own["running"])
                if own["buffers"] is not None:
                    self._take_buffers(own["buffers"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = shorten(str(error), 200)
            raise WeightsError(
                f"checkpoint {folder} does not fit what this run trains ({type(error).__name__}: {reason}): it is of "
                "another config, or damaged; resume from an older one"
            ) from None


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer's state, but keep the settings of the config, which may have changed since."""
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
