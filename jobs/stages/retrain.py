"""The stage `retrain`, DSRG's second round: a network learns from the masks that it gives its own training images."""

from __future__ import annotations

__all__ = ["RetrainStage"]

from typing import Any

from jobs.runs.run_folder import RunFolder
from jobs.segment import retrain
from jobs.stages.outputs import TrainOutputs
from jobs.stages.stage import StageContext, training_inputs
from jobs.stages.training import outputs_of


class RetrainStage:
    """Train the segmentation network again, on its own masks."""

    outputs = TrainOutputs
    on_ray = True

    def inputs(self, context: StageContext) -> dict[str, Any]:
        inputs = training_inputs(context.config.segment, context)
        inputs["config"].pop("labels")
        return inputs | {"weights": context.outputs.segment.weights}

    def run(self, context: StageContext, folder: RunFolder) -> TrainOutputs:
        first = context.outputs.segment.model
        return outputs_of(retrain(context.config.segment, first, folder, context.address, context.sources))
