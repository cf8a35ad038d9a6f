"""Configuration of a training's steps, checkpoints and workers."""

from __future__ import annotations

__all__ = ["CheckpointConfig", "ClusterConfig", "StoreConfig", "TrainingConfig", "ValidationConfig"]

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Config, Location
from attn.evaluation.voc import AveragePrecisionRule
from attn.files.patience import DEFAULT_PATIENCE_SECONDS
from attn.maps.settings import MapSettings
from attn.training.selection import EarlyStoppingConfig

LOADERS_OF_A_GPU = 4


class TrainingConfig(Config):
    """The training loop.

    Attributes:
        epochs: Passes over the training split.
        steps: Optimiser steps of the whole run, in place of `epochs`; the last epoch may then be cut short.
        batch_size: Images of one optimiser step, over all workers and accumulated steps together.
        accumulate_steps: Parts that each worker computes its share of a batch in, one after the other, to save memory.
        clip_norm: Largest norm of the gradient; a larger gradient is scaled down.
        precision: Of the forward and backward pass; weights stay in float32.
        channels_last: Memory layout of images and weights; faster for most networks.
        deterministic: Use reproducible operations wherever PyTorch has them. `auto`: on CPUs, not on GPUs, where they
            are slower; without them two runs of one config differ by rounding.
        shuffle: Visit the images in a new order every epoch.
        class_weights: Weights of the classification loss. `balanced`: all classes count equally, and of each class the
            images with it as much as those without; by the labels of the training split.
        sampling: Images of an epoch. `uniform`: each of them once. `balanced`: as many draws as there are images, of
            each class equally many.
        early_stopping: End the training when a score no longer improves; null: train to the last epoch.
    """

    epochs: int = Field(default=10, ge=1, le=1_000_000)
    steps: int | None = Field(default=None, ge=1, le=1_000_000_000)
    batch_size: int = Field(default=16, ge=1, le=65_536)
    accumulate_steps: int = Field(default=1, ge=1, le=65_536)
    clip_norm: float | None = Field(default=None, gt=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    deterministic: bool | Literal["auto"] = "auto"
    shuffle: bool = True
    class_weights: Literal["balanced"] | None = None
    sampling: Literal["uniform", "balanced"] = "uniform"
    early_stopping: EarlyStoppingConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.class_weights is not None and self.sampling == "balanced":
            raise ValueError(
                "class_weights=balanced and sampling=balanced would both make up for rare classes, and together too "
                "much: set one of them"
            )
        return self

    def is_deterministic(self, device: str) -> bool:
        """Whether training on a device of a type (`cpu`, `cuda`) uses reproducible operations."""
        return device == "cpu" if self.deterministic == "auto" else self.deterministic


class ValidationConfig(Config):
    """Scores on another split of the same data, while training goes on.

    Attributes:
        split: Split of the same data; null for no validation. By default the one that goes with the training split:
            `val`, of COCO's `train2017` `val2017`, of CIFAR and Caltech-256 `test`.
        every_epochs: Validate after every so many epochs, and after the last.
        average_precision: How a classifier's `val/mean_ap` is computed: see `AveragePrecisionRule`. With VOC's rules an
            image does not count for a class of which it shows only difficult objects, where the data tells.
        maps: How a classifier's maps are made where scores of them (`seed_miou`, ...) select an epoch or are a sweep's
            objective.
        allow_overlap: Also score images that are trained on, which says nothing of others.
    """

    split: str | None = "val"
    every_epochs: int = Field(default=1, ge=1)
    average_precision: AveragePrecisionRule = "sklearn"
    maps: MapSettings = MapSettings()
    allow_overlap: bool = False

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {"split": ("every_epochs", "average_precision", "maps", "allow_overlap")} if self.split is None else {}


class CheckpointConfig(Config):
    """Checkpoints, from which a restart continues: after every epoch and, if given, every so many steps within it.

    Attributes:
        every_steps: Also write a checkpoint after every so many optimiser steps of an epoch.
        keep: How many of the newest checkpoints are kept; with `best`, of those that were the best one when they were
            written, and the newest besides.
        best: Score of the epochs, such as `val/mean_ap`, `val/loss`, `seed_miou` or, of segmentation, `val/miou`. The
            checkpoint of the epoch with the best score is kept beside the newest, and its weights become the run's
            model; of equal epochs the earliest. Losses are better if they are lower. Null: the model is that of the
            last epoch.
    """

    every_steps: int | None = Field(default=None, ge=1)
    keep: int = Field(default=2, ge=1)
    best: str | None = None


class StoreConfig(Config):
    """Cumulative attention maps of the training images, in a map store (OAA, section 3.2); any method can have them.

    Attributes:
        accumulate: Whether each step's maps are kept.
        location: Folder or `s3://` prefix of the store; the run's own folder where it is not given.
        grid: (height, width) of every map, over the whole image; what the network gives where it is not given.
        fusion: `max` (OAA eq. 5) or `mean` (eq. 10).
        gate: Which maps are accepted. `strict`: those of classes that are more probable than every absent one (the
            paper). `top_k`: those of classes among the k most probable, k being the number of labels (the published
            code).
        start_epoch: Epochs at the start whose maps are not kept.
        fallback: `last`: a pair whose map was never accepted gets that of the last epoch.
    """

    accumulate: bool = False
    location: Location | None = None
    grid: tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]] | None = None
    fusion: Literal["max", "mean"] = "max"
    gate: Literal["strict", "top_k"] = "strict"
    start_epoch: int = Field(default=1, ge=0)
    fallback: Literal["last", "none"] = "last"

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        names = ("location", "grid", "fusion", "gate", "start_epoch", "fallback")
        return {} if self.accumulate else {"accumulate": names}


Workers = Annotated[int, Field(ge=1, le=4096)]


class ClusterConfig(Config):
    """The processes of a run.

    Attributes:
        workers: Processes that train together. `[LEAST, MOST]`: as many of these as a cluster has room for, of the
            numbers that divide the largest; more when machines join, fewer when some are lost.
        device: `auto`: GPUs where each worker can have its own, also on machines that the cluster would start for them;
            else CPUs.
        gpus_per_worker: Part of a GPU for each worker. With 0.5 two workers, or two trials of a sweep, share one; its
            memory must hold both.
        threads: Threads of each CPU worker; chosen from the cores where it is not given. More threads than cores cost a
            factor of ten.
        data_workers: Processes that load data, for each worker; 0: the worker loads its own. `auto`: 4 beside a GPU,
            fewer where cores or shared memory do not suffice; none on CPUs.
        max_failures: How often a run whose worker died starts again from its newest checkpoint.
        start_timeout: Seconds that a run waits for room for its workers on a cluster, at its start and whenever they
            start again: until other runs end, or machines join.
        storage_patience: Seconds that each process waits for an object store that does not answer. After that its
            worker counts as one that died.
    """

    workers: Workers | tuple[Workers, Workers] = 1
    device: Literal["auto", "cpu", "gpu"] = "auto"
    gpus_per_worker: float = Field(default=1.0, gt=0, le=1)
    threads: int | None = Field(default=None, ge=1, le=1024)
    data_workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    max_failures: int = Field(default=3, ge=0)
    start_timeout: float = Field(default=1200.0, gt=0, le=31_536_000)
    storage_patience: float = Field(default=DEFAULT_PATIENCE_SECONDS, ge=0, le=86_400)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.least_workers > self.most_workers:
            raise ValueError(f"workers={list(self.worker_range)} is no range: the smaller number comes first")
        if self.most_workers % self.least_workers:
            fits = next(one for one in range(self.least_workers, self.most_workers + 1) if self.most_workers % one == 0)
            raise ValueError(
                f"workers={list(self.worker_range)}: only numbers that divide {self.most_workers} train on the same "
                f"batches, and {self.least_workers} does not: set [{fits}, {self.most_workers}]"
            )
        return self

    @property
    def worker_range(self) -> tuple[int, int]:
        return self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)

    @property
    def least_workers(self) -> int:
        return self.worker_range[0]

    @property
    def most_workers(self) -> int:
        return self.worker_range[1]

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change during a run."""
        return self.least_workers < self.most_workers

    def workers_for(self, room: int) -> int | None:
        """The largest permitted number of workers for which there is room; None if there is none.

        Those that divide the largest number divide every batch that this one divides, so that all numbers train on the
        same batches.
        """
        numbers = range(min(room, self.most_workers), self.least_workers - 1, -1)
        return next((number for number in numbers if self.most_workers % number == 0), None)

    @property
    def loaders(self) -> int:
        """Processes that load data for a worker; none for `auto`, which a worker with a GPU replaces by a number."""
        return 0 if self.data_workers == "auto" else self.data_workers

    @property
    def gpu_loaders(self) -> int:
        """The most processes that load data for a worker with a GPU."""
        return LOADERS_OF_A_GPU if self.data_workers == "auto" else self.data_workers

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {"cpu": {"device": ("gpus_per_worker",)}, "gpu": {"device": ("threads",)}, "auto": {}}[self.device]
