"""The configuration of a data set alone, for what looks at data and trains nothing."""

from __future__ import annotations

__all__ = ["DataConfig"]

from attn.config.base import Config
from attn.data.sources import SourceConfig


class DataConfig(Config):
    """A data set under the name that it has in a run's config, so that overrides read the same."""

    data: SourceConfig
