"""The stage `segment`: a segmentation network that learns from the cues."""

from __future__ import annotations

__all__ = ["SegmentStage"]

from typing import Any

from attn.segmentation.labels import FileLabels
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs
from jobs.stages.stage import StageContext, training_inputs
from jobs.stages.training import train_stage


class SegmentStage:
    """Train the segmentation network, in its first round."""

    outputs = TrainOutputs
    on_ray = True

    def inputs(self, context: StageContext) -> dict[str, Any]:
        inputs = training_inputs(context.config.segment, context)
        inputs["config"].pop("labels")
        inputs["config"]["retrain"] = None  # a stage of its own
        if context.config.from_classifier:
            inputs["weights"] = context.outputs.classifier.weights
        return inputs | {"cues": context.outputs.cues.cues_digest}

    def run(self, context: StageContext, folder: RunFolder) -> TrainOutputs:
        config = context.config.segment
        changes: dict[str, Any] = {"labels": FileLabels(path=context.outputs.cues.cues), "retrain": None}
        if context.config.from_classifier:
            weights = context.outputs.classifier.model
            changes["model"] = config.model.model_copy(update={"weights": weights})
        if config.retrain is not None:  # the second round's network is the one that the pipeline stands for
            changes["tracking"] = config.tracking.model_copy(update={"register_as": None, "alias": None})
        return train_stage(config.model_copy(update=changes), folder, context)
