"""Figures that a sweep's trials will report, and the first epoch in which they can differ, before any of them runs.

A figure is a number that a trial reports under a name. Without this, an objective that no trial reports would show only
after each had trained in vain.
"""

from __future__ import annotations

__all__ = ["BEST_EPOCH", "LOWER", "check_data", "differs_after", "figure_fault", "figures_of", "unscored"]

import difflib
from collections.abc import Iterable, Mapping

from attn.data.source import SourceConfig
from attn.data.source_cache import SourceCache
from attn.errors import DataError
from attn.evaluation.score import OF_MAPS
from attn.runs.composed import ComposedConfig
from attn.runs.pipeline import PipelineConfig
from attn.runs.sweep.space import Dimension
from attn.segmentation.config import SegmentConfig
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig

LOWER = ("train/loss", "val/loss")
"""Figures that are the better the lower they are; of the other terms of a loss a sweep's author knows."""
_APART = frozenset({"root", "store", "checkpoint", "tracking"})
"""Sections that change neither a training nor its scores; the store's fields change its own figures."""
_WARMUP = "method.warmup_epochs"
BEST_EPOCH = "checkpoint.best"
"""Field that changes the last report of a trial alone: that of the epoch that its model is of."""


def figures_of(trial: RunConfig | ComposedConfig) -> dict[str, str]:
    """Every figure of a trial by name: empty where it is there after each epoch (of a composed run: at its end).

    Else it says why it is not, and what to do.
    """
    if isinstance(trial, ComposedConfig):
        return trial.figures()
    figures = {"train/loss": ""}
    if isinstance(trial, TrainConfig):
        first = trial.method.terms(0)
        late = "it is not there during method.warmup_epochs, and a sweep asks for it after every epoch"
        names = (*first, *trial.method.terms(trial.last_epoch))
        figures |= {f"train/{name}": "" if name in first else late for name in names}
    elif isinstance(trial, SegmentConfig):
        rounds = [trial.method, *([trial.retrain.method] if trial.retrain else [])]
        own = "only one of the two rounds has it"
        names = dict.fromkeys(name for method in rounds for name in method.terms())
        figures |= {f"train/{name}": "" if all(name in m.terms() for m in rounds) else own for name in names}
    figures |= dict.fromkeys(trial.validation_scores, _unvalidated(trial))
    if isinstance(trial, TrainConfig):
        if trial.accumulates:
            late = "set store.start_epoch=0: a sweep asks for it after every epoch" if trial.store.start_epoch else ""
            figures |= dict.fromkeys(("store/accepted", "store/dropped", "store/fallback"), late)
        figures |= dict.fromkeys(trial.evaluated_scores, "")
    return figures


def _unvalidated(trial: RunConfig) -> str:
    if trial.validation.split is None:
        return "set validation.split, which is null"
    every = trial.validation.every_epochs
    return "" if every == 1 else f"set validation.every_epochs=1, not {every}: a sweep asks for it after every epoch"


def figure_fault(metric: str, mode: str, trial: RunConfig | ComposedConfig) -> tuple[str, str] | None:
    """Return the fault of an objective and its mend; None if the trials have it."""
    figures = figures_of(trial)
    if metric not in figures:
        near = difflib.get_close_matches(metric, figures, n=3, cutoff=0.45)
        meant = f"did you mean {', '.join(near)}? " if near else ""
        hint = f"{meant}a {trial.kind} run has {', '.join(sorted(figures))}"
        return f"objective.metric={metric} is no figure that these trials report", hint
    if figures[metric]:
        return f"objective.metric={metric} is not among the figures of these trials", figures[metric]
    wanted = "min" if metric in LOWER else "max" if not metric.startswith(("train/", "store/")) else mode
    if mode != wanted:
        better = "lower" if wanted == "min" else "higher"
        return f"objective.mode={mode}, but a {better} {metric} is better", f"objective.mode={wanted}"
    return None


def check_data(
    metric: str,
    split: str | None,
    trial: RunConfig | ComposedConfig,
    *,
    field: str = "objective.metric",
    sources: SourceCache | None = None,
) -> None:
    """Raise if the data lacks what a figure is computed from.

    Args:
        metric: One that the trial's epochs, or its end, have by its config.
        split: On which scores of an evaluation are taken; None: the validation split.
        field: Which names the metric, for the message.
        sources: Holds the data sets that this process has built already.

    Raises:
        DataError: It has no masks, or several classes an image; or it cannot be read.
    """
    data, sources = _scored(metric, split, trial), sources or SourceCache()
    masked = isinstance(trial, PipelineConfig) or (isinstance(trial, SegmentConfig) and not metric.startswith("train/"))
    if metric in OF_MAPS or masked:
        records = sources.get(data).records
        if not any(record.mask is not None for record in records):
            raise DataError(
                f"{field}={metric} needs masks, and none of the {len(records)} images of "
                f"data.split={data.split!r} has one: give data.masks, or another score"
            )
    if isinstance(trial, TrainConfig) and metric in ("accuracy", "accuracy_top5", "val/accuracy"):
        source = sources.get(data)
        if not source.exclusive or (metric == "accuracy_top5" and len(source.classes) <= 5):
            why = f"there are {len(source.classes)} classes" if source.exclusive else "images may have several classes"
            raise DataError(f"{field}={metric} is not reported: {why}; use mean_ap, mean_auc or val/mean_ap")


def _scored(metric: str, split: str | None, trial: RunConfig | ComposedConfig) -> SourceConfig:
    """The data that a figure is computed on."""
    if isinstance(trial, ComposedConfig):
        return trial.scored(metric)
    split = trial.validation.split if "/" in metric or split is None else split
    return trial.data if split is None else trial.data.model_copy(update={"split": split})


def unscored(space: Iterable[str], metric: str) -> list[str]:
    """The searched fields that change nothing a figure depends on: trials that differ in these alone are equal."""
    apart = _APART - {metric.partition("/")[0]}
    return [name for name in space if name.partition(".")[0] in apart and name != BEST_EPOCH]


def differs_after(trial: RunConfig | ComposedConfig, space: Mapping[str, Dimension], metric: str) -> int | None:
    """After how many epochs trials that differ in these fields alone can first differ in a figure.

    Returns:
        None where no epoch makes them differ.
    """
    searched = space.keys() - {BEST_EPOCH, *unscored(space, metric)}
    if isinstance(trial, ComposedConfig):
        return 1
    at_end = trial.last_epoch + 1 if BEST_EPOCH in space else None
    if not isinstance(trial, TrainConfig):
        return 1 if searched else at_end
    method = trial.method
    if _WARMUP in space:  # all trials are equal for as long as the shortest warm-up of any
        lengths = [value for value in space[_WARMUP].ends() if isinstance(value, int | float)]
        method = method.model_copy(update={"warmup_epochs": min(lengths, default=0)})
    for epoch in range(trial.last_epoch + 1):
        idle = {f"method.{name}" for name in method.idle_fields(epoch)}
        if not idle.issuperset(searched):
            return epoch + 1
    return at_end
