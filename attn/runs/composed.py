"""The config of a run that is made of others, or trains nothing: its scores are there at its end."""

from __future__ import annotations

__all__ = ["ComposedConfig"]

from typing import TYPE_CHECKING

from pydantic import Field

from attn.config.base import Config, Location
from attn.tracking.config import TrackingConfig, default_tracking
from attn.training.run_config import RunConfig

if TYPE_CHECKING:
    from attn.data.source import SourceConfig
    from attn.errors import Fault


class ComposedConfig(Config):
    """Base of such configs; `kind` is the name in `attn.runs.table.KINDS`.

    Attributes:
        root: Folder or `s3://` prefix under which every run has a folder of its own.
    """

    kind: str
    root: Location = "runs"
    tracking: TrackingConfig = Field(default_factory=default_tracking)

    @property
    def title(self) -> str:
        """First part of the names of runs."""
        return self.kind

    @property
    def data(self) -> SourceConfig:
        """The data that the run is about."""
        raise TypeError(f"{type(self).__name__} does not say what its data is")

    def sections(self) -> dict[str, Config]:
        """Its sections by name, in order."""
        return {}

    def stages(self) -> dict[str, str]:
        """Its stages in order, each with the section that says how it is run; by default one for each section."""
        return {name: name for name in self.sections()}

    def figures(self) -> dict[str, str]:
        """By name of a score of the run: an empty text if a sweep may search by it, else why not and what to do."""
        return {}

    def scored(self, metric: str) -> SourceConfig:
        """The data that a score is taken on."""
        return self.data

    def trainings(self) -> dict[str, RunConfig]:
        """Its sections that train a network."""
        return {name: section for name, section in self.sections().items() if isinstance(section, RunConfig)}

    def input_faults(self, prefix: str = "") -> list[Fault]:
        """As of a run that trains, of all its trainings.

        Args:
            prefix: Of the fields in the faults.
        """
        faults_of = [config.input_faults(f"{prefix}{name}.") for name, config in self.trainings().items()]
        return [fault for faults in faults_of for fault in faults]
