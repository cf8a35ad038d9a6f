"""A trainer in the test's own process, alone."""

from __future__ import annotations

__all__ = ["lone_trainer"]

from attn.runs.table import build_components
from attn.training.run_config import RunConfig
from attn.training.trainer import Trainer
from attn.training.world import World


def lone_trainer(config: RunConfig) -> Trainer:
    """A trainer of a config that accumulates no maps."""
    return Trainer(config, World.current(), build_components(config, rank=0, world=1))
