"""The results of a sweep: a row per trial, tables and plots, the best config as a recipe, the best model registered."""

from __future__ import annotations

__all__ = [
    "Row",
    "SweepResult",
    "best_row",
    "conclude",
    "failed_rows",
    "is_lost",
    "objective_of",
    "read_rows",
    "result_of",
    "table",
]

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.resolve import dump_config
from attn.display import duration, figure, is_share, percent
from attn.errors import AttnError, StorageAwayError, TrackingError
from attn.files.locations import list_folders
from attn.files.spreadsheet import csv_table
from attn.files.transfer import download_folder
from attn.models.description import read_description
from attn.registry import add_scores, log_model
from attn.runs.result import IF_GIVEN, JsonResult, RunResult
from attn.runs.sweep import Objective, SweepConfig
from attn.runs.sweep.load import trial_config
from attn.runs.sweep.space import Point
from attn.scratch import scratch_folder
from attn.tracking import attach
from attn.training.run_config import RunConfig
from attn.wording import counted, shorten
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.objective_scores import read_scores
from jobs.sweeps.trial_folder import trial_folder

if TYPE_CHECKING:
    from rich.table import Table

ENDED = ("done", "failed", "stopped")
LONGEST_FAULT = 1000


@dataclass(frozen=True)
class Row(JsonResult):
    """A trial.

    Attributes:
        state: `waiting`, `running`, `done`, `failed`, or `stopped` by the scheduler.
        objective: Its last score; None where it has none.
        epoch: How many epochs it came to.
        seconds: That it ran, pauses not counted.
        cause: Of a trial that failed by no fault of its own; see `RunState`.
    """

    number: int
    state: str
    values: Point
    objective: float | None
    epoch: int
    seconds: float | None
    model: str | None
    error: str | None
    tracking_run: str | None
    cause: str | None = field(default=None, metadata=IF_GIVEN)

    @property
    def ended(self) -> bool:
        """Return whether it is not to be run again."""
        return _has_ended(self.state, self.cause)


@dataclass(frozen=True, kw_only=True)
class SweepResult(RunResult):
    """A sweep.

    Attributes:
        trials: By number.
        counts: Trials by state.
        best: The best of the trials that ran to their end.
        recipe: File of the best trial's config.
        registered: The best trial's model in the registry, where that was asked for.
        seconds: Of all attempts, each from before the start of Ray until its results were written.
    """

    trials: list[Row]
    counts: dict[str, int]
    metric: str
    best: Row | None
    recipe: str | None
    registered: str | None
    tracking_run: str | None
    seconds: float | None

    @property
    def fault(self) -> str | None:
        """Why there is no best trial: the trials' errors, each once, with its first trial and how many more had it."""
        if self.best is not None:
            return None
        if self.counts.get("done"):
            return f"no trial has a value of {self.metric}"
        trials: dict[str, list[int]] = {}
        for row in self.trials:
            if row.error:
                trials.setdefault(row.error, []).append(row.number)
        reasons = "; ".join(
            f"trial {numbers[0]}{f' and {len(numbers) - 1} more' if len(numbers) > 1 else ''}: {error}"
            for error, numbers in trials.items()
        )
        reasons = reasons or ("all were stopped early" if self.counts.get("stopped") else "none was begun")
        return shorten(f"no trial came to its end: {reasons}", LONGEST_FAULT)


def read_rows(folder: RunFolder) -> list[Row]:
    """Every trial that was begun, by number, without those whose `run.json` is damaged.

    Raises:
        StorageAwayError: Nothing is known of a trial that may have ended.
    """
    rows: list[Row] = []
    objective = _objective(folder)
    for name in list_folders(folder.uri):
        try:
            state = RunFolder(folder.uri, name).state()
        except StorageAwayError:
            raise
        except AttnError:
            continue
        if state.number is None or state.state is None or state.values is None:
            continue
        rows.append(
            Row(
                number=state.number,
                state=state.state,
                values=state.values,
                objective=None if state.state == "failed" else (state.metrics or {}).get(objective),
                epoch=state.epoch or 0,
                seconds=round(state.seconds, 1) if state.seconds is not None else None,
                model=state.model,
                error=state.error,
                tracking_run=state.tracking_run,
                cause=state.cause,
            )
        )
    return sorted(rows, key=lambda row: row.number)


def is_lost(folder: RunFolder, number: int) -> bool:
    """Return whether a trial that is not running any more is to go on: its process was lost, or its storage away.

    So is one that cannot be read.
    """
    try:
        state = trial_folder(folder, number).state()
    except AttnError:
        return True
    return not _has_ended(state.state, state.cause)


def _has_ended(state: str | None, cause: str | None) -> bool:
    return state in ENDED and cause is None


def failed_rows(config: SweepConfig, rows: Iterable[Row]) -> list[Row]:
    """The failed trials of a sweep all of whose trials ended, or were lost, and none is done; empty of any other."""
    ended = [row for row in rows if row.state in ENDED]
    if len(ended) < config.trials or any(row.state == "done" for row in ended):
        return []
    return [row for row in ended if row.state == "failed"]


def best_row(objective: Objective, rows: Iterable[Row]) -> Row | None:
    """The best of the trials that ran to their end; of equal ones the first."""
    sign = 1 if objective.mode == "max" else -1
    scored = [
        (sign * row.objective, -row.number, row) for row in rows if row.state == "done" and row.objective is not None
    ]
    return max(scored, key=lambda one: one[:2])[2] if scored else None


def conclude(config: SweepConfig, folder: RunFolder) -> SweepResult:
    """Write the results of a sweep into its folder and its record; register the best model if that is asked for."""
    rows = read_rows(folder)
    best = best_row(config.objective, rows)
    names = list(config.space)
    folder.write("trials.json", json.dumps([row.to_json() for row in rows], indent=1))
    folder.write("trials.csv", _csv(rows, names, config.objective.metric))
    if best is not None:
        from attn.runs.sweep.pictures import space_page, space_picture

        points = [(row.values, row.objective, row.state) for row in rows]
        metric = config.objective.metric
        picture = space_picture(points, config.space, objective=metric, title=folder.run_id, mark=best.values)
        folder.write("space.png", picture.png())
        plain = [row.to_json() for row in rows]
        page = space_page(plain, names, objective=metric, title=folder.run_id, best=best.number)
        folder.write("space.html", page)
        folder.write("best.yaml", _recipe(config, folder, best))
    registered = _register(config, folder, best)
    tracking_run = folder.state().tracking_run
    tracker = attach(config.tracking, config.root, tracking_run)
    try:
        if best is not None and best.objective is not None:
            tracker.log_metrics({f"best/{config.objective.metric}": best.objective}, len(rows))
            tracker.set_tags({"attn.best_trial": best.number})
        for name in ("trials.csv", "space.png", "space.html", "best.yaml"):
            if folder.is_local and folder.exists(name):
                tracker.log_files(Path(folder.path(name)))
        tracker.flush()
    except TrackingError as error:  # all of it is in the sweep's folder
        print(f"the results of the sweep could not be recorded: {error}", file=sys.stderr)
    return replace(result_of(config, folder), registered=registered)


def result_of(config: SweepConfig, folder: RunFolder) -> SweepResult:
    """The result of a sweep whose trials have ended, from what is in its folder."""
    rows, state = read_rows(folder), folder.state()
    best = best_row(config.objective, rows)
    return SweepResult(
        run_id=folder.run_id,
        folder=folder.uri,
        trials=rows,
        counts=dict(Counter(row.state for row in rows)),
        metric=config.objective.metric,
        best=best,
        recipe=None if best is None else folder.path("best.yaml"),
        registered=state.registered,
        tracking_run=state.tracking_run,
        seconds=state.seconds,
    )


def table(result: SweepResult) -> Table:
    """The result of a sweep for a terminal: a row per trial, the best one marked."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    best, shared = result.best.number if result.best else None, is_share(result.metric)
    rows = result.trials
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(result.counts.items()))
    drawn = Table(
        title=f"{counted(len(rows), 'trial')}: {counts}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    drawn.add_column("trial", justify="right")
    for name in names:
        drawn.add_column(name, overflow="fold")
    drawn.add_column(f"{result.metric}, %" if shared else result.metric, justify="right")
    drawn.add_column("epochs", justify="right")
    drawn.add_column("state")
    for row in rows:
        score = percent(row.objective) if shared else figure(result.metric, row.objective)
        values = [_short(row.values.get(name)) for name in names]
        drawn.add_row(
            str(row.number), *values, score, str(row.epoch), f"{row.state}, best" if row.number == best else row.state,
            style="bold" if row.number == best else "",
        )  # fmt: skip
    lines = [f"trial {row.number}: {row.error}" for row in rows if row.error]
    if result.counts.get("failed") and not result.counts.get("done"):
        resuming = RunFolder.of(result.folder, "").resuming
        lines.append(f"no trial came to its end; mend what failed, then {resuming} tries the failed trials again")
    lines += [_best_line(result)] if result.best else []
    lines += [f"best config: {result.recipe}"] if result.recipe else []
    lines += [f"registered: {result.registered}"] if result.registered else []
    if result.seconds is not None:
        lines.append(f"time: {duration(result.seconds)}, from the start of Ray to the results, all attempts")
    drawn.caption, drawn.caption_justify = "\n".join([*lines, result.folder]), "left"
    return drawn


def _best_line(result: SweepResult) -> str:
    """The best trial with its score and values, and the trials that are as good."""
    best = result.best
    assert best is not None, "checked"
    equal = [
        str(row.number)
        for row in result.trials
        if row.state == "done" and row.objective == best.objective and row.number != best.number
    ]
    ties = f"; as good: trial{'s' * (len(equal) > 1)} {', '.join(equal)}" if equal else ""
    values = ", ".join(f"{name}={_short(value)}" for name, value in best.values.items())
    score = figure(result.metric, best.objective)
    return f"best: trial {best.number}, {result.metric} {score}  {values}".rstrip() + ties


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)


def _objective(folder: RunFolder) -> str:
    from attn.config.document import read_document

    return objective_of(read_document(folder.read_text("sweep.yaml"), "sweep.yaml").values).metric


def objective_of(values: Mapping[str, Any]) -> Objective:
    """The objective of a sweep's config as plain values, also of one that today's classes do not take as a whole."""
    section = values.get("objective")
    given = section if isinstance(section, Mapping) else {}
    metric, lower = given.get("metric"), given.get("mode") == "min"
    return Objective(metric=str(metric) if metric else Objective().metric, mode="min" if lower else "max")


def _csv(rows: list[Row], names: list[str], metric: str) -> str:
    """A line for each trial; the objective stands under `objective`, the same in all sweeps, and under its own name."""
    header = ["trial", *names, "objective", metric, "epochs", "seconds", "state", "error"]
    values = ([row.values.get(name) for name in names] for row in rows)
    return csv_table(
        header,
        (
            [row.number, *own, row.objective, row.objective, row.epoch, row.seconds, row.state, row.error]
            for row, own in zip(rows, values, strict=True)
        ),
    )


def _recipe(config: SweepConfig, folder: RunFolder, best: Row) -> str:
    """The best trial's config as a file that `attn train` takes: the base with its values, and nothing of the sweep."""
    base, state = folder.read_text("base.yaml"), trial_folder(folder, best.number).state()
    config_of_best = trial_config(base, best.values)
    threads = (
        state.threads if isinstance(config_of_best, RunConfig) and config_of_best.cluster.threads is None else None
    )
    if threads is not None:
        config_of_best = trial_config(base, {**best.values, "cluster.threads": threads})
    expected = figure(config.objective.metric, best.objective)
    head = (
        f"The best of {counted(config.trials, 'trial')} of sweep {folder.run_id}: trial {best.number}\n\n"
        f"Expect:  {config.objective.metric} = {expected} ({config.objective.split or 'validation'} split)\n"
        f"Command: attn {config_of_best.kind} best.yaml"
    )
    if threads is not None:
        head += (
            "\n\ncluster.threads is what the trial had beside others. With cluster.threads=null a run uses all cores, "
            "and rounds its sums in another order: over the steps its weights and scores drift away from these."
        )
    if state.taken:
        head += "\n\nOn its way it took over other trials' weights (`taken` in its run.json), which no config repeats."
    return dump_config(config_of_best, head)


def _register(config: SweepConfig, folder: RunFolder, best: Row | None) -> str | None:
    if best is None or best.model is None or config.tracking.register_as is None:
        return None
    trial = trial_folder(folder, best.number)
    tracking_run, scores = trial.state().tracking_run, read_scores(trial)
    with scratch_folder() as scratch:
        local = Path(best.model) if folder.is_local else download_folder(best.model, scratch)
        registered = log_model(config.tracking, config.root, tracking_run, local)
        if scores:  # by which it was chosen
            sha256 = read_description(local)["sha256"]
            add_scores(config.tracking, config.root, tracking_run, sha256, scores)
    return registered
