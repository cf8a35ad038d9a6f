"""Data sets that one process needs in several places, each opened once."""

from __future__ import annotations

__all__ = ["SourceCache"]

from attn.data.source import Source, SourceConfig


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
            self._sources[key] = config.build(labels=labels)
        return self._sources[key]
