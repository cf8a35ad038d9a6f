"""The points of a sweep: of a list that is made at the start, or of Optuna. Each point is a trial with a number."""

from __future__ import annotations

__all__ = ["Suggestions"]

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attn.runs.sweep.config import Random, SweepConfig, Tpe
from attn.runs.sweep.space import Point, grid_points, random_points

if TYPE_CHECKING:
    import optuna


class Suggestions:
    """The points of a sweep by trial number; `tpe` chooses each when it is asked for, given all scores so far."""

    def __init__(self, config: SweepConfig, known: Mapping[int, Point], scores: Mapping[int, float | None]) -> None:
        """Take up a sweep.

        Args:
            known: The points of trials that were begun before.
            scores: What those have that ended; None of a failed one.
        """
        self.config, self.count = config, config.trials
        self.points = dict(known)
        self._study: optuna.Study | None = None
        self._asked: dict[int, optuna.trial.Trial] = {}
        if isinstance(config.search, Tpe):
            self._study = self._optuna(config.search, scores)
        else:
            planned = (
                random_points(config.space, self.count, config.search.seed)
                if isinstance(config.search, Random)
                else grid_points(config.space)
            )
            self.points = dict(enumerate(planned)) | self.points

    def point(self, number: int) -> Point:
        """The values of a trial."""
        if number not in self.points:
            assert self._study is not None
            asked = self._study.ask({name: dimension.distribution() for name, dimension in self.config.space.items()})
            self._asked[number], self.points[number] = asked, dict(asked.params)
        return self.points[number]

    def tell(self, number: int, score: float | None) -> None:
        """Learn from a trial that ended; None says that it failed."""
        import optuna

        if self._study is not None and (asked := self._asked.pop(number, None)) is not None:
            failed = optuna.trial.TrialState.FAIL if score is None else None
            self._study.tell(asked, score, state=failed)

    def _optuna(self, search: Tpe, scores: Mapping[int, float | None]) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        begun = len(self.points)
        learns = sum(score is not None for score in scores.values()) >= search.startup
        # Once it learns, another seed after a restart: the same one would suggest the first points again.
        seed = search.seed + begun if learns else search.seed
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup)
        direction = "maximize" if self.config.objective.mode == "max" else "minimize"
        study = optuna.create_study(sampler=sampler, direction=direction)
        space = {name: dimension.distribution() for name, dimension in self.config.space.items()}
        if not learns:  # the random draws go on where they were
            before = optuna.create_study(sampler=sampler)
            for _ in range(begun):
                before.ask(space)
        for number, score in sorted(scores.items()):
            if score is not None:
                study.add_trial(optuna.trial.create_trial(params=self.points[number], distributions=space, value=score))
        return study
