"""Ray Train's trainer, which starts only the processes that training here has a use for."""

from __future__ import annotations

__all__ = ["LeanTrainer"]

from typing import Any

from ray.train.torch import TorchTrainer

DATASETS = "DatasetsCallback"
"""Starts a process that hands out shards of Ray Data's data sets, again whenever the workers start."""
CLEANER = "PlacementGroupCleanerCallback"
"""Starts a process that frees the workers' resources when the process that drives them is killed."""


class LeanTrainer(TorchTrainer):
    """A `TorchTrainer` without two of the processes that Ray starts beside the workers.

    Each takes two seconds of a core to import what it needs. Ray Data is not used here, and a session that ends with
    the run frees its resources itself. Ray has no setting for either; if a later Ray renames what is left out here, it
    starts those processes again, and nothing breaks.
    """

    def __init__(self, *arguments: Any, session_outlives_run: bool, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.unused = {DATASETS} if session_outlives_run else {DATASETS, CLEANER}

    def _create_default_callbacks(self) -> list[Any]:
        return [call for call in super()._create_default_callbacks() if type(call).__name__ not in self.unused]
