"""Training in the test's own process, as a sweep's trials do, for what comes before and after a training.

Workers of Ray import PyTorch for some seconds each. What they do is tested where a test is about them.
"""

from __future__ import annotations

__all__ = ["fit_here"]

import tempfile
from pathlib import Path
from typing import Any

from attn.runs.sweep.config import Objective
from attn.training.run_config import RunConfig
from attn.training.world import TrainingStopped
from jobs.runs.checkpoints import newest_checkpoint, newest_checkpoint_name
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.trial_training import train_here
from jobs.training.hooks import TrainingRun


def fit_here(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
    """In the place of `jobs.train._fit`: from the newest checkpoint to the last epoch, or to what stops it."""
    objective = Objective(metric="train/loss", mode="min")
    with tempfile.TemporaryDirectory() as scratch:
        start = newest_checkpoint(folder, Path(scratch)) if newest_checkpoint_name(folder) else None
        try:
            run = TrainingRun(config, folder)
            return {"metrics": train_here(config, run, objective, lambda *_: None, start=start, threads=1)}
        except TrainingStopped as stopped:
            return {"fault": str(stopped)}
