"""Search over the fields of a run's config by Ray Tune: one parent in the record, one child per trial, resumable.

The sweep's folder says all that must outlive the process: `sweep.yaml`, `base.yaml`, and a folder for each trial that
was begun, with its config, values and state. Tune's own state is not needed to go on. Ray is imported within its
session only: it reads its token once, at the import.
"""

from __future__ import annotations

__all__ = ["resume", "run"]

import logging
import os
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from attn import progress
from attn.config.document import override_of
from attn.config.resolve import dump_config
from attn.errors import ConfigError, RunError, WorkersLostError
from attn.redaction import without_secrets
from attn.runs.config_notices import config_notices, missing_files
from attn.runs.sweep import SweepConfig
from attn.runs.sweep.config import Pbt
from attn.runs.sweep.load import LoadedSweep, TrialConfig, in_one_process, sweep_config, trial_config
from attn.runs.sweep.space import Point
from attn.tracking import RunDescription, TrackingConfig, create_run, run_params, send_pending, terminate
from attn.tracking.address import tracking_uri
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from attn.wording import counted
from jobs.ray_cluster.session import ray_session
from jobs.runs.claim import claim
from jobs.runs.lifecycle import LiveRun, begin_run, continue_run, say_done, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.runs.starting import starting
from jobs.sweeps.estimate import sweep_estimate
from jobs.sweeps.plan import Plan, make_plan, remaining
from jobs.sweeps.points import Suggestions
from jobs.sweeps.progress import progress_callback
from jobs.sweeps.results import ENDED, Row, SweepResult, conclude, failed_rows, read_rows, result_of
from jobs.sweeps.trial_folder import OBJECTIVE, trial_folder, trial_name, trial_number
from jobs.training.notices import tell_notices

BASE = "base.yaml"
"""File in a sweep's folder with the resolved config of all trials, `set` included: the recipe of `sweep.yaml`."""
MOST_LOSSES = 3
"""How often a trial that is lost goes on in one session of its sweep."""
OUT_OF_MEMORY = (
    "Ray ended its process, since its machine had no memory left: lower the batch size, or give each trial more CPU "
    "cores, so that fewer run side by side"
)
ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # with a traceback each; the sweep says why a trial failed
    # Ctrl-C is the sweep's: Ray Tune would end all trials as if they were done with, and return.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def run(loaded: LoadedSweep, *, run_id: str | None = None, address: str | None = None) -> SweepResult:
    """Run a sweep to its end.

    Args:
        run_id: A name of the user's own.
        address: A Ray cluster to join; without one, Ray runs on this machine for the time of the sweep.

    Raises:
        RunError: The id is taken, or no trial can run; trials that fail are recorded and do not end the sweep.
    """
    config, base = loaded
    tell_notices(config_notices(loaded, files=False))
    if missing := missing_files(loaded):
        raise ConfigError(missing)
    folder = RunFolder(config.root, run_id or new_run_id("sweep"))
    claim(folder, "sweep", again=False)
    comment = f"Sweep {folder.run_id} of {config.recipe}; `attn sweep` on this file repeats it."
    resolved = config.model_copy(update={"recipe": BASE, "set": {}})
    text = dump_config(resolved, without_secrets(" ".join(comment.split())))
    files = {"sweep.yaml": text, BASE: base}
    with (
        starting(folder, "sweep"),
        begin_run("sweep", config, folder, recorded=config, text=text, files=files) as live,
    ):
        result = _run(config, base, live, address)
    return _ended(folder, result)


def resume(run: str, *, root: str = "runs", address: str | None = None) -> SweepResult:
    """Continue a sweep that was interrupted: trials that ended are kept, the others are continued or begun.

    A trial that failed by no fault of its own has not ended. Of a sweep none of whose trials succeeded, those that
    failed are tried again.
    """
    folder = RunFolder.of(run, root)
    state = folder.state()
    if state.kind != "sweep":
        raise RunError(f"run {folder.run_id!r} is no sweep: {folder.resuming}")
    config = sweep_config(folder.read_text("sweep.yaml"), folder.path("sweep.yaml"))
    config = config.model_copy(update={"root": folder.root})
    rows = read_rows(folder)
    again = failed_rows(config, rows)
    if state.state == "done" and not again and all(row.ended for row in rows):
        say_done(folder)
        with warned("what its record lacks could not be sent"):
            send_pending(config.tracking, config.root, state.tracking_run, folder.uri)
        return _ended(folder, result_of(config, folder))
    with continue_run(config, folder) as live:
        for row in again:
            trial_folder(folder, row.number).update(state="waiting", ended=None, error=None, cause=None)
        result = _run(config, folder.read_text(BASE), live, address)
    return _ended(folder, result)


def _run(config: SweepConfig, base: str, live: LiveRun, address: str | None) -> SweepResult:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sweep = _Sweep(config, base, live.folder)
    with progress.task("sweep", config.trials, "trials", timed=False) as reported:
        reported.kept = config.trials - len(sweep.left)
        reported.update(reported.kept)
        if sweep.left:
            with ray_session(address, dashboard=not sweep.in_process):
                plan = make_plan(config, base)
                rest = remaining(plan, list(sweep.rows.values()))
                head = "" if rest is plan else "left: "
                progress.say(head + rest.line(sweep_estimate(config, base, rest)))
                sweep.run(plan, reported)
        result = conclude(config, live.folder)
    live.outputs["registered"] = result.registered
    if result.best is None:
        live.state = "failed"
        live.outputs["error"] = result.fault
        live.outputs["cause"] = next((row.cause for row in result.trials if row.cause), None)  # it helps to go on
    else:
        live.outputs["metrics"] = {f"best/{result.metric}": result.best.objective}
    return result


def _ended(folder: RunFolder, result: SweepResult) -> SweepResult:
    return replace(result, seconds=folder.state().seconds)


class _Sweep:
    """The trials of a sweep: which there were, and what is needed to run those that are left."""

    def __init__(self, config: SweepConfig, base: str, folder: RunFolder) -> None:
        self.config, self.base, self.folder = config, base, folder
        self.in_process = in_one_process(trial_config(base, {}))
        self.out_of_memory: set[int] = set()
        self._read()
        self._settle_record()

    def _read(self) -> None:
        """Take up the trials as they are in the sweep's folder."""
        self.rows = {row.number: row for row in read_rows(self.folder)}
        ended = {number: row for number, row in self.rows.items() if row.ended}
        self.suggestions = Suggestions(
            self.config,
            {number: row.values for number, row in self.rows.items()},
            {number: row.objective for number, row in ended.items()},
        )
        self.left = [number for number in range(self.config.trials) if number not in ended]

    def run(self, plan: Plan, reported: progress.Task) -> None:
        """Run what is left. Trials that are lost go on afterwards, where there is room.

        Each so often at most, and after its first loss only if it has come further than at the one before.
        """
        losses: Counter[int] = Counter()
        reached: dict[int, int] = {}
        while self.left:
            self.out_of_memory.clear()
            self.tune(plan, reported)
            self._read()
            for number in self.left:
                if (row := self.rows.get(number)) is not None and row.state not in ENDED:
                    self._mark_lost(row)
            self.left = [number for number in self.left if number in self.rows and number not in self.out_of_memory]
            losses.update(self.left)
            self.left = [
                number
                for number in self.left
                if losses[number] <= MOST_LOSSES and self.rows[number].epoch > reached.get(number, -1)
            ]
            reached |= {number: self.rows[number].epoch for number in self.left}
            if self.left:
                progress.say(f"{counted(len(self.left), 'trial')} of {self.config.trials} lost: "
                             "going on from their newest checkpoints")  # fmt: skip

    def tune(self, plan: Plan, reported: progress.Task) -> None:
        """Run what is left, and report the trials."""
        with progress.task("starting Ray Tune", patience=1.0):
            from ray import tune
            from ray.tune.logger import JsonLoggerCallback

            from jobs.runs.checkpoints import ray_storage
            from jobs.sweeps.schedulers import domain, scheduler_of
            from jobs.sweeps.search import PlannedSearch
            from jobs.sweeps.trial import Trial

        _keep_credentials_out_of_logs()
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # of trials that fail or go on, the sweep tells
        self.plan = plan
        searched: dict[str, Any] = {}
        if isinstance(self.config.scheduler, Pbt):  # which draws for itself, and takes no search beside it
            from ray.tune.search import BasicVariantGenerator

            points = [self.begin(number, self.suggestions.point(number)) for number in self.left]
            search: Any = BasicVariantGenerator(points_to_evaluate=points, max_concurrent=0)
            searched = {name: value for name, value in points[0].items() if name not in self.config.space}
            searched |= {name: domain(dimension) for name, dimension in self.config.space.items()}
            searched["number"] = tune.choice(self.left)
        else:
            search = PlannedSearch(self.suggestions, self.left, self.begin, self.config.objective.mode)
        path, filesystem = ray_storage(self.folder.uri)
        callback = progress_callback(
            self.config, self.folder, self.rows.values(), epochs=plan.epochs, reported=reported
        )
        tuner = tune.Tuner(
            tune.with_resources(Trial, plan.per_trial),
            param_space=searched,
            tune_config=tune.TuneConfig(
                metric=OBJECTIVE,
                mode=self.config.objective.mode,
                search_alg=search,
                scheduler=scheduler_of(self.config, plan.epochs, plan.differ_after),
                num_samples=len(self.left),
                max_concurrent_trials=None if isinstance(self.config.scheduler, Pbt) else plan.parallel,
                reuse_actors=self.in_process,
                trial_name_creator=trial_name,
                trial_dirname_creator=trial_name,
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=path, storage_filesystem=filesystem, verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                # Of PBT alone, which hands them on; a trial's own are in its folder.
                checkpoint_config=tune.CheckpointConfig(num_to_keep=4),
                callbacks=[callback, JsonLoggerCallback()],
            ),
        )  # fmt: skip
        self.out_of_memory |= killed_for_memory(tuner.fit())

    def begin(self, number: int, point: Point) -> dict[str, Any]:
        """Make a trial's folder and record, where they are not there yet; gives what Tune passes to the trial."""
        folder = trial_folder(self.folder, number)
        given = {
            "number": number,
            "root": self.config.root,
            "sweep": self.folder.run_id,
            "objective": self.config.objective.model_dump_json(),
            "threads": self.plan.threads,
            "pauses": isinstance(self.config.scheduler, Pbt),
            **point,
        }
        if folder.exists():
            return given
        config, fault = self._config(number, point), None
        if isinstance(config, ConfigError):
            config, fault = trial_config(self.base, {}), config
        tags = {"attn.kind": config.kind, "attn.trial": str(number), "attn.sweep": self.folder.run_id}
        if (parent := self.folder.state().tracking_run) is not None:
            tags["mlflow.parentRunId"] = parent
        described = RunDescription(run_params(config, trial_config(self.base, {}), always=point), program="attn sweep")
        tracking_run = create_run(config.tracking, folder.root, folder.run_id, config, described, tags=tags)
        folder.write("config.yaml", dump_config(config, f"Trial {number} of sweep {self.folder.run_id}."))
        folder.update(kind=config.kind, state="waiting", number=number, values=point, tracking_run=tracking_run)
        if fault is not None:
            folder.update(refused=str(fault))
        return given

    def _config(self, number: int, point: Point) -> TrialConfig | ConfigError:
        tracking = TrackingConfig(
            enabled=self.config.tracking.enabled,
            uri=tracking_uri(self.config.tracking, self.config.root) if self.config.tracking.enabled else None,
            experiment=self.config.tracking.experiment,
            preview_images=0,
        )
        section = tracking.model_dump(mode="json")
        recorded = [override_of(f"tracking.{name}", value) for name, value in section.items()]
        try:
            config = trial_config(self.base, point, override_of("root", self.folder.uri), *recorded)
        except ConfigError as error:  # values that are each allowed, but not together
            return error
        if isinstance(config, RunConfig) and config.cluster.threads is None:  # else a repetition would have other ones
            cluster = config.cluster.model_copy(update={"threads": self.plan.threads})
            config = config.model_copy(update={"cluster": cluster})
        if isinstance(config, TrainConfig) and config.accumulates and isinstance(self.config.scheduler, Pbt):
            # One store for all: a trial that takes over another's weights begins from a version of that one's run.
            location = config.store.location or self.folder.path("store")
            return config.model_copy(update={"store": config.store.model_copy(update={"location": location})})
        return config

    def _settle_record(self) -> None:
        """Mend what a kill left in the record: children without a trial's folder, and ended ones that look alive."""
        parent = self.folder.state().tracking_run
        if parent is None or not self.config.tracking.enabled:
            return
        from attn.tracking.mlflow_children import reconcile_children

        states = {row.tracking_run: row.state if row.ended else None for row in self.rows.values() if row.tracking_run}
        reconcile_children(tracking_uri(self.config.tracking, self.config.root), parent, states)

    def _mark_lost(self, row: Row) -> None:
        """Record the end of a trial whose process died before it could do that itself."""
        error, cause = "its process was lost before the trial had ended", WorkersLostError.code
        if row.number in self.out_of_memory:
            error, cause = OUT_OF_MEMORY, None
        folder = trial_folder(self.folder, row.number)
        folder.update(state="failed", ended=time.time(), error=row.error or error, cause=cause)
        terminate(self.config.tracking, self.config.root, row.tracking_run, "failed")


def killed_for_memory(results: Any) -> set[int]:
    """The trials among Ray Tune's results whose process Ray ended because its machine had no memory left."""
    from ray.exceptions import OutOfMemoryError

    ended = [result for result in results if isinstance(result.error, OutOfMemoryError)]
    return {trial_number(os.path.basename(result.path.rstrip("/"))) for result in ended}


def _keep_credentials_out_of_logs() -> None:
    """Let trials have the credentials of the machine they run on, as all of Ray's workers do.

    Ray Tune would hand them this process's instead, in a runtime environment, all of which Ray writes into its logs.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS_" not in name}
