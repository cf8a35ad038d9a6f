"""Folder, name in Ray Tune and report of a sweep's trial. Needs no Ray."""

from __future__ import annotations

__all__ = ["EPOCH", "LAST", "OBJECTIVE", "trial_folder", "trial_name", "trial_number"]

from typing import Any

from jobs.runs.run_folder import RunFolder

OBJECTIVE, EPOCH, LAST = "objective", "epoch", "last_epoch"
"""Fields that a trial reports to Ray Tune after each epoch: its score, the epoch from 1, and True for the last one."""


def trial_folder(sweep: RunFolder, number: int) -> RunFolder:
    """The folder of a sweep's trial: a run's folder like any other, in the sweep's."""
    return RunFolder(sweep.uri, f"{sweep.run_id}-{number:04d}")


def trial_name(trial: Any) -> str:
    """Name of a trial in Ray Tune."""
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"


def trial_number(name: str) -> int:
    """A trial's number, by its name: population-based training gives a trial the whole config of another."""
    return int(name.split("-")[1])
