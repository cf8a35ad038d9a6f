"""Making a training's maps readable from the process that drives it."""

from __future__ import annotations

__all__ = ["open_store", "publish_newest", "publish_on_error"]

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from attn.scratch import scratch_folder
from attn.training.train_config import TrainConfig
from jobs.runs.checkpoints import map_store_uri, newest_checkpoint, newest_checkpoint_name
from jobs.runs.lifecycle import warned
from jobs.training.hooks import TrainingRun

if TYPE_CHECKING:
    from attn.store import MapStore


def open_store(run: TrainingRun[TrainConfig]) -> MapStore:
    """The run's store; a run that is resumed has not opened it yet."""
    from attn import store

    if run.store is None:
        run.store = store.open(map_store_uri(run.config, run.folder))
    return run.store


@contextlib.contextmanager
def publish_on_error(run: TrainingRun[Any]) -> Generator[None]:
    """If the body raises, let readers see the version that the newest committed checkpoint names.

    The workers publish a version before the checkpoint after it, so they never publish that of their last checkpoint;
    `TrainingHooks.save` does. An error of the store is printed, because it must not hide the one that ends the run.
    """
    try:
        yield
    except BaseException:
        publish_newest(run)
        raise


def publish_newest(run: TrainingRun[Any]) -> None:
    """Let readers see the version that the newest committed checkpoint names. An error is printed, not raised."""
    if not isinstance(run.config, TrainConfig) or not run.config.accumulates:
        return
    from attn.training.checkpoint import load_shared

    with warned("the maps of the last checkpoint could not be published", Exception), scratch_folder() as scratch:
        if newest_checkpoint_name(run.folder):
            _, shared = load_shared(newest_checkpoint(run.folder, scratch))
            open_store(run).publish(run.folder.run_id, shared["store_version"])
