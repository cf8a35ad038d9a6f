"""Data sets that one process needs in several places, each opened once."""

from __future__ import annotations

__all__ = ["SourceCache"]

from attn import progress
from attn.data.source import Source, SourceConfig

PATIENCE_SECONDS = 1.0
"""Data that takes longer to list is shown as work."""


class SourceCache:
    """Sources by config. Building one lists folders and reads annotations, so equal configs share a source."""

    def __init__(self) -> None:
        self._sources: dict[tuple[str, bool], Source] = {}

    def get(self, config: SourceConfig, *, labels: bool = True) -> Source:
        """The source of a config, built at the first call.

        Args:
            labels: As for `SourceConfig.build`.

        Raises:
            DataError: It cannot be built; see the kind of source.
        """
        key = (config.model_dump_json(), labels)
        if key not in self._sources:
            with progress.task(f"loading data: {config.variant} {config.split}", patience=PATIENCE_SECONDS):
                self._sources[key] = config.build(labels=labels)
        return self._sources[key]
