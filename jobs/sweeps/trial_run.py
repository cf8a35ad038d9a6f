"""A sweep's trial that needs workers of its own: an ordinary Ray Train run, followed epoch by epoch; or a pipeline.

Scores of `attn evaluate` are taken once, of the trained model; a scheduler that stops trials early needs figures of the
epochs, or trials of one worker.
"""

from __future__ import annotations

__all__ = ["run_composed", "train_with_workers"]

import threading

from attn.errors import RunError
from attn.runs.composed import ComposedConfig
from attn.runs.pipeline import PipelineConfig
from attn.runs.sweep.config import Objective
from attn.runs.table import job_of
from attn.training.run_config import RunConfig
from jobs import pipeline
from jobs.runs.run_folder import RunFolder
from jobs.scoring.targets import open_subject
from jobs.sweeps.plan import epochs_of
from jobs.sweeps.trial_training import OnEpoch
from jobs.train import train_folder
from jobs.training.epoch_lines import read_epochs

POLL_SECONDS = 1.0


def train_with_workers(config: RunConfig, folder: RunFolder, objective: Objective, tell: OnEpoch) -> str:
    """Train by Ray Train within the session that is up, and tell each epoch's metrics.

    Returns:
        The trained model.

    Raises:
        RunError: Training stopped, or its figures lack the objective.
        TrialStopped: By `tell`; the workers end with the trial's process.
    """
    ended: list[str | BaseException] = []

    def body() -> None:
        try:
            ended.append(train_folder(config, folder))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=body, name=f"run-{folder.run_id}", daemon=True)
    thread.start()
    told, metrics, epochs = 0, dict[str, float](), epochs_of(config)
    running = True
    while running:
        thread.join(POLL_SECONDS)
        running = thread.is_alive()  # asked before the lines are read, so that none is missed at the end
        for line in read_epochs(folder):
            epoch = int(line["epoch"])
            figures = {name: value for name, value in line.items() if name not in ("epoch", "step", "seconds")}
            if epoch > told:
                told, metrics = epoch, figures
                if objective.of_epoch:
                    tell(epoch, _with(objective, metrics), epoch == epochs)
    if isinstance(ended[0], BaseException):
        raise ended[0]
    if not objective.of_epoch:
        more = [f"root={folder.root}", *([f"data.split={objective.split}"] if objective.split else [])]
        metrics = metrics | open_subject(ended[0], more).evaluate(lambda _: None).metrics()
        folder.update(metrics=_with(objective, metrics))
        tell(told, metrics, True)
    return ended[0]


def run_composed(config: ComposedConfig, folder: RunFolder, objective: Objective) -> str | None:
    """Run what is no training within the session that is up, or continue it; stages that any trial has done are reused.

    Returns:
        The model that it has trained, if any.

    Raises:
        AttnError: What it raises; or the scores lack the objective.
    """
    if isinstance(config, PipelineConfig):
        result = pipeline.run(config, run_id=folder.run_id, of_others=True)
    else:
        result = job_of(config.kind).run(config, run_id=folder.run_id)
    _with(objective, result["scores"])
    return result.get("model")


def _with(objective: Objective, metrics: dict[str, float]) -> dict[str, float]:
    if objective.metric in metrics:
        return metrics
    raise RunError(
        f"objective.metric={objective.metric!r} is not among this run's figures: {', '.join(sorted(metrics))}"
    )
