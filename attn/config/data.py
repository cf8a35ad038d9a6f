"""The configuration of a data set alone, for what looks at data and trains nothing."""

from __future__ import annotations

__all__ = ["DataConfig"]

import attn.data.sources  # noqa: F401  # every source must be known before the tree is built
from attn.config.base import Config
from attn.data.source import SourceConfig


class DataConfig(Config):
    """A data set under the name that it has in a run's config, so that overrides read the same."""

    data: SourceConfig
