"""The stage `maps`: the last classifier's maps of the images that are segmented."""

from __future__ import annotations

__all__ = ["MapsStage"]

from typing import Any

from jobs import maps
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import MapsOutputs, png_digest
from jobs.stages.stage import StageContext, config_inputs, refinement_inputs


class MapsStage:
    """Write the maps."""

    outputs = MapsOutputs
    on_ray = False

    def inputs(self, context: StageContext) -> dict[str, Any]:
        config = context.config.maps
        assert config is not None, "a stage only where it is given"
        data = context.data(config.data, ("image",))
        fields = config_inputs(config)
        if config.refine is not None:
            fields["refine"] = refinement_inputs(config.refine)
        return {"config": fields, "data": data, "weights": context.outputs.classifier.weights}

    def run(self, context: StageContext, folder: RunFolder) -> MapsOutputs:
        config = context.config.maps
        assert config is not None, "a stage only where it is given"
        recorded = config.model_copy(update={"tracking": context.config.tracking})
        job = maps.MapsJob.open(context.outputs.classifier.model, recorded)
        result = maps.run(job, run_id=folder.run_id, address=context.address, sources=context.sources)
        if result.png is not None:
            digest = png_digest(result.png)
            return MapsOutputs(png=result.png, png_digest=digest, images=result.images, maps=result.maps)
        assert result.store is not None, "maps are PNGs or in a store"
        return MapsOutputs.of_store(result.store, result.store_version, images=result.images, maps=result.maps)
