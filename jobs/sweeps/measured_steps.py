"""What a training costs, measured on a few of its images in this process, as one worker does the work."""

from __future__ import annotations

__all__ = ["STEPS", "images_of", "measured_costs"]

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attn import progress
from attn.data.source import Source, SourceConfig
from attn.data.source_cache import SourceCache
from attn.data.view import SourceView
from attn.errors import ConfigError, RunError
from attn.pictures.preview import evenly_spaced
from attn.runs.composed import ComposedConfig
from attn.runs.sweep.config import Objective
from attn.runs.table import KINDS, build_components
from attn.scratch import scratch_folder
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import CueLabels, FileLabels
from attn.training.checkpoint import Position
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.training.trainer import EpochRecord, StepRecord, Trainer
from attn.training.world import World
from jobs.ray_cluster.capacity import cluster_capacity
from jobs.ray_cluster.session import threads_of
from jobs.sweeps.comparable import warmup_share
from jobs.sweeps.costs import Costs
from jobs.sweeps.estimate import quantiles
from jobs.sweeps.plan import Plan
from jobs.sweeps.trial_training import Scorer

STEPS = 5
"""Steps of an epoch that is measured; there are two epochs, of which the first is a warm-up."""
LEAST_IMAGES = 16
"""Fewer may all have the same labels."""
IMAGES = 64
"""Images that are validated and scored."""
STAND_IN_SIDE = 64
"""Height and width of labels that stand in for cues."""
Trained = TrainConfig | SegmentConfig


def measured_costs(
    config: RunConfig | ComposedConfig,
    start: tuple[float, float],
    plan: Plan | None = None,
    objective: Objective | None = None,
) -> Costs:
    """Measure the parts of a training. Cues that it would make first, and its second round, are not among them.

    Args:
        start: As `measured_start` gives it.
        plan: Of the sweep that the training is a trial of.
        objective: Of that sweep.

    Raises:
        ConfigError: It does not train one network.
    """
    if not isinstance(config, Trained):
        message = f"steps of a {config.kind} cannot be measured as those of a sweep's trials"
        raise ConfigError(f"{message}: measure one alone, `attn plan {config.kind} TARGET --measure`")
    settled: dict[str, Any] = {
        "checkpoint": config.checkpoint.model_copy(update={"best": None}),
        "cluster": config.cluster.model_copy(update={"workers": 1}),
    }
    if isinstance(config, TrainConfig):
        settled["store"] = config.store.model_copy(update={"accumulate": False})
    evaluated = config.selection.metrics & set(config.evaluated_scores)
    at_once = config.cluster.most_workers if plan is None else plan.parallel * plan.workers
    threads = plan.threads if plan is not None else threads_of(config.cluster, cluster_capacity())
    config, workers_of_run = config.model_copy(update=settled), config.cluster.most_workers
    warm = warmup_share(config)
    load = _other_work()
    results: list[tuple[float, _Measured]] = []
    with progress.task("measuring a few steps"), _share_of_machine(at_once, threads):
        for share, warmup in ((warm, 2), (1 - warm, 0)):
            if share > 0:  # steps cost more once a method's own terms have begun
                update = {"warmup_epochs": warmup} if hasattr(config.method, "warmup_epochs") else {}
                changed = config.model_copy(update={"method": config.method.model_copy(update=update)})
                results.append((share, _measure(changed, workers_of_run, objective, evaluated)))

    def mean(value: Callable[[_Measured], float]) -> float:
        return sum(share * value(measured) for share, measured in results)

    return Costs(
        (mean(lambda one: one.epoch[0]), mean(lambda one: one.epoch[1]), mean(lambda one: one.epoch[2])),
        f"{STEPS} steps and {IMAGES} images measured here and now",
        validation=mean(lambda one: one.validation),
        scoring=mean(lambda one: one.scoring),
        pictures=mean(lambda one: one.pictures),
        checkpoint=mean(lambda one: one.checkpoint),
        setup=mean(lambda one: one.setup),
        ray=start[0],
        workers=start[1],
        load=load,
    )


def images_of(config: Trained, workers: int) -> int:
    """How many images are needed to measure a training.

    Args:
        workers: Of the run.
    """
    if isinstance(config, TrainConfig) and config.method.build().supervision is not None:  # of a given number of images
        return sys.maxsize
    return max(STEPS * (config.training.batch_size // workers), LEAST_IMAGES)


def _other_work() -> float:
    """Processes that had work in the last five minutes, for each core of the machine."""
    try:
        return round(os.getloadavg()[1] / (os.cpu_count() or 1), 2)
    except OSError:
        return 0.0


@contextlib.contextmanager
def _share_of_machine(at_once: int, threads: int) -> Generator[None]:
    """Use as many cores as one of several processes at the same time has, with its number of threads."""
    if sys.platform != "linux":
        yield
        return
    cores, before = sorted(os.sched_getaffinity(0)), torch.get_num_threads()
    share = cores[: max(1, len(cores) // at_once)]
    os.sched_setaffinity(0, share)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _labelled(config: Trained, sources: SourceCache) -> Generator[Trained]:
    """The config with labels that stand in for cues that are not made yet: of each image, its classes side by side."""
    if not isinstance(config, SegmentConfig) or not isinstance(config.labels, CueLabels):
        yield config
        return
    records = sources.get(config.data).records
    cues = np.zeros((len(records), STAND_IN_SIDE, STAND_IN_SIDE), np.uint8)  # background
    for cue_HW, record in zip(cues, records, strict=True):
        parts = np.array_split(np.arange(STAND_IN_SIDE), len(record.labels) + 1)
        for label, columns in zip(record.labels, parts[1:], strict=True):
            cue_HW[:, columns] = label + 1
    with scratch_folder() as folder:
        np.savez(folder / "cues.npz", ids=[record.image_id for record in records], cues=cues)
        yield config.model_copy(update={"labels": FileLabels(path=str(folder / "cues.npz"))})


class _FewImages(SourceCache):
    """The sources of a config, each with few of its images.

    Args:
        trained: The data to train on.
        images: How many of its images are needed; of others there are a few.
    """

    def __init__(self, trained: SourceConfig, images: int) -> None:
        super().__init__()
        self._trained, self._images = trained, images
        self._views: dict[str, SourceView] = {}

    def get(self, config: SourceConfig, *, labels: bool = True) -> Source:
        key = config.model_dump_json()
        if key not in self._views:
            source = super().get(config, labels=labels)
            wanted = self._images if config == self._trained else IMAGES
            chosen = evenly_spaced(source.records, min(wanted, len(source.records)))
            self._views[key] = SourceView(source, chosen, source.classes)
        return self._views[key]

    def counted(self, config: SourceConfig) -> int:
        """How many images there are in all."""
        return len(super().get(config).records)

    def scale(self, config: SourceConfig) -> float:
        """How many times as many images there are."""
        return self.counted(config) / max(1, len(self.get(config).records))


class _Clock:
    """Reporter that notes how long each part of the last epoch takes.

    Attributes:
        steps: Seconds of each step after an epoch's first.
        scores: When the scores after an epoch were there.
    """

    def __init__(self, previews: int) -> None:
        self.previews = previews
        self.steps: list[float] = []
        self.last = self.trained = self.scores = self.pictures = self.saved = 0.0

    def step(self, record: StepRecord) -> None:
        now = time.perf_counter()
        if self.last:
            self.steps.append(now - self.last)
        self.last = self.trained = now

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.scores = time.perf_counter() - self.trained
        if record.epoch + 1 < trainer.epochs:
            self.steps.clear()  # a warm-up
        if record.epoch + 1 == trainer.epochs and self.previews:
            begun = time.perf_counter()
            for _, picture in trainer.components.previewer(self.previews).draw():
                picture.png()
            self.pictures = time.perf_counter() - begun

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        begun = time.perf_counter()
        with scratch_folder() as folder:
            write(folder)
        self.saved = time.perf_counter() - begun
        self.last = 0.0


class _TimedScorer(Scorer):
    """The scores of a sweep's objective, and how long they took."""

    seconds = 0.0

    def __call__(self, metrics: dict[str, float], trainer: Trainer) -> dict[str, float]:
        begun = time.perf_counter()
        try:
            return super().__call__(metrics, trainer)
        except RunError:  # so few images may not have the score
            return metrics
        finally:
            self.seconds = time.perf_counter() - begun


@dataclass(frozen=True)
class _Measured:
    """Seconds of the parts for all images."""

    epoch: tuple[float, float, float]
    validation: float
    scoring: float
    pictures: float
    checkpoint: float
    setup: float


def _measure(config: Trained, workers: int, objective: Objective | None, evaluated: frozenset[str]) -> _Measured:
    """Train two epochs of a few steps.

    Args:
        workers: Of the run; this one does its share of a step.
        evaluated: Scores of an evaluation by which the run selects its epochs.
    """
    batch = config.training.batch_size // workers
    every = (images := images_of(config, workers)) == sys.maxsize
    import_module(str(KINDS[config.kind].build).partition(":")[0])  # is part of a worker's start
    begun, sources = time.perf_counter(), _FewImages(config.data, images)
    few = {"steps": 2 * STEPS if every else None, "epochs": 2, "batch_size": batch, "early_stopping": None}
    validation = config.validation.model_copy(update={"every_epochs": 1})
    changed = config.model_copy(update={"training": config.training.model_copy(update=few), "validation": validation})
    with _labelled(changed, sources) as changed:
        components = build_components(changed, rank=0, world=1, sources=sources)
    setup = time.perf_counter() - begun
    scorer = None if objective is None or objective.of_epoch else _TimedScorer(objective, changed, sources)
    clock = _Clock(config.tracking.preview_images)
    trainer = Trainer(changed, World.current(), components, scorer=scorer)
    trainer.fit(clock)
    scored = 0.0 if scorer is None else scorer.seconds
    selecting = time.perf_counter()
    known = components.evaluate(evaluated, World.current()) if evaluated else {}
    selecting = time.perf_counter() - selecting
    per_step = workers * config.training.accumulate_steps
    steps = (
        len(components.sampler) / per_step if every else -(-sources.counted(config.data) // config.training.batch_size)
    )
    # A step has all its parts, as on the clock.
    low, middle, high = (steps * seconds for seconds in quantiles(clock.steps))
    split = config.validation.split
    validated = 0.0 if split is None else sources.scale(config.data.model_copy(update={"split": split}))
    of_objective = None if objective is None else objective.split or split
    has_objective = objective is not None and of_objective == split and objective.metric in known
    scored_data = config.data if of_objective is None else config.data.model_copy(update={"split": of_objective})
    return _Measured(
        (low, middle, high),
        validation=(max(0.0, clock.scores - scored) + selecting) * validated,
        scoring=0.0 if scorer is None or has_objective else scored * sources.scale(scored_data),
        pictures=clock.pictures,
        checkpoint=clock.saved,
        setup=setup,
    )
