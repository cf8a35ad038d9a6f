"""Steps of a kind of training before and after its workers train."""

from __future__ import annotations

__all__ = ["TrainingHooks", "TrainingRun", "hooks_of"]

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from attn.data.source_cache import SourceCache
from attn.runs.table import KINDS
from attn.training.run_config import RunConfig
from jobs.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from attn.store import MapStore

C = TypeVar("C", bound=RunConfig)


@dataclass
class TrainingRun(Generic[C]):
    """A training as the process that drives it sees it.

    Attributes:
        sources: The data sets of the run, each built once. They stay in this process's memory until the run ends, since
            `save` describes the training data.
        store: The map store of a run that accumulates, once it is open in this process.
    """

    config: C
    folder: RunFolder
    sources: SourceCache = field(default_factory=SourceCache)
    store: MapStore | None = None


class TrainingHooks(Protocol):
    """A module with these functions, named as `training` in `attn.runs.table.KINDS`."""

    def validate(self, run: TrainingRun[Any]) -> dict[str, Any]:
        """Find faults before any process is started: in the data, the weights, their fit, or a full disk.

        Returns:
            Fields for the run's state.

        Raises:
            AttnError: The text says what does not fit.
        """
        ...

    def prepare(self, run: TrainingRun[Any]) -> RunConfig:
        """Make what the workers need, and return the config that they train by. May be repeated on the same folder."""
        ...

    def save(self, run: TrainingRun[Any], shared: dict[str, Any], bundle: Path) -> None:
        """Write the trained model.

        Args:
            shared: The part of the last checkpoint that is the same for all workers; with `checkpoint.best` with the
                weights (`model`) of the best epoch.
            bundle: The model's folder.
        """
        ...


def hooks_of(config: RunConfig) -> TrainingHooks:
    """The module with the hooks of a config's kind."""
    module = KINDS[config.kind].training
    assert module is not None, "a kind with a RunConfig trains"
    return cast("TrainingHooks", import_module(module))
