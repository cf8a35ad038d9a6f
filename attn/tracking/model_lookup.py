"""Configuration for looking up models by name."""

from __future__ import annotations

__all__ = ["ModelLookup"]

from pydantic import Field

from attn.config.base import Config, Location
from attn.tracking.config import TrackingConfig, default_tracking


class ModelLookup(Config):
    """The two places to look up models by name: the folder of the runs, and the registry.

    Attributes:
        root: Folder or `s3://` prefix of the runs.
    """

    root: Location = "runs"
    tracking: TrackingConfig = Field(default_factory=lambda: default_tracking(enabled=False))
