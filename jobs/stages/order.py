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

STAGES: dict[str, type[Stage]] = {
    "train": TrainStage,
    "refine": RefineStage,
    "integral": IntegralStage,
    "maps": MapsStage,
    "cues": CuesStage,
    "segment": SegmentStage,
    "retrain": RetrainStage,
    "evaluation": EvaluationStage,
}


def stages_of(config: PipelineConfig) -> dict[str, Stage]:
    """The stages of a pipeline by name, in order."""
    return {name: STAGES[name]() for name in config.stages()}
