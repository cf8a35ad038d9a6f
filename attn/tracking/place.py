"""Where runs and their record lie."""

from __future__ import annotations

__all__ = ["ModelPlace"]

from pydantic import Field

from attn.config.base import Config, Location
from attn.tracking.config import TrackingConfig, untold


class ModelPlace(Config):
    """Where models are looked up by name: the folder of the runs, and the registry."""

    root: Location = "runs"
    tracking: TrackingConfig = Field(default_factory=lambda: untold(enabled=False))
