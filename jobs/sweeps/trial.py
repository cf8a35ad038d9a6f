"""One trial of a sweep as Ray Tune runs it: an epoch a step, in a process that is used for one trial after another.

A trial of one worker trains in the trial's own process: nothing is started or imported again for the next trial. One of
several workers, or with a second round, is an ordinary Ray Train run, which the trial starts and follows. A pipeline is
one step, and reports its scores at its end.
"""

from __future__ import annotations

__all__ = ["Trial"]

import json
import queue
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from attn.errors import RunError
from attn.parsing import load_json
from attn.run_state import RunState
from attn.runs.composed import ComposedConfig
from attn.runs.sweep.config import Objective
from attn.runs.sweep.load import TrialConfig, in_one_process, read_trial
from attn.scratch import scratch_folder
from attn.training.run_config import RunConfig
from jobs.runs.lifecycle import continue_run, fault_text
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.objective_scores import read_scores, write_scores
from jobs.sweeps.pbt_exploit import PbtExploit
from jobs.sweeps.trial_folder import EPOCH, LAST, OBJECTIVE, trial_folder, trial_number
from jobs.sweeps.trial_training import TrialStopped, train_here
from jobs.train import export_model
from jobs.training.hooks import TrainingRun, hooks_of

CHECKPOINT, BEST, LAST_REPORT = "training", "best", "told.json"
"""Files that Ray Tune keeps of a trial: its newest checkpoint, that of its best epoch, and its last report."""


class Trial(tune.Trainable):
    """Runs trial `number` of a sweep, whose config and record are in its folder already."""

    def setup(self, config: dict[str, Any]) -> None:
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self.config = new_config
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next epoch's metrics; the one after the last says that the trial is done."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._train, name=f"trial-{self.number}", daemon=True)
            self.thread.start()
        self.turn.put(None)
        report = self.reports.get()
        if isinstance(report, BaseException):
            raise RuntimeError(f"trial {self.number} failed: {report}") from None
        self.last |= report
        return {**self.last, "number": self.number}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        from attn.training.checkpoint import load_shared
        from attn.training.selection import best_of
        from jobs.runs.checkpoints import best_checkpoint, newest_checkpoint, newest_checkpoint_name

        if newest_checkpoint_name(self.folder):  # a pipeline has none: its stages have their own
            with scratch_folder() as scratch:
                newest = newest_checkpoint(self.folder, scratch / "newest")
                shutil.copytree(newest, Path(checkpoint_dir, CHECKPOINT))
                if (best := best_of(load_shared(newest)[1])) is not None:
                    shutil.copytree(best_checkpoint(self.folder, best, scratch / "best"), Path(checkpoint_dir, BEST))
        Path(checkpoint_dir, LAST_REPORT).write_text(json.dumps({"number": self.number, **self.last}))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a checkpoint: the trial's own newest, which its folder has, or another trial's."""
        try:
            self.last = load_json(Path(checkpoint, LAST_REPORT).read_bytes())
            number = self.last.pop("number")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{checkpoint}/{LAST_REPORT} is damaged: it does not say whose checkpoint it is") from None
        if number != self.number:
            self.exploit = PbtExploit(number, self.last[EPOCH], self.values)
            self.exploit.apply(self.folder, Path(checkpoint, CHECKPOINT), Path(checkpoint, BEST))

    def cleanup(self) -> None:
        self._end()

    def _begin(self, given: dict[str, Any]) -> None:
        self.number, sweep = trial_number(self.trial_name), RunFolder(str(given["root"]), str(given["sweep"]))
        self.objective = Objective.model_validate_json(given["objective"])
        self.threads, self.pauses = int(given["threads"]), bool(given["pauses"])
        self.values = {name: value for name, value in given.items() if name not in GIVEN}
        self.folder = trial_folder(sweep, self.number)
        self.thread: threading.Thread | None = None
        self.exploit: PbtExploit | None = None
        self.stopped = threading.Event()
        self.turn: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.last: dict[str, Any] = {}

    def _end(self) -> None:
        """Let the training end at its next epoch, and wait for that; one that had its last epoch saves its model."""
        if self.thread is not None:
            self.stopped.set()
            self.turn.put(None)
            self.thread.join()
            self.thread = None

    def _tell(self, epoch: int, metrics: dict[str, float], last: bool) -> None:
        """Hand an epoch over, and wait until another is wanted."""
        self.reports.put(self._figures(epoch, metrics, last=last) | {"done": False})
        self.turn.get()
        if self.stopped.is_set() and not last:
            raise TrialStopped

    def _figures(self, epoch: int, metrics: Mapping[str, float | None], *, last: bool) -> dict[str, Any]:
        return {OBJECTIVE: metrics[self.objective.metric], EPOCH: epoch, LAST: last, "metrics": metrics}

    def _train(self) -> None:
        """The thread's whole work: it ends with a report, whatever happens."""
        self.turn.get()
        try:
            self._run()
        except BaseException as error:  # whatever it is: `step` waits for a report
            self.reports.put(RuntimeError(fault_text(error)))

    def _run(self) -> None:
        config = read_trial(self.folder.read_text("config.yaml"), self.folder.path("config.yaml"))
        state = self.folder.state()
        fields = {} if state.started else {"started": time.time()}
        with continue_run(config, self.folder, fields=fields, others=False) as live:
            try:
                live.outputs["model"] = self._model(config, state)
            except TrialStopped:
                live.state = "waiting" if self.pauses else "stopped"  # until Ray Tune has room for it again
        if live.state == "done":
            state = self.folder.state()
            self.reports.put(self._figures(state.epoch or 0, state.metrics or {}, last=True) | {"done": True})

    def _model(self, config: TrialConfig, state: RunState) -> str | None:
        """Train, or run a pipeline; gives the trained model."""
        if (refused := state.refused) is not None:
            raise RunError(refused)
        if isinstance(config, ComposedConfig):
            from jobs.sweeps.trial_run import run_composed

            return run_composed(config, self.folder, self.objective)
        if self.exploit is not None or in_one_process(config):
            return self._train_here(self.exploit.config(config, self.folder) if self.exploit else config)
        from jobs.sweeps.trial_run import train_with_workers

        return train_with_workers(config, self.folder, self.objective, self._tell)

    def _train_here(self, config: RunConfig) -> str:
        from jobs.runs.checkpoints import newest_checkpoint, newest_checkpoint_name

        hooks, training = hooks_of(config), TrainingRun(config, self.folder)
        self.folder.update(**hooks.validate(training))
        prepared, threads = hooks.prepare(training), config.cluster.threads or self.threads
        self.folder.update(threads=threads)
        with scratch_folder() as scratch:
            start = newest_checkpoint(self.folder, scratch) if newest_checkpoint_name(self.folder) else None
            metrics, protocols = train_here(
                prepared, training, self.objective, self._tell, start=start, threads=threads
            )
        if metrics:  # none where the last epoch was there already
            self.folder.update(metrics=metrics)
        model = export_model(training, record=False)
        protocols = protocols or {score.name: score.protocol for score in read_scores(self.folder)}
        if protocols:  # of the model: with `checkpoint.best` its metrics are those of an earlier epoch
            write_scores(self.folder, protocols, self.folder.state().metrics or {})
        return model


GIVEN = frozenset({"number", "root", "sweep", "objective", "threads", "pauses"})
"""Entries of Tune's config of a trial beside the searched values."""
