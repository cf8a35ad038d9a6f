"""The stage `cues`: pixel labels from the maps."""

from __future__ import annotations

__all__ = ["CuesStage"]

from typing import Any

from attn.files.locations import list_below
from attn.segmentation.make import threshold_words
from attn.segmentation.map_sources import FolderMaps, MapSourceConfig, StoreMaps
from jobs import cues
from jobs.cues import CuesJob
from jobs.runs.run_folder import RunFolder
from jobs.stages.data import SALIENCY_FIELD
from jobs.stages.outputs import CuesOutputs, MapsOutputs
from jobs.stages.stage import StageContext, config_inputs


class CuesStage:
    """Make the cues."""

    outputs = CuesOutputs
    on_ray = False

    def inputs(self, context: StageContext) -> dict[str, Any]:
        config, attention = context.config, context.outputs.attention
        labels, source = config_inputs(config.labels, {"maps"}), config.segment.data
        data = {"config": config_inputs(source, set()), **context.data(source, ("image", "mask", "saliency"))}
        png = attention.png_digest if isinstance(attention, MapsOutputs) else None
        return {"labels": labels, "data": data, "maps": attention.store_digest or png}

    def run(self, context: StageContext, folder: RunFolder) -> CuesOutputs:
        config, attention = context.config, context.outputs.attention
        source: MapSourceConfig
        if isinstance(attention, MapsOutputs) and attention.png is not None:
            source = FolderMaps(path=attention.png)
        else:
            assert attention.store is not None, "maps are PNGs or in a store"
            source = StoreMaps(uri=attention.store, version=attention.store_version)
        labels = config.labels.model_copy(update={"maps": source})
        job = CuesJob(config.segment.model_copy(update={"labels": labels}), saliency_field=SALIENCY_FIELD)
        result = cues.run(job, run_id=folder.run_id, address=context.address, sources=context.sources)
        quality = result.report.quality
        return CuesOutputs(
            cues=result.folder,
            files=len(list_below(result.folder)),
            cues_digest=result.report.digest,
            quality={} if quality is None else quality.figures(),
            saliency=result.report.saliency,
            threshold=threshold_words(result.report.threshold),
            notes=tuple(result.report.notes()),
        )
