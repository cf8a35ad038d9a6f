"""What two trainings must have in common for their epochs to take equally long."""

from __future__ import annotations

__all__ = ["comparable_fields", "warmup_share"]

from typing import Any

from attn.evaluation.score import OF_MAPS
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig

TRAINING = ("batch_size", "accumulate_steps", "precision", "channels_last")


def comparable_fields(config: RunConfig) -> dict[str, Any]:
    """The fields in which two runs must agree for their epochs to take equally long."""
    values = config.model_dump(mode="json", exclude={"cluster": {"threads"}})
    evaluated = config.selection.metrics & set(config.evaluated_scores)  # after every epoch
    return {
        **{section: values[section] for section in ("kind", "data", "input", "model", "cluster", "validation")},
        "method": {"name": values["method"]["name"]},
        "training": {name: values["training"][name] for name in TRAINING},
        "scores of each epoch": (bool(evaluated), not evaluated.isdisjoint(OF_MAPS)),
    }


def warmup_share(config: RunConfig) -> float:
    """Share of a training's epochs that are its method's warm-up, in [0, 1]."""
    epochs = config.training.epochs
    warmup = getattr(config.method, "warmup_epochs", 0) if isinstance(config, TrainConfig) else 0
    return min(warmup, epochs) / epochs
