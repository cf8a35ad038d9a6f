"""The stage `train`: the classifier."""

from __future__ import annotations

__all__ = ["TrainStage"]

from typing import Any

from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs
from jobs.stages.stage import StageContext, training_inputs
from jobs.stages.training import train_stage


class TrainStage:
    """Train the classifier."""

    outputs = TrainOutputs
    on_ray = True

    def inputs(self, context: StageContext) -> dict[str, Any]:
        return training_inputs(context.config.train, context)

    def run(self, context: StageContext, folder: RunFolder) -> TrainOutputs:
        return train_stage(context.config.train, folder, context)
