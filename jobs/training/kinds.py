"""What a run does around its training, by its kind: what is looked at first, what is made ready, what is kept."""

from __future__ import annotations

__all__ = ["Kind", "kind_of"]

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from attn.training.run_config import RunConfig
from jobs.runs.run_folder import RunFolder

MODULES = {"train": "jobs.training.classifier", "segment": "jobs.training.segmenter"}


class Kind(Protocol):
    """A module with these functions."""

    def validate(self, config: Any, folder: RunFolder) -> dict[str, Any]:
        """Find what can be found wrong before any process is started: data, weights, their fit, a full disk.

        Returns:
            Fields for the run's state.

        Raises:
            AttnError: The text says what does not fit.
        """
        ...

    def prepare(self, config: Any, folder: RunFolder) -> RunConfig:
        """Make what the workers need; gives the config that they train by. May be called again on the same folder."""
        ...

    def save(self, config: Any, folder: RunFolder, shared: dict[str, Any], bundle: Path) -> None:
        """Write the trained model, given what the last checkpoint holds for all workers."""
        ...


def kind_of(config: RunConfig) -> Kind:
    """The kind of a config's run."""
    return cast("Kind", import_module(MODULES[config.kind]))
