"""Train a segmentation network, in one round or two."""

from __future__ import annotations

__all__ = ["resume", "run"]

from dataclasses import replace

from attn.data.source_cache import SourceCache
from attn.segmentation.config import SegmentConfig
from jobs import train
from jobs.runs.lifecycle import config_of
from jobs.runs.run_folder import RunFolder
from jobs.stages.retrain import retrain
from jobs.train import TrainResult


def run(config: SegmentConfig, *, run_id: str | None = None, address: str | None = None) -> TrainResult:
    """Train by a config; with `retrain` a second time, as a run beside the first, `<run id>-retrain`.

    Returns:
        Of the last round.
    """
    if config.retrain is not None and run_id is not None:
        RunFolder(config.root, f"{run_id}-retrain")  # a name that is too long shows before the first round
    sources = SourceCache()
    first = train.run(config, run_id=run_id, address=address, sources=sources)
    return _second_round(config, first, address, sources)


def resume(run: str, *, root: str = "runs", address: str | None = None) -> TrainResult:
    """Continue a run, in whichever round it stopped.

    Args:
        run: The first round's id under `root`, or its folder.
    """
    first = train.resume(run, root=root, address=address)
    return _second_round(config_of(RunFolder.of(run, root), SegmentConfig), first, address, SourceCache())


def _second_round(config: SegmentConfig, first: TrainResult, address: str | None, sources: SourceCache) -> TrainResult:
    if config.retrain is None:
        return first
    folder = RunFolder(config.root, f"{first.run_id}-retrain")
    return replace(retrain(config, first.model, folder, address, sources), first_round=first)
