"""DSRG's second round: a network learns from the masks that it gives its own training images."""

from __future__ import annotations

__all__ = ["retrain"]

import json
from collections.abc import Callable
from typing import Any

from attn.segmentation.bundle import load_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import FileLabels
from attn.segmentation.masks import encode_mask, mask_name
from attn.segmentation.predict import predict
from jobs import train
from jobs.runs.open_model import open_model
from jobs.runs.run_folder import RunFolder
from jobs.segment_predict import crfs, on_device

MASKS = "first_round"
"""Folder of the masks that the first round's network gives, in the second round's folder."""


def retrain(config: SegmentConfig, model: str, folder: RunFolder, address: str | None) -> dict[str, Any]:
    """Make the masks, and train again on them as a run of its own; what is done already is not repeated.

    Args:
        config: Of the first round.
        model: The first round's trained network.
        folder: Of the second round.

    Returns:
        As `jobs.train.run`.
    """
    if folder.exists():
        return train.resume(folder.uri, address=address)
    if not folder.exists(f"{MASKS}/done.json"):
        made = _masks(config, model, lambda name, data: folder.write(f"{MASKS}/{name}", data), address)
        folder.write(f"{MASKS}/done.json", json.dumps({"images": made}))
    second = config.second_round(labels=FileLabels(path=folder.path(MASKS)), weights=model)
    return train.run(second, run_id=folder.run_id, address=address)


def _masks(config: SegmentConfig, model: str, write: Callable[[str, bytes], None], address: str | None) -> int:
    """Masks of all training images by the first round's network; gives their number."""
    assert config.retrain is not None, "asked for by a config that has a second round"
    source, count = config.data.build(), 0
    examples = (source.load(index, mask=False, saliency=False) for index in range(len(source.records)))
    inference, restrict = config.retrain.labels, config.retrain.restrict
    with (
        open_model(model, [f"root={config.root}"], load_segmenter) as segmenter,
        crfs(inference, None, address) as pool,
    ):
        network = on_device(segmenter, config.cluster.device)
        for found in predict(network, examples, segmenter.input, inference, pool=pool, restrict=restrict):
            write(mask_name(found.example.record.image_id), encode_mask(found.refined))
            count += 1
    return count
