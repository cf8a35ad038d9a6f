"""A Ray Train worker: the training loop, with checkpoints for Ray and records for MLflow."""

from __future__ import annotations

__all__ = ["RayReporter", "accumulator_of", "train_worker"]

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import PreemptionInfo
from ray.train.v2._internal.execution.context import get_train_context

from attn import store as map_store
from attn.data.names import file_stem
from attn.data.shared_memory import check_shared_memory, loaders_that_fit
from attn.display import figure
from attn.errors import AttnError, RunError, StorageAwayError
from attn.files.patience import patience_of, set_patience, tell_by
from attn.memory import out_of_memory
from attn.pictures.layout import Picture
from attn.runs.config_reader import read_config
from attn.runs.table import build_components
from attn.scratch import scratch_folder
from attn.store import MapStore
from attn.tracking import attach
from attn.training.accumulation import Accumulator
from attn.training.allocator import keep_freed_memory
from attn.training.chance import chance_notice
from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer, TrainingCancelled
from attn.training.world import TrainingStopped, World
from attn.wording import counted
from jobs.ray_cluster.merge_tasks import ray_map
from jobs.ray_cluster.progress import Channel
from jobs.runs.checkpoint_transfer import download_checkpoint, upload_checkpoint
from jobs.runs.checkpoints import checkpoint_name, map_store_uri, newest_checkpoint_name
from jobs.runs.run_folder import RunFolder
from jobs.training.epoch_lines import read_epochs, write_epochs

RECORD_SECONDS = 0.5
KEEP_SCORE = "keep"
"""Name under which a checkpoint's report says whether it is kept besides the newest."""


def train_worker(loop: dict[str, Any]) -> dict[str, Any]:
    """Train this rank's share.

    Args:
        loop: `config` (YAML), `run_id`, `tracking_run`, `threads`.

    Returns:
        `metrics` of the last epoch, the `fault` that stopped the run, which a restart would meet again, or `cancelled`.
    """
    keep_freed_memory()
    torch.set_num_threads(loop["threads"])
    with contextlib.suppress(RuntimeError):  # may be set once per process only
        torch.set_num_interop_threads(1)
    config = read_config(loop["config"], "config.yaml")
    world = World.current(ray.train.torch.get_device())
    set_patience(patience_of(config.cluster.storage_patience))
    if world.rank == 0:
        tell_by(lambda text: Channel(loop["run_id"]).put({"kind": "text", "text": text}))
    try:
        hosts = world.gather(platform.node())
        config = world.all_or_raise(lambda: with_loaders(config, world, loop["threads"], hosts.count(platform.node())))
        _say(world, loop, f"loading data in {counted(world.size, 'worker')}")
        components = world.all_or_raise(lambda: build_components(config, rank=world.rank, world=world.size))
        accumulator = world.all_or_raise(lambda: accumulator_of(config, world, RunFolder(config.root, loop["run_id"])))
        trainer = Trainer(config, world, components, accumulator)
        reporter = world.all_or_raise(lambda: RayReporter(config, world, loop, trainer))
        with _restored(world, loop) as start:
            if start is None:
                world.all_or_raise(reporter.preview_untrained)
            _say(world, loop, "computing the first step" if start is None else "computing the first step from there on")
            metrics = trainer.fit(reporter, start)
    except TrainingStopped as stopped:  # on every rank: any other error is one rank's, and Ray must end the others
        return {"fault": str(stopped)}
    except TrainingCancelled:
        return {"cancelled": True}
    except (MemoryError, RuntimeError) as error:
        if (lacking := out_of_memory(error)) is None:
            raise
        if world.size > 1:  # the others wait for this one
            raise lacking from error
        return {"fault": str(lacking)}
    return {"metrics": metrics}


def _say(world: World, loop: dict[str, Any], phase: str) -> None:
    """Tell the terminal what goes on until the first step is done; a step ends the phase."""
    if world.rank == 0:
        Channel(loop["run_id"]).put({"kind": "phase", "text": phase})


def with_loaders(config: RunConfig, world: World, threads: int, sharers: int) -> RunConfig:
    """The config with a number in place of `cluster.data_workers=auto`.

    Args:
        threads: Threads of the worker. Beside a GPU one of them drives it, and the others may load images.
        sharers: Workers on this machine, which share its memory.

    Raises:
        DataError: A number that the config itself gives does not fit into shared memory.
    """
    images = config.training.batch_size // (world.size * config.training.accumulate_steps)
    count = config.cluster.loaders
    if config.cluster.data_workers != "auto":
        check_shared_memory(images, config.input.size, count, sharers=sharers)
    elif world.device.type == "cuda":
        most = min(config.cluster.gpu_loaders, threads - 1)
        count = loaders_that_fit(images, config.input.size, most, sharers=sharers)
    return config.model_copy(update={"cluster": config.cluster.model_copy(update={"data_workers": count})})


def accumulator_of(
    config: RunConfig, world: World, folder: RunFolder, store: MapStore | None = None
) -> Accumulator | None:
    """The accumulator that puts the steps' maps into the run's store; None for a run that keeps no maps.

    Args:
        store: The run's store, if this process has opened it already.
    """
    if not isinstance(config, TrainConfig) or not config.store.accumulate:
        return None
    store = store or map_store.open(map_store_uri(config, folder))
    return Accumulator(config.store, store, folder.run_id, world, config.training.epochs, ray_map)


@contextlib.contextmanager
def _restored(world: World, loop: dict[str, Any]) -> Iterator[Path | None]:
    """The newest committed checkpoint as a local folder, or None at the start of a run."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        yield None
        return
    with scratch_folder() as folder:
        _say(world, loop, "reading the newest checkpoint")
        yield world.all_or_raise(lambda: download_checkpoint(checkpoint, folder))


class RayReporter:
    """Sends a run's records to the terminal, the run's folder and the tracking server; commits its checkpoints."""

    def __init__(self, config: RunConfig, world: World, loop: dict[str, Any], trainer: Trainer) -> None:
        self.config, self.world = config, world
        self.folder = RunFolder(config.root, loop["run_id"])
        self.channel = Channel(loop["run_id"])
        tracking_run = loop["tracking_run"] if world.rank == 0 else None
        self.tracker = attach(config.tracking, config.root, tracking_run, self.folder.uri)
        count = config.tracking.preview_images
        self.preview = trainer.components.previewer(count) if world.rank == 0 and count else None
        self.last_record, self.last_asked, self.steps, self.since = 0.0, 0.0, 0, time.monotonic()
        self.accumulator, self.trainer = trainer.accumulator, trainer
        self.speed: dict[str, float] = {}  # of this epoch so far
        self.reported: tuple[str, int] | None = None  # the last checkpoint, and the store's version that it names
        self.attempt = 1
        self.preemption: PreemptionInfo | None = None
        if world.rank == 0:
            before = self.folder.state().attempts
            self.attempt += before if isinstance(before, int) else 0
            self.folder.update(attempts=self.attempt)

    def step(self, record: StepRecord) -> None:
        now = time.monotonic()
        self.steps += 1
        self.speed = {"train/images_per_second": record.images_per_second, "train/waiting_for_data": record.waiting}
        if self.last_record == 0.0:
            self.channel.mark_under_way()
            if text := self.trainer.length_notice:
                self.channel.put({"kind": "text", "text": f"notice: {text}"})
        if now - self.last_record >= RECORD_SECONDS:
            self.last_record = now
            self.channel.put({"kind": "step", "at": time.time(), **asdict(record)})
        if record.step == self.trainer.epoch_end or record.step % self.config.tracking.log_every_steps == 0:
            self.tracker.log_metrics(
                {f"step/{k}": v for k, v in record.losses.items()} | {"step/lr": record.lr}, record.step
            )

    def cancelled(self) -> bool:
        now = time.monotonic()
        if now - self.last_asked < RECORD_SECONDS:
            return False
        self.last_asked = now
        self.trainer.save_requested |= self.channel.asked_to_save() or self._is_preempted()
        return self.channel.asked_to_end()

    def _is_preempted(self) -> bool:
        """Whether it has become known since the last call that a node of a worker will be taken away."""
        # Ray's public function lets all workers wait for each other; the trainer does that once a step.
        notice, before = get_train_context().preemption_context.preemption_info, self.preemption
        self.preemption = notice
        if notice is None or notice is before:
            return False
        lost = counted(len(notice.preempted_ranks), "worker")
        self.channel.put({"kind": "text", "text": f"nodes with {lost} will be taken away: saving a checkpoint"})
        return True

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.channel.put({"kind": "epoch", "epochs": trainer.epochs, **asdict(record)})
        if record.skipped:
            names = ", ".join(record.skipped[:5]) + (", ..." if len(record.skipped) > 5 else "")
            self.channel.put({"kind": "text", "text": f"skipped {len(record.skipped)} broken images: {names}"})
        if trainer.selection.stops:
            self._note_early_stop(record.epoch + 1, trainer)
        if trainer.components.source.exclusive:
            self._note_chance(record)
        if text := trainer.components.notice(record.epoch + 1, trainer.epochs):
            self.channel.put({"kind": "text", "text": f"notice: {text}"})
        self._keep(record, whole=self.steps == trainer.steps_in(record.epoch))
        with self._reported():
            self.tracker.log_metrics(record.metrics | self.speed | {"skipped": float(len(record.skipped))}, record.step)
            for name, picture in self._previews():
                self.folder.write(f"preview/{name}/epoch-{record.epoch + 1:04d}.png", picture.png())
                self.tracker.log_preview(name, picture.pixels, record.epoch + 1)

    def preview_untrained(self) -> None:
        """Record the previews as step 0: MLflow's page opens at this step, and the epochs are the steps from 1."""
        if self.tracker.run_id is None or self.attempt > 1:  # a restart before the first checkpoint
            return
        if self.preview is not None:
            self.channel.put({"kind": "phase", "text": "drawing pictures of the untrained network"})
        with self._reported():
            for name, picture in self._previews():
                self.tracker.log_preview(name, picture.pixels, 0)

    def _previews(self) -> Iterator[tuple[str, Picture]]:
        for image_id, picture in self.preview.draw() if self.preview is not None else ():
            yield file_stem(image_id), picture

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Report an error of the record as text: the run is worth more than its record."""
        try:
            yield
        except AttnError as error:
            self.channel.put({"kind": "text", "text": f"tracking: {error}"})

    def _note_early_stop(self, epoch: int, trainer: Trainer) -> None:
        selection = trainer.selection
        assert selection.stopping is not None, "only that ends a training early"
        metric, plateau = selection.stopping.metric, selection.plateau
        self.folder.update(stopped_early={"epoch": epoch, "metric": metric, "best_epoch": plateau.epoch})
        since = f"{figure(metric, plateau.value)} after epoch {plateau.epoch}" if plateau.epoch else "never a number"
        text = f"ends after epoch {epoch} of {trainer.epochs}: {metric} has not improved since ({since})"
        self.channel.put({"kind": "text", "text": text})

    def _note_chance(self, record: EpochRecord) -> None:
        name, optimizer = "train/classification", self.config.optimizer
        before = [line for line in read_epochs(self.folder) if line["epoch"] <= record.epoch]
        losses = [figures[name] for figures in (*before, record.metrics) if name in figures]
        classes = len(self.trainer.components.source.classes)
        if text := chance_notice(losses, classes, (optimizer.lr, optimizer.multipliers.head_weight)):
            self.channel.put({"kind": "text", "text": f"notice: {text}"})

    def _keep(self, record: EpochRecord, *, whole: bool) -> None:
        """Write the epoch's line in `metrics.jsonl`; an epoch that is repeated after a restart replaces its line.

        Args:
            whole: This process trained all of it, so its time is known.
        """
        now = time.monotonic()
        seconds = {"seconds": round(now - self.since, 3)} if whole else {}
        self.steps, self.since = 0, now
        before = [line for line in read_epochs(self.folder) if line["epoch"] < record.epoch + 1]
        line = {"epoch": record.epoch + 1, "step": record.step, **seconds, **record.metrics}
        write_epochs(self.folder, [*before, line])

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        """Write, upload and verify on every rank, then report the checkpoint."""
        context = ray.train.get_context()
        storage = context.get_storage()
        assert storage is not None, "Ray Train tells every worker where checkpoints belong"
        name = checkpoint_name(position.epoch, position.batch)
        self.world.all_or_raise(self.publish)
        self.world.all_or_raise(lambda: self.upload(name, write))
        path = f"{storage.experiment_fs_path}/{name}"
        ray.train.report(
            {**metrics, "epoch": position.epoch, "step": position.step, KEEP_SCORE: self.keep_score(position)},
            checkpoint=ray.train.Checkpoint(path, storage.storage_filesystem),
            checkpoint_dir_name=name,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
        )
        if self.accumulator is not None:
            self.reported = (name, self.accumulator.version)
        self.world.all_or_raise(lambda: self.committed(position, metrics))

    def is_best(self, position: Position) -> bool:
        """Whether the checkpoint at a position is that of the best epoch so far."""
        best = self.trainer.selection.best
        return best is not None and position.batch == 0 and position.epoch == best.epoch

    def keep_score(self, position: Position) -> int:
        """The score by which Ray Train keeps checkpoints besides the newest: a later best epoch has a higher one."""
        return position.epoch if self.is_best(position) else 0

    def publish(self) -> None:
        """Let readers see the last checkpoint's version, once Ray Train has committed that checkpoint.

        A checkpoint that was reported is not yet durable.
        """
        if self.world.rank != 0 or self.accumulator is None or self.reported is None:
            return
        name, version = self.reported
        if newest_checkpoint_name(self.folder) == name:
            self.accumulator.publish(version)

    def upload(self, name: str, write: Callable[[Path], None]) -> None:
        """Write this rank's part of a checkpoint where it belongs.

        Raises:
            RunError: It did not arrive intact.
            StorageAwayError: The object store does not answer.
        """
        try:
            with scratch_folder() as folder:
                write(folder)
                upload_checkpoint(folder, self.folder.path(f"checkpoints/{name}"))
        except StorageAwayError:
            raise
        except (OSError, RuntimeError, AttnError) as error:
            where = self.folder.path("checkpoints")
            raise RunError(f"checkpoint {name} could not be written to {where}: {error}") from error

    def committed(self, position: Position, metrics: dict[str, float]) -> None:
        """Record a checkpoint from which a restart can continue."""
        if self.world.rank == 0:
            fields: dict[str, Any] = {"metrics": metrics} if metrics else {}
            if (best := self.trainer.selection.best) is not None:
                fields["best"] = best.to_json()
            self.folder.update(epoch=position.epoch, step=position.step, **fields)
            self.channel.mark_saved()
        self._flush()

    def _flush(self) -> None:
        with self._reported():
            self.tracker.flush()
