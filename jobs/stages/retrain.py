"""The stage `retrain`, DSRG's second round: a network learns from the masks that it gives its own training images."""

from __future__ import annotations

__all__ = ["RetrainStage", "retrain"]

import json
from collections.abc import Callable
from typing import Any

from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.segmentation.bundle import load_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import FileLabels
from attn.segmentation.masks import encode_mask, mask_name
from attn.segmentation.predict import predict
from attn.tracking.model_lookup import ModelLookup
from jobs import train
from jobs.mask_prediction import crfs, on_device
from jobs.runs.open_model import open_model
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs
from jobs.stages.stage import StageContext, training_inputs
from jobs.stages.training import outputs_of

MASKS = "first_round"
"""Folder of the masks that the first round's network gives, in the second round's folder."""


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


def retrain(
    config: SegmentConfig, model: str, folder: RunFolder, address: str | None, sources: SourceCache
) -> train.TrainResult:
    """Make the masks, and train again on them as a run of its own; what is done already is not repeated.

    Args:
        config: Of the first round.
        model: The first round's trained network.
        folder: Of the second round.
        sources: Data sets that this process has built already.
    """
    if folder.exists():
        return train.resume(folder.uri, address=address)
    if not folder.exists(f"{MASKS}/done.json"):
        source = sources.get(config.data)
        images = _masks(config, source, model, lambda name, data: folder.write(f"{MASKS}/{name}", data), address)
        folder.write(f"{MASKS}/done.json", json.dumps({"images": images}))
    second = config.second_round(labels=FileLabels(path=folder.path(MASKS)), weights=model)
    return train.run(second, run_id=folder.run_id, address=address, sources=sources)


def _masks(
    config: SegmentConfig, source: Source, model: str, write: Callable[[str, bytes], None], address: str | None
) -> int:
    """Write masks of all training images by the first round's network, and return their number."""
    assert config.retrain is not None, "asked for by a config that has a second round"
    count = 0
    examples = (source.load(index, mask=False, saliency=False) for index in range(len(source.records)))
    inference, restrict = config.retrain.labels, config.retrain.restrict
    with (
        open_model(model, ModelLookup(root=config.root), load_segmenter) as segmenter,
        crfs(inference, None, address) as pool,
    ):
        network = on_device(segmenter, config.cluster.device)
        for predicted in predict(network, examples, segmenter.input, inference, pool=pool, restrict=restrict):
            write(mask_name(predicted.example.record.image_id), encode_mask(predicted.refined))
            count += 1
    return count
