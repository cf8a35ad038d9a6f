"""A sweep's trial that needs workers of its own: an ordinary Ray Train run, followed epoch by epoch; or a pipeline.

Scores of `attn evaluate` are taken once, of the trained model; a scheduler that stops trials early needs figures of the
epochs, or trials of one worker.
"""

from __future__ import annotations

__all__ = ["run_composed", "train_with_workers"]

import threading

from attn.errors import RunError
from attn.runs.composed import ComposedConfig
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.pipeline import PipelineConfig
from attn.runs.result import ComposedResult, RunResult
from attn.runs.sweep.config import Objective
from attn.runs.table import job_of
from attn.training.run_config import RunConfig
from jobs import pipeline
from jobs.runs.run_folder import RunFolder
from jobs.scoring.targets import ModelTarget
from jobs.sweeps.plan import epochs_of
from jobs.sweeps.trial_training import OnEpoch, TrialStopped
from jobs.train import train_folder
from jobs.training.epoch_lines import read_epochs
from jobs.training.hooks import TrainingRun
from jobs.training.publication import publish_newest

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
    reported, metrics, epochs = 0, dict[str, float](), epochs_of(config)
    running = True
    while running:
        thread.join(POLL_SECONDS)
        running = thread.is_alive()  # asked before the lines are read, so that none is missed at the end
        for line in read_epochs(folder):
            epoch = int(line["epoch"])
            figures = {name: value for name, value in line.items() if name not in ("epoch", "step", "seconds")}
            if epoch > reported:
                reported, metrics = epoch, figures
                if objective.of_epoch:
                    try:
                        tell(epoch, _with(objective, metrics), epoch == epochs or epoch == _early_end(folder))
                    except TrialStopped:
                        publish_newest(TrainingRun(config, folder))
                        raise
    if isinstance(ended[0], BaseException):
        raise ended[0]
    if not objective.of_epoch:
        target = ModelTarget.open(ended[0], _evaluation(config, objective, folder.root))
        of_model = {name: value for name, value in (folder.state().metrics or metrics).items() if value is not None}
        metrics = of_model | target.evaluate(lambda _: None).metrics()
        folder.update(metrics=_with(objective, metrics))
        tell(reported, metrics, True)
    return ended[0]


def _early_end(folder: RunFolder) -> int | None:
    """The epoch, from 1, after which early stopping has ended a run."""
    return (folder.state().stopped_early or {}).get("epoch")


def _evaluation(config: RunConfig, objective: Objective, root: str) -> EvaluateModelConfig:
    """The evaluation of a trial's model: on the objective's split, or as the trial is validated."""
    split = objective.split or config.validation.split or config.data.split
    data = config.data.model_copy(update={"split": split})
    return EvaluateModelConfig(root=root, data=data, input=config.input, maps=config.validation.maps)


def run_composed(config: ComposedConfig, folder: RunFolder, objective: Objective) -> str | None:
    """Run what is no training within the session that is up, or continue it; stages that any trial has done are reused.

    Returns:
        The model that it has trained, if any.

    Raises:
        AttnError: What it raises; or the scores lack the objective.
    """
    if isinstance(config, PipelineConfig):
        result: RunResult = pipeline.run(config, run_id=folder.run_id, of_others=True)
    else:
        result = job_of(config.kind).run(config, run_id=folder.run_id)
    assert isinstance(result, ComposedResult), "the run of a ComposedConfig"
    _with(objective, result.scores)
    return result.model


def _with(objective: Objective, metrics: dict[str, float]) -> dict[str, float]:
    if objective.metric in metrics:
        return metrics
    raise RunError(
        f"objective.metric={objective.metric!r} is not among this run's figures: {', '.join(sorted(metrics))}"
    )
