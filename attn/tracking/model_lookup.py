"""Where runs and their record lie."""

from __future__ import annotations

__all__ = ["ModelLookup"]

from pydantic import Field

from attn.config.base import Config, Location
from attn.tracking.config import TrackingConfig, untold


class ModelLookup(Config):
    """Where models are looked up by name: the folder of the runs, and the registry.

    Attributes:
        root: Folder or `s3://` prefix of the runs.
    """

    root: Location = "runs"
    tracking: TrackingConfig = Field(default_factory=lambda: untold(enabled=False))
