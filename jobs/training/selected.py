"""Whether a training's data has what its best epoch, or its early stopping, is chosen by."""

from __future__ import annotations

__all__ = ["check_selection"]

from typing import Any

from attn.runs.sweep.figures import check_data
from jobs.training.hooks import TrainingRun


def check_selection(run: TrainingRun[Any]) -> None:
    """Check it before any process is started.

    Raises:
        DataError: A score needs masks, or one class an image, and the validation split lacks them; names the field.
    """
    stopping = run.config.training.early_stopping
    fields = {
        "checkpoint.best": run.config.checkpoint.best,
        "training.early_stopping.metric": stopping and stopping.metric,
    }
    for field, metric in fields.items():
        if metric is not None:
            check_data(metric, None, run.config, field=field, sources=run.sources)
