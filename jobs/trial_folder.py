"""Where a sweep's trial lies, what it reports, and whether it needs workers of its own. Needs no Ray."""

from __future__ import annotations

__all__ = ["EPOCH", "OBJECTIVE", "in_one_process", "trial_folder"]

from attn.config.run import RunConfig
from attn.config.segment import SegmentConfig
from jobs.run_folder import RunFolder

OBJECTIVE, EPOCH = "objective", "epoch"
"""What a trial reports to Ray Tune after each epoch."""


def in_one_process(config: RunConfig) -> bool:
    """Whether a trial trains in the trial's own process: with one worker, and without a second round."""
    second = isinstance(config, SegmentConfig) and config.retrain is not None
    return config.cluster.workers == 1 and not second


def trial_folder(sweep: RunFolder, number: int) -> RunFolder:
    """The folder of a sweep's trial: a run's folder like any other, in the sweep's."""
    return RunFolder(sweep.uri, f"{sweep.run_id}-{number:04d}")
