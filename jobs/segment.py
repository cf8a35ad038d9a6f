"""Train a segmentation network, in one round or in two: DSRG's second round learns from the first network's masks."""

from __future__ import annotations

__all__ = ["resume", "retrain", "run", "write_masks"]

import json
from collections.abc import Callable
from dataclasses import replace

from attn import progress
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.registry.lookup import open_model
from attn.segmentation.bundle import load_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import FileLabels
from attn.segmentation.masks import encode_mask, mask_name
from attn.segmentation.predict import predict
from attn.tracking.model_lookup import ModelLookup
from jobs import train
from jobs.mask_prediction import crfs, on_device
from jobs.runs.lifecycle import config_of
from jobs.runs.run_folder import RunFolder
from jobs.train import TrainResult

MASKS = "first_round"
"""Folder of the masks that the first round's network gives, in the second round's folder."""


def run(config: SegmentConfig, *, run_id: str | None = None, address: str | None = None) -> TrainResult:
    """Train by a config; with `retrain` a second time, as a run beside the first, `<run id>-retrain`.

    Returns:
        Of the last round.
    """
    if config.retrain is not None and run_id is not None:
        RunFolder(config.root, f"{run_id}-retrain")  # a name that is too long shows before the first round
    sources = SourceCache()
    first = train.run(config, run_id=run_id, address=address, sources=sources)
    return _second_round(config, first, address, sources)


def resume(run: str, *, root: str = "runs", address: str | None = None) -> TrainResult:
    """Continue a run, in whichever round it stopped.

    Args:
        run: The first round's id under `root`, or its folder.
    """
    first = train.resume(run, root=root, address=address)
    return _second_round(config_of(RunFolder.of(run, root), SegmentConfig), first, address, SourceCache())


def retrain(
    config: SegmentConfig, model: str, folder: RunFolder, address: str | None, sources: SourceCache
) -> TrainResult:
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
        images = write_masks(config, source, model, lambda name, data: folder.write(f"{MASKS}/{name}", data), address)
        folder.write(f"{MASKS}/done.json", json.dumps({"images": images}))
    second = config.second_round(labels=FileLabels(path=folder.path(MASKS)), weights=model)
    return train.run(second, run_id=folder.run_id, address=address, sources=sources)


def _second_round(config: SegmentConfig, first: TrainResult, address: str | None, sources: SourceCache) -> TrainResult:
    if config.retrain is None:
        return first
    folder = RunFolder(config.root, f"{first.run_id}-retrain")
    return replace(retrain(config, first.model, folder, address, sources), first_round=first)


def write_masks(
    config: SegmentConfig, source: Source, model: str, write: Callable[[str, bytes], None], address: str | None
) -> int:
    """Write masks of all training images by the first round's network, and return their number.

    Args:
        config: Of the first round.
        source: The training images.
        model: The first round's trained network.
        write: Keeps a mask under its name.
        address: A Ray cluster that computes the CRFs.
    """
    assert config.retrain is not None, "asked for by a config that has a second round"
    count = 0
    examples = (source.load(index, mask=False, saliency=False) for index in range(len(source.records)))
    inference, restrict = config.retrain.labels, config.retrain.restrict
    with (
        open_model(model, ModelLookup(root=config.root), load_segmenter) as segmenter,
        crfs(inference, None, address) as pool,
    ):
        network = on_device(segmenter, config.cluster.device)
        masks = predict(network, examples, segmenter.input, inference, pool=pool, restrict=restrict)
        for predicted in progress.steps_of(masks, "masks", len(source.records), "images"):
            write(mask_name(predicted.example.record.image_id), encode_mask(predicted.refined))
            count += 1
    return count
