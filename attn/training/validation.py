"""Classification scores on the validation split, each worker taking its share of the images."""

from __future__ import annotations

__all__ = ["validate"]

import contextlib
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from attn.data.sample import Batch
from attn.evaluation.classification import average_precision, roc_auc
from attn.losses import multilabel_soft_margin
from attn.models.network import Network
from attn.training.world import World


@torch.no_grad()
def validate(
    network: Network, loader: DataLoader[Batch], world: World, autocast: contextlib.AbstractContextManager[Any]
) -> dict[str, float]:
    """Mean average precision, ROC AUC and loss on the validation split; the network's mode is put back.

    Returns:
        Finite numbers by name, the same on every rank; a score that no class allows is left out.
    """
    shares = world.gather(world.together(lambda: _share(network, loader, world, autocast)))
    logits_BC, labels_BC = (torch.cat(part) for part in zip(*shares, strict=True))
    probabilities, present = torch.sigmoid(logits_BC).double().numpy(), labels_BC.numpy()
    metrics = {
        "val/mAP": average_precision(probabilities, present).mean,
        "val/auc": roc_auc(probabilities, present).mean,
        "val/loss": float(multilabel_soft_margin(logits_BC, labels_BC)),
    }
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _share(
    network: Network, loader: DataLoader[Batch], world: World, autocast: contextlib.AbstractContextManager[Any]
) -> tuple[Tensor, Tensor]:
    """Logits and labels (n, C) of this worker's images, on the CPU."""
    was_training = network.training
    network.eval()
    logits = [torch.zeros((0, network.num_classes))]
    labels = [logits[0]]
    try:
        with autocast:
            for batch in loader:
                logits.append(network(batch.images.to(world.device)).logits.float().cpu())
                labels.append(batch.labels)
    finally:
        network.train(was_training)
    return torch.cat(logits), torch.cat(labels)
