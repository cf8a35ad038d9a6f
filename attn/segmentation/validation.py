"""Segmentation scores on the validation split, each worker taking its share of the images."""

from __future__ import annotations

__all__ = ["validate", "validation_matrix"]

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data.source import Source
from attn.data.transforms import InputConfig
from attn.evaluation.confusion import confusion_matrix, mean_iou
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig, predict
from attn.training.world import World


def validation_matrix(
    network: SegmentationNetwork,
    source: Source,
    input: InputConfig,
    inference: SegmentInferenceConfig,
    world: World,
    autocast: contextlib.AbstractContextManager[Any],
) -> NDArray[np.int64]:
    """Confusion matrix of the masks at one scale, without the CRF, the same on every rank.

    The network's mode is put back.
    """
    single = inference.model_copy(update={"scales": (1.0,), "flip": False, "crf": None})

    def share() -> np.ndarray:
        counts = np.zeros((network.num_classes + 1,) * 2, np.int64)
        masked = [index for index, record in enumerate(source.records) if record.mask is not None]
        examples = (source.load(index, saliency=False) for index in masked[world.rank :: world.size])
        with autocast:
            for item in predict(network, examples, input, single):
                assert item.example.mask is not None
                counts += confusion_matrix(item.plain, item.example.mask, network.num_classes + 1)
        return counts

    return np.asarray(sum(world.gather(world.all_or_raise(share))))


def validate(total: NDArray[np.int64]) -> dict[str, float]:
    """Mean IoU and pixel accuracy of a confusion matrix: finite numbers by name; none where no image has a mask."""
    pixels = int(np.sum(total))
    if not pixels:
        return {}
    return {"val/miou": mean_iou(total)[0], "val/accuracy": float(np.trace(total)) / pixels}
