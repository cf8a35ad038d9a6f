"""The stage `refine`: the maps that `train` accumulated, refined."""

from __future__ import annotations

__all__ = ["RefineStage"]

from typing import Any

from attn.runs.maps import StoredMapsConfig
from jobs import maps
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import MapsOutputs
from jobs.stages.stage import StageContext, refinement_inputs


class RefineStage:
    """Refine the accumulated maps."""

    outputs = MapsOutputs
    on_ray = False

    def inputs(self, context: StageContext) -> dict[str, Any]:
        config = context.config
        data = context.data(config.data, ("image",))
        return {
            "refine": refinement_inputs(config.refine),
            "data": data,
            "maps": context.outputs.train.store_digest,
        }

    def run(self, context: StageContext, folder: RunFolder) -> MapsOutputs:
        config, accumulated = context.config, context.outputs.train
        assert config.refine is not None, "a stage only where it is given"
        assert accumulated.store is not None, "checked: train accumulates"
        refining = StoredMapsConfig(root=config.root, tracking=config.tracking, data=config.data, refine=config.refine)
        job = maps.StoredMapsJob.open(accumulated.store, accumulated.store, accumulated.store_version, refining)
        result = maps.run(job, run_id=folder.run_id, address=context.address, sources=context.sources)
        assert result.store is not None, "refined maps are in a store"
        return MapsOutputs.of_store(result.store, result.store_version, images=result.images, maps=result.maps)
