"""Does what a classifier does not attend to still tell of the class? The question on which GAIN depends.

    python -m benchmarks.erased RUN data.split=val root=runs               # RUN: a Grad-CAM run

For each (image, present class) the part that the model's map covers is erased, as in training (GAIN eq. 3-5; σ and ω by
`--threshold` and `--scale`), and the image classified again. A class's average precision is taken twice: of whole
images, and with each image that shows the class scored on what is left of it; the other images are whole. The closer
the second comes to the first, the more the rest of an object tells, and the more there is that GAIN can claim. Beside
it: how much of the image was erased, and by how much the probability fell (median of the ratios).
"""

from __future__ import annotations

__all__ = ["main"]

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sample import Batch
from attn.evaluation.classification import average_precision
from attn.evaluation.inference import evaluating
from attn.losses import class_probabilities, erase, soft_mask
from attn.maps import MapKind, attention, normalize_max, pairs_of, upsample
from attn.models import Network
from jobs.scoring.targets import ModelTarget, open_target

BATCH = 32


def main(run: str, overrides: list[str], *, threshold: float, scale: float) -> None:
    """Measure one model on one split, and print a line."""
    target = open_target(run, overrides)
    assert isinstance(target, ModelTarget), "a map store has no classifier"
    network, kind = target.bundle.network, target.bundle.map_kind
    assert isinstance(network, Network), "a segmentation network has no attention"
    dataset = AttentionDataset(target.source, target.config.input, train=False)
    batches = [range(start, min(start + BATCH, len(dataset))) for start in range(0, len(dataset), BATCH)]
    results = [
        _measured(network, kind, batch, threshold, scale) for batch in build_loader(dataset, batches)
    ]  # batch by batch: whole, left, labels (images, C); area (images,)
    whole, left, labels = (np.concatenate([part[index] for part in results]) for index in range(3))
    area = np.concatenate([part[3] for part in results])
    positive = labels > 0
    before = average_precision(whole, labels).mean
    after = average_precision(np.where(positive, left, whole), labels).mean
    ratio = np.median(left[positive] / np.maximum(whole[positive], 1e-12))
    print(
        f"{len(dataset)} images, {positive.sum()} pairs: mAP {100 * before:.1f} whole, {100 * after:.1f} erased; "
        f"{100 * np.mean(area):.1f} % of the image erased; probability times {ratio:.3f}"
    )


def _measured(
    network: Network, kind: MapKind, batch: Batch, threshold: float, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    pairs, (height, width) = pairs_of(batch.labels), batch.images.shape[-2:]
    with evaluating(network):
        output = network(batch.images)
        maps = upsample(normalize_max(attention(output, pairs, kind=kind)), (height, width)).detach()
        masks = soft_mask(maps, scale=scale, threshold=threshold)
        with torch.no_grad():
            again = network(erase(batch.images, masks, pairs)).logits
    whole, erased = (
        class_probabilities(logits.detach().double(), exclusive=batch.exclusive) for logits in (output.logits, again)
    )
    left = whole.clone()
    left[pairs[:, 0], pairs[:, 1]] = erased.gather(1, pairs[:, 1:])[:, 0]
    area = masks.mean((1, 2)).double().numpy()
    return whole.numpy(), left.numpy(), (batch.labels > 0).long().numpy(), area


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--scale", type=float, default=10.0)
    arguments = parser.parse_args()
    main(arguments.run, arguments.overrides, threshold=arguments.threshold, scale=arguments.scale)
