"""The stage `evaluation`: masks of the segmentation network, and their scores."""

from __future__ import annotations

__all__ = ["EvaluationStage"]

from typing import Any

from jobs import segment_predict
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import EvaluationOutputs, scores_digest
from jobs.stages.stage import StageContext, config_inputs


class EvaluationStage:
    """Make the masks, and score them."""

    outputs = EvaluationOutputs
    on_ray = False

    def inputs(self, context: StageContext) -> dict[str, Any]:
        config = context.config.evaluation
        data = context.data(config.data, ("image", "mask"))
        return {"config": config_inputs(config), "data": data, "weights": context.outputs.segmenter.weights}

    def run(self, context: StageContext, folder: RunFolder) -> EvaluationOutputs:
        job = segment_predict.MasksJob.open(context.outputs.segmenter.model, context.config.evaluation)
        result = segment_predict.run(job, run_id=folder.run_id, address=context.address, sources=context.sources)
        file = folder.path("scores.json")
        return EvaluationOutputs(
            scores_file=file,
            scores=result.scores,
            masks=result.masks,
            scores_digest=scores_digest(file),
            protocols=result.protocols,
            images=result.images,
            notes=tuple(result.notes),
        )
