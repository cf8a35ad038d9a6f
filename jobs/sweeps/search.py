"""Ray Tune's view of a sweep's points."""

from __future__ import annotations

__all__ = ["PlannedSearch"]

from collections.abc import Callable
from typing import Any, cast

from ray.tune.search import Searcher

from attn.runs.sweep.space import Point
from jobs.sweeps.points import Suggestions
from jobs.sweeps.trial_folder import OBJECTIVE


class PlannedSearch(Searcher):
    """Hands Ray Tune the trials that are still to be run, in the order of their numbers."""

    def __init__(
        self, suggestions: Suggestions, numbers: list[int], begin: Callable[[int, Point], dict[str, Any]], mode: str
    ) -> None:
        """Take the trials `numbers`.

        Args:
            begin: Prepares a trial's folder and record; gives what Tune is to pass to it.
        """
        super().__init__(metric=OBJECTIVE, mode=mode)
        self.suggestions, self.waiting, self.begin = suggestions, list(numbers), begin
        self.running: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if not self.waiting:
            return cast("Any", Searcher.FINISHED)
        number = self.waiting.pop(0)
        self.running[trial_id] = number
        return self.begin(number, self.suggestions.point(number))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.running.pop(trial_id, None)
        if number is not None:
            self.suggestions.tell(number, None if error or not result else result.get(OBJECTIVE))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to do: a sweep's own folder says which trials there were."""

    def restore(self, checkpoint_path: str) -> None:
        """As `save`."""
