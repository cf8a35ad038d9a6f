"""Notices about a run that can be read from its config."""

from __future__ import annotations

__all__ = ["config_notices", "missing_files"]

import contextlib
from typing import Any

from attn.config.base import Config
from attn.config.unused import unused_notices
from attn.errors import ConfigError, Fault
from attn.runs.composed import ComposedConfig
from attn.runs.sweep.config import Asha, Tpe
from attn.runs.sweep.figures import unscored
from attn.runs.sweep.load import LoadedSweep, trial_config
from attn.runs.sweep.space import Dimension, Point
from attn.segmentation.config import SegmentConfig
from attn.training.network_input import input_notices
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.training.warmup import warmup_notices
from attn.wording import counted


def config_notices(loaded: Any, *, files: bool = True) -> list[str]:
    """Messages for the user.

    Args:
        loaded: A run's config; for a sweep, its config and the text of its base.
        files: Also of files that are not there; for a run on another machine they need not be here.
    """
    if isinstance(loaded, LoadedSweep):
        notices = [*unused_notices(loaded.config), *_without_effect(loaded)]
        with contextlib.suppress(ConfigError):  # values that no trial may have together
            trial = trial_config(loaded.base, _shortest(loaded.config.space))
            # The objective may be a score of the maps that validation makes, which checkpoint.best does not say.
            notices += unused_notices(trial, searched={*loaded.config.space, "checkpoint.best"})
            notices += _of_config(trial)
        return notices + _stopping(loaded, files=files)
    unused = unused_notices(loaded) if isinstance(loaded, Config) else []
    return unused + _of_config(loaded) + _stopping(loaded, files=files)


def _stopping(loaded: Any, *, files: bool) -> list[str]:
    return [f"{fault}; the run would stop at its start" for fault in (missing_files(loaded) if files else ())]


def _of_config(loaded: Any) -> list[str]:
    if isinstance(loaded, ComposedConfig):
        trainings = loaded.trainings().items()
        notices = [text for name, config in trainings for text in _of_training(config, f"{name}.")]
    else:
        notices = _of_training(loaded) if isinstance(loaded, RunConfig) else []
    return notices


def missing_files(loaded: Any) -> list[Fault]:
    """Files that would stop a run where this machine is the one that it runs on; see `Config.missing_files`.

    Args:
        loaded: As for `config_notices`; of a sweep's searched fields each text is looked at, beside the base's values.
    """
    if not isinstance(loaded, LoadedSweep):
        return list(loaded.missing_files()) if isinstance(loaded, Config) else []
    space = loaded.config.space
    points = [{name: end} for name, dimension in space.items() for end in dimension.ends() if isinstance(end, str)]
    if not any(name.endswith("weights") for name in space):  # whose value in the base no trial has
        points.append({})
    faults: list[Fault] = []
    for point in points:
        with contextlib.suppress(ConfigError):  # values that no trial may have together
            faults += trial_config(loaded.base, point).missing_files()
    return list(dict.fromkeys(faults))


def _of_training(config: RunConfig, prefix: str = "") -> list[str]:
    texts = warmup_notices(config, prefix=prefix)
    if isinstance(config, TrainConfig | SegmentConfig):
        texts += input_notices(config.input, config.model.name, prefix)
    return texts


def _without_effect(loaded: LoadedSweep) -> list[str]:
    """Messages about settings of a sweep that can have no effect."""
    config, trial = loaded.config, trial_config(loaded.base, {})
    notices: list[str] = []
    search, scheduler = config.search, config.scheduler
    if same := unscored(config.space, config.objective.metric):
        notices.append(
            f"{config.objective.metric} does not depend on {', '.join(same)}: trials that differ in nothing else are "
            "equal. Search other fields, and change these by set"
        )
    if isinstance(search, Tpe) and search.startup >= search.trials:
        notices.append(
            f"search.startup={search.startup} lets all {search.trials} trials be drawn at random: tpe learns from none "
            f"of them. Set search.startup below search.trials, or search.name=random"
        )
    if isinstance(scheduler, Asha) and scheduler.grace_epochs is not None and isinstance(trial, RunConfig):
        searched = config.space.get("training.epochs")
        ends = searched.ends() if searched else (trial.training.epochs,)
        epochs = max(int(end) for end in ends if isinstance(end, int | float))
        if trial.training.steps is None and scheduler.grace_epochs >= epochs:
            notices.append(
                f"scheduler.grace_epochs={scheduler.grace_epochs} stops no trial early: trials end after "
                f"{counted(epochs, 'epoch')}. Set scheduler.grace_epochs below that, or scheduler.name=fifo"
            )
    return notices


def _shortest(space: dict[str, Dimension]) -> Point:
    """The values of a sweep with the fewest epochs after a warm-up."""
    point: Point = {}
    for name, dimension in space.items():
        values = dimension.choices or [end for end in (dimension.low, dimension.high) if end is not None]
        numbers = [int(value) for value in values if isinstance(value, int | float)]
        if numbers and name.endswith("training.epochs"):
            point[name] = min(numbers)
        elif numbers and name.endswith("method.warmup_epochs"):
            point[name] = max(numbers)
    return point
