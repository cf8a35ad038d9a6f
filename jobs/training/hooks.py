"""What a kind of training does before and after its workers train."""

from __future__ import annotations

__all__ = ["TrainingHooks", "hooks_of"]

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from attn.runs.table import KINDS
from attn.training.run_config import RunConfig
from jobs.runs.run_folder import RunFolder


class TrainingHooks(Protocol):
    """A module with these functions, named as `training` in `attn.runs.table.KINDS`."""

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


def hooks_of(config: RunConfig) -> TrainingHooks:
    """The module with the hooks of a config's kind."""
    module = KINDS[config.kind].training
    assert module is not None, "a kind with a RunConfig trains"
    return cast("TrainingHooks", import_module(module))
