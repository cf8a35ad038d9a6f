"""Train by Ray Train: any number of CPU or GPU workers, resumable, tracked, with one trained model at the end."""

from __future__ import annotations

__all__ = ["TrainResult", "export_model", "resume", "run", "train_folder"]

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attn import progress
from attn.config.resolve import dump_config
from attn.data.source_cache import SourceCache
from attn.errors import RunError, TrackingError, WorkersLostError
from attn.files.patience import patience_of
from attn.run_state import RunState
from attn.runs.config_reader import read_config
from attn.runs.result import IF_GIVEN, RunResult
from attn.scratch import scratch_folder
from attn.tracking import DataUsed, send_pending
from attn.training.run_config import RunConfig
from jobs.ray_cluster.cancellation import checkpoint_on_sigterm
from jobs.ray_cluster.progress import Channel, ProgressFile, TrainingProgress, follow
from jobs.ray_cluster.session import plan_resources, plan_workers, ray_session
from jobs.runs.checkpoints import newest_checkpoint_name
from jobs.runs.claim import check_claim, check_ended, claim
from jobs.runs.lifecycle import LiveRun, begin_run, continue_run, say_done, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.runs.starting import starting
from jobs.training.hooks import TrainingRun, hooks_of
from jobs.training.publication import publish_on_error

COLLECTIVE_SECONDS = 600
"""Timeout of a collective operation beyond the patience with storage; after it the other workers count as lost."""


@dataclass(frozen=True, kw_only=True)
class TrainResult(RunResult):
    """A run that trained one network.

    Attributes:
        cues: Of a segmentation network: digest and quality of the cues that were made for it.
        model: Folder of the bundle.
        metrics: Of the last epoch; with `checkpoint.best` of the best epoch, which the model is of.
        best: With `checkpoint.best`: `metric`, `epoch` from 1 and `value` of the best epoch.
        stopped_early: Of a training that ended early: its last `epoch`, the `metric`, and the `best_epoch` of it.
        store, store_version: Of a run that accumulates: its map store and the version that it ended with.
        first_round: Of a network that was trained in two rounds; all other fields are the second one's.
    """

    cues: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    model: str
    metrics: dict[str, float | None]
    best: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    stopped_early: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    store: str | None
    store_version: int | None
    tracking_run: str | None
    seconds: float
    first_round: TrainResult | None = field(default=None, metadata=IF_GIVEN)


def run(
    config: RunConfig, *, run_id: str | None = None, address: str | None = None, sources: SourceCache | None = None
) -> TrainResult:
    """Train by a config, to its last epoch.

    Args:
        run_id: Made up of method, time and a random part if left out.
        address: A Ray cluster to join; without one, Ray runs on this machine for the time of the run.
        sources: Data sets that this process has built already.

    Raises:
        RunError: The id is taken, the cluster is too small, or training stopped; the text says why.
    """
    folder = RunFolder(config.root, new_run_id(config.title) if run_id is None else run_id)
    claim(folder, config.kind, again=False)
    with starting(folder, config.kind):
        config = config.resolved_versions()
        training = TrainingRun(config, folder, sources or SourceCache())
        text = dump_config(
            config, f"The resolved config of run {folder.run_id}; `attn {config.kind}` on this file repeats it."
        )
        with progress.task("checking data and network", patience=progress.QUIET_SECONDS):
            fields = hooks_of(config).validate(training)
        data = DataUsed.of(config.data, training.sources.get(config.data))
        with begin_run(config.kind, config, folder, recorded=config, text=text, data=data, fields=fields) as live:
            _train(training, live, address)
    return _result(folder, folder.state())


def resume(run: str, *, root: str = "runs", address: str | None = None) -> TrainResult:
    """Continue a run that was interrupted, from its newest committed checkpoint.

    Args:
        run: A run's id under `root`, or its folder.
    """
    folder = RunFolder.of(run, root)
    state = folder.state()
    config = read_config(folder.read_text("config.yaml"), folder.path("config.yaml"))
    config = config.model_copy(update={"root": folder.root})  # where it is now: a run may have been moved
    if state.state == "done":
        say_done(folder)
        with warned("what its record lacks could not be sent"):  # the run itself is done
            send_pending(config.tracking, config.root, state.tracking_run, folder.uri)
    else:
        check_ended(folder, state)
        if state.epoch and not newest_checkpoint_name(folder):
            raise RunError(
                f"run {folder.run_id!r} has reached epoch {state.epoch}, but {folder.path('checkpoints')} holds no "
                "checkpoint: restore that folder, or begin a new run"
            )
        with continue_run(config, folder) as live:
            _train(TrainingRun(config, folder), live, address)
    return _result(folder, folder.state())


def train_folder(config: RunConfig, folder: RunFolder) -> str:
    """Train within the Ray session that is up, from the folder's newest checkpoint if it has one.

    Returns:
        The trained model's folder; neither the run's begin nor its end is recorded.

    Raises:
        RunError: As for `run`.
    """
    cluster = config.cluster.model_copy(update={"workers": config.cluster.most_workers})
    config = config.model_copy(update={"cluster": cluster})  # a sweep has planned for so many
    hooks, training = hooks_of(config), TrainingRun(config, folder)
    folder.update(**hooks.validate(training))
    with publish_on_error(training):
        outcome = _fit(hooks.prepare(training), folder, session_outlives_run=True)
        if "fault" in outcome:
            raise RunError(outcome["fault"])
        return export_model(training, record=False)


def _train(training: TrainingRun[RunConfig], live: LiveRun, address: str | None) -> None:
    folder, keep = live.folder, ProgressFile(live.folder.write)
    with publish_on_error(training):
        shown = TrainingProgress(training.config.cluster.worker_range, training.config.checkpoint.best)
        with ray_session(address):
            prepared = hooks_of(training.config).prepare(training)  # such as cues, which report themselves
            with shown, follow(Channel(folder.run_id), shown, keep):
                outcome = _fit(prepared, folder, session_outlives_run=address is not None)
        if "fault" in outcome:
            raise RunError(outcome["fault"])
        check_claim(folder)
        with progress.task("saving the model"):
            live.outputs["model"] = export_model(training)


def _result(folder: RunFolder, state: RunState) -> TrainResult:
    seconds = state.seconds
    if seconds is None:  # a run of an earlier version, or one that was moved before its end was recorded
        ended = state.ended or time.time()
        seconds = round(ended - (state.resumed or state.started or ended), 1)
    return TrainResult(
        run_id=folder.run_id,
        folder=folder.uri,
        cues=state.cues,
        model=state.model or folder.path("model"),
        metrics=state.metrics or {},
        best=state.best,
        stopped_early=state.stopped_early,
        store=state.store,
        store_version=state.store_version,
        tracking_run=state.tracking_run,
        seconds=seconds,
    )


def _fit(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
    from ray.exceptions import RayError
    from ray.train import CheckpointConfig, FailureConfig, ScalingConfig, TrainingFailedError
    from ray.train import RunConfig as RayRunConfig

    from jobs.ray_cluster.process_group import ProcessGroupConfig
    from jobs.ray_cluster.ray_trainer import LeanTrainer
    from jobs.ray_cluster.room import ONE_WAIT_SECONDS
    from jobs.runs.checkpoints import ray_storage
    from jobs.training.failures import KeepFailures, failure_line, kind_of_failure
    from jobs.training.worker import KEEP_SCORE, train_worker

    resources = plan_resources(config.cluster, may_grow=session_outlives_run)
    workers, patience = plan_workers(config.cluster, resources), config.cluster.start_timeout
    one_wait = min(patience, ONE_WAIT_SECONDS) if isinstance(workers, tuple) else patience
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(one_wait)
    folder.update(threads=resources.threads)
    path, filesystem = ray_storage(folder.uri)
    loop = {
        "config": dump_config(config),
        "run_id": folder.run_id,
        "tracking_run": folder.state().tracking_run,
        "threads": resources.threads,
    }
    watching: list[Any] = [KeepFailures(folder.root, folder.run_id)]
    trainer = LeanTrainer(
        train_worker,
        session_outlives_run=session_outlives_run,
        run_id=folder.run_id,
        start_timeout=patience,
        workers_for=config.cluster.workers_for,
        train_loop_config=loop,
        backend_config=ProcessGroupConfig(
            backend=resources.backend,
            timeout_s=COLLECTIVE_SECONDS + round(patience_of(config.cluster.storage_patience)),
        ),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=resources.use_gpu, resources_per_worker=resources.per_worker
        ),
        run_config=RayRunConfig(
            name="checkpoints",
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(
                num_to_keep=config.checkpoint.keep,
                # With a score the best ones are kept and the newest.
                checkpoint_score_attribute=None if config.checkpoint.best is None else KEEP_SCORE,
            ),
            callbacks=watching,
            failure_config=FailureConfig(max_failures=config.cluster.max_failures, controller_failure_limit=3),
        ),
    )
    try:
        with checkpoint_on_sigterm(Channel(folder.run_id)):
            result = trainer.fit()
    except TrainingFailedError as error:
        raise kind_of_failure(error)(
            f"training failed: {failure_line(error)}; {folder.resuming} continues from the last checkpoint"
        ) from error
    except RayError as error:  # the machine took a process of Ray's own away
        raise WorkersLostError(
            f"Ray ended before the run did: {failure_line(error)} Check whether the machine has memory left, and its "
            f"`ulimit -v`; {folder.resuming} continues from the last checkpoint"
        ) from error
    assert result.return_value is not None, "the first worker returns its metrics or its fault"
    if "cancelled" in result.return_value:
        raise KeyboardInterrupt
    return result.return_value


def export_model(training: TrainingRun[RunConfig], *, record: bool = True) -> str:
    """The weights of the newest checkpoint, or of the best epoch's, as a bundle in the run's folder.

    Args:
        record: Also put it into the tracking server.
    """
    from attn.registry import log_model
    from attn.training.checkpoint import load_shared
    from attn.training.selection import best_of
    from jobs.runs.checkpoints import best_checkpoint, newest_checkpoint

    config, folder = training.config, training.folder
    with scratch_folder() as scratch:
        checkpoint = newest_checkpoint(folder, scratch / "checkpoint")
        _, shared = load_shared(checkpoint)
        if (best := best_of(shared)) is not None:
            # Only the weights: the maps of a run are those of all its epochs.
            _, chosen = load_shared(best_checkpoint(folder, best, scratch / "best"))
            shared |= {"model": chosen["model"]}
            folder.update(metrics=best.metrics, best=best.to_json())
        bundle = Path(folder.path("model")) if folder.is_local else scratch / "model"
        hooks_of(config).save(training, shared, bundle)
        folder.upload(bundle, "model")
        if not record:
            return folder.path("model")
        try:
            recorded = log_model(config.tracking, config.root, folder.state().tracking_run, bundle)
            if config.tracking.register_as:
                folder.update(registered=recorded)
        except TrackingError as error:  # the model itself is safe in the run's folder
            if config.tracking.register_as:
                raise
            print(f"the model could not be recorded: {error}", file=sys.stderr)
    return folder.path("model")
