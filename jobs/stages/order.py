"""Which stages a pipeline has, in order."""

from __future__ import annotations

__all__ = ["stages_of"]

from attn.runs.pipeline import PipelineConfig
from jobs.stages.cues import CuesStage
from jobs.stages.evaluation import EvaluationStage
from jobs.stages.integral import IntegralStage
from jobs.stages.maps import MapsStage
from jobs.stages.refine import RefineStage
from jobs.stages.retrain import RetrainStage
from jobs.stages.segment import SegmentStage
from jobs.stages.stage import Stage
from jobs.stages.train import TrainStage


def stages_of(config: PipelineConfig) -> dict[str, Stage]:
    """The stages of a pipeline by name, in order."""
    stages: dict[str, Stage] = {"train": TrainStage()}
    if config.refine is not None:
        stages["refine"] = RefineStage()
    if config.integral is not None:
        stages["integral"] = IntegralStage()
    if config.maps is not None:
        stages["maps"] = MapsStage()
    stages |= {"cues": CuesStage(), "segment": SegmentStage()}
    if config.segment.retrain is not None:
        stages["retrain"] = RetrainStage()
    return stages | {"evaluation": EvaluationStage()}
