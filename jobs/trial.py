"""One trial of a sweep as Ray Tune runs it: an epoch a step, in a process that is used for one trial after another.

A trial of one worker trains in the trial's own process: nothing is started or imported again for the next trial. One of
several workers, or with a second round, is an ordinary Ray Train run, which the trial starts and follows.
"""

from __future__ import annotations

__all__ = ["Trial"]

import queue
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ray import tune

from attn.config.kinds import read_config
from attn.config.resolve import dump_config
from attn.config.run import RunConfig
from attn.errors import AttnError, RunError
from attn.sweep.config import Objective
from jobs.kinds import kind_of
from jobs.run_folder import RunFolder
from jobs.train import close_run, export_model, process_marks
from jobs.trial_folder import EPOCH, OBJECTIVE, in_one_process, trial_folder
from jobs.trial_training import TrialStopped, train_here

CHECKPOINT = "training"


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
        told = self.news.get()
        if isinstance(told, BaseException):
            raise RuntimeError(f"trial {self.number} failed: {told}") from None
        self.last |= told
        return {**self.last, "number": self.number}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        from jobs.storage import newest_checkpoint

        with tempfile.TemporaryDirectory(prefix="attn-trial-") as scratch:
            newest = newest_checkpoint(self.folder, Path(scratch))
            shutil.copytree(newest, Path(checkpoint_dir, CHECKPOINT))

    def load_checkpoint(self, checkpoint: Any) -> None:
        place = Path(tempfile.mkdtemp(prefix="attn-trial-"))
        shutil.copytree(Path(checkpoint, CHECKPOINT), place, dirs_exist_ok=True)
        self.start = place

    def cleanup(self) -> None:
        self._end()

    def _begin(self, given: dict[str, Any]) -> None:
        self.number, sweep = int(given["number"]), RunFolder(str(given["root"]), str(given["sweep"]))
        self.objective = Objective.model_validate_json(given["objective"])
        self.threads = int(given["threads"])
        self.values = {name: value for name, value in given.items() if name not in GIVEN}
        self.folder = trial_folder(sweep, self.number)
        self.thread: threading.Thread | None = None
        self.start: Path | None = None
        self.stopped = threading.Event()
        self.turn: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.last: dict[str, Any] = {}

    def _end(self) -> None:
        """Let the training end at its next epoch, and wait for that."""
        if self.thread is not None:
            self.stopped.set()
            self.turn.put(None)
            self.thread.join()
            self.thread = None
        if self.start is not None:
            shutil.rmtree(self.start, ignore_errors=True)

    def _tell(self, epoch: int, metrics: dict[str, float]) -> None:
        """Hand an epoch over, and wait until another is wanted."""
        self.news.put({OBJECTIVE: metrics[self.objective.metric], EPOCH: epoch, "metrics": metrics, "done": False})
        self.turn.get()
        if self.stopped.is_set():
            raise TrialStopped

    def _train(self) -> None:
        config: RunConfig | None = None
        try:
            self.turn.get()
            config = self._config()
            if (refused := self.folder.state().get("refused")) is not None:
                raise RunError(refused)
            self.folder.update(state="running", started=time.time(), ended=None, error=None, **process_marks())
            if in_one_process(config):
                model = self._train_here(config)
            else:
                from jobs.trial_run import train_with_workers

                model = train_with_workers(config, self.folder, self.objective, self._tell)
            close_run(config, self.folder, "done", model=model)
            self.news.put({"done": True})
        except TrialStopped:
            if config is not None:
                close_run(config, self.folder, "stopped")
        except BaseException as error:
            text = str(error) if isinstance(error, AttnError) else f"{type(error).__name__}: {error}"
            if config is not None:
                close_run(config, self.folder, "failed", error=text)
            self.news.put(RuntimeError(text))

    def _config(self) -> RunConfig:
        """The trial's config; population-based training may have changed its values since they were written."""
        name = self.folder.path("config.yaml")
        text = self.folder.read("config.yaml").decode()
        config = read_config(text, name)
        if self.start is not None:
            from attn.sweep.load import point_overrides

            changed = read_config(text, name, point_overrides(self.values))
            if changed != config:
                config = changed
                self.folder.write("config.yaml", dump_config(config, "A trial's config, as it ended."))
                self.folder.update(values=self.values)
        return config

    def _train_here(self, config: RunConfig) -> str:
        from jobs.storage import newest_checkpoint, newest_checkpoint_name

        kind = kind_of(config)
        self.folder.update(**kind.check(config, self.folder))
        prepared = kind.ready(config, self.folder)
        with tempfile.TemporaryDirectory(prefix="attn-trial-") as scratch:
            start = self.start
            if start is None and newest_checkpoint_name(self.folder):
                start = newest_checkpoint(self.folder, Path(scratch))
            metrics = train_here(prepared, self.folder, self.objective, self._tell, start=start, threads=self.threads)
        self.folder.update(metrics=metrics)
        return export_model(config, self.folder, record=False)


GIVEN = frozenset({"number", "root", "sweep", "objective", "threads"})
"""What Tune's config of a trial holds beside the searched values."""
