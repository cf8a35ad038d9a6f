"""The stage `integral`: OAA+'s integral attention model, trained on the accumulated maps, refined where they are."""

from __future__ import annotations

__all__ = ["IntegralStage"]

from typing import Any

from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs
from jobs.stages.stage import StageContext, training_inputs
from jobs.stages.training import train_stage


class IntegralStage:
    """Train the integral attention model."""

    outputs = TrainOutputs
    on_ray = True

    def inputs(self, context: StageContext) -> dict[str, Any]:
        assert context.config.integral is not None, "a stage only where it is given"
        inputs = training_inputs(context.config.integral, context)
        method = {name: value for name, value in inputs["config"]["method"].items() if name not in ("maps", "version")}
        maps = context.outputs.accumulated.store_digest
        return inputs | {"config": inputs["config"] | {"method": method}, "maps": maps}

    def run(self, context: StageContext, folder: RunFolder) -> TrainOutputs:
        config, accumulated = context.config.integral, context.outputs.accumulated
        assert config is not None, "a stage only where it is given"
        method = config.method.model_copy(update={"maps": accumulated.store, "version": accumulated.store_version})
        return train_stage(config.model_copy(update={"method": method}), folder, context)
