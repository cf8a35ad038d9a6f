"""Training a sweep's trial in the process that is at hand, without workers to start; and its score after each epoch."""

from __future__ import annotations

__all__ = ["Scorer", "TrialStopped", "train_here"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from attn.data.source_cache import SourceCache
from attn.errors import RunError
from attn.evaluation.score import Protocol
from attn.runs.sweep.config import Objective
from attn.runs.table import build_components
from attn.training.allocator import keep_freed_memory
from attn.training.checkpoint import Position
from attn.training.classifier import ClassifierComponents
from attn.training.map_scores import evaluate_classifier
from attn.training.reporter import EpochRecord
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from jobs.runs.checkpoints import checkpoint_name, commit_checkpoint, committed_best
from jobs.runs.open_model import resize_text
from jobs.runs.run_folder import RunFolder
from jobs.scoring.scored_data import describe_data
from jobs.sweeps.objective_scores import write_scores
from jobs.training.hooks import TrainingRun
from jobs.training.worker import RayReporter, accumulator_of

OnEpoch = Callable[[int, dict[str, float], bool], None]
"""Is told an epoch (from 1), its metrics, and whether it was the last one; may raise `TrialStopped`."""


class TrialStopped(BaseException):
    """Somebody wants the trial to end here; raised between two epochs."""


class Scorer:
    """The objective of a network while it is trained.

    Attributes:
        protocols: Of the scores that were taken for it, by name.
    """

    def __init__(self, objective: Objective, config: RunConfig, sources: SourceCache) -> None:
        self.objective, self.config, self.sources = objective, config, sources
        self.protocols: dict[str, Protocol] = {}

    def __call__(self, metrics: dict[str, float], trainer: Trainer) -> dict[str, float]:
        """The epoch's metrics and, where the objective asks for one, the scores of an evaluation of the network.

        Raises:
            RunError: None of them is the objective.
        """
        split = self.objective.split or self.config.validation.split
        there = self.objective.metric in metrics and split == self.config.validation.split
        if not self.objective.of_epoch and not there:
            metrics = metrics | self._evaluated(trainer, split)
        if self.objective.metric not in metrics:
            names = ", ".join(sorted(metrics))
            raise RunError(f"objective.metric={self.objective.metric!r} is not among this run's figures: {names}")
        return metrics

    def _evaluated(self, trainer: Trainer, split: str | None) -> dict[str, float]:
        config, components, world = self.config, trainer.components, trainer.world
        if not isinstance(config, TrainConfig) or not isinstance(components, ClassifierComponents):
            raise RunError(
                f"objective.metric={self.objective.metric!r} is a score of attention maps, which a {config.kind} run "
                "has none of: use val/miou"
            )
        data = config.data if split is None else config.data.model_copy(update={"split": split})
        source = self.sources.get(data)
        named = describe_data(data, source, resize_text(config.input))
        refiner = world.all_or_raise(lambda: components.refiner)
        scores = evaluate_classifier(components.network, source, config, world, refiner=refiner, data=named)
        self.protocols = {name: score.protocol for name, score in scores.items()}
        return {name: score.value for name, score in scores.items()}


class TrialReporter(RayReporter):
    """Keeps a trial's records in its folder; commits its checkpoints by itself."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        loop: dict[str, Any],
        trainer: Trainer,
        scorer: Scorer,
        tell: OnEpoch,
    ) -> None:
        super().__init__(config, trainer.world, loop, trainer)
        self.scorer = scorer
        self.channel.put = lambda record: None  # nobody follows a single trial
        self.channel.mark_saved = lambda: None  # nor asks it to save
        self.tell, self.pending = tell, (0, dict[str, float]())

    def cancelled(self) -> bool:
        return False  # a sweep ends its trials between two epochs

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.pending = (record.epoch + 1, record.metrics)
        super().epoch(record, trainer)

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        """Write and verify, then commit; the epoch is told once a restart can come back to it."""
        name = checkpoint_name(position.epoch, position.batch)
        self.upload(name, write)
        if self.scorer.protocols:  # before the last epoch is committed: a restart would make none anew
            write_scores(self.folder, self.scorer.protocols, self.pending[1])
        commit_checkpoint(self.folder, name, name if self.is_best(position) else committed_best(self.folder))
        if self.accumulator is not None:
            self.accumulator.publish(self.accumulator.version)
        epoch, figures = self.pending
        self.committed(position, figures if position.batch == 0 else {})
        if position.batch == 0:
            self.tell(epoch, figures, self.trainer.has_ended)


def train_here(
    config: RunConfig,
    run: TrainingRun[Any],
    objective: Objective,
    tell: OnEpoch,
    *,
    start: Path | None,
    threads: int,
) -> tuple[dict[str, float], dict[str, Protocol]]:
    """Train in this process alone, to the last epoch.

    Args:
        config: The run's, prepared.
        tell: Is called after each epoch.
        start: Folder of the checkpoint to go on from.

    Returns:
        The last epoch's metrics, and the protocols of the scores among them that were taken for the objective.

    Raises:
        TrainingStopped: The text says why.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if config.cluster.device != "cpu" and torch.cuda.is_available() else "cpu")
    world = World.current(device)
    folder = run.folder
    components = world.all_or_raise(lambda: build_components(config, rank=0, world=1, sources=run.sources))
    accumulator = world.all_or_raise(lambda: accumulator_of(config, world, folder, run.store))
    scorer = Scorer(objective, config, run.sources)
    trainer = Trainer(config, world, components, accumulator, scorer)
    loop = {"run_id": folder.run_id, "tracking_run": folder.state().tracking_run}
    reporter = world.all_or_raise(lambda: TrialReporter(config, folder, loop, trainer, scorer, tell))
    if start is None:
        world.all_or_raise(reporter.preview_untrained)
    trainer.fit(reporter, start)
    return reporter.pending[1], scorer.protocols
