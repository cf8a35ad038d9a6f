"""Classification scores on the validation split, each worker taking its share of the images."""

from __future__ import annotations

__all__ = ["validate"]

import contextlib
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from attn.data.sample import Batch
from attn.evaluation.classification import average_precision, roc_auc, top_k_accuracy
from attn.losses import class_probabilities, classification_loss
from attn.models.network import Network
from attn.training.world import World


@torch.no_grad()
def validate(
    network: Network, loader: DataLoader[Batch], world: World, autocast: contextlib.AbstractContextManager[Any]
) -> dict[str, float]:
    """Mean average precision, ROC AUC and loss on the validation split, and top-1 accuracy of exclusive classes.

    The network's mode is put back.

    Returns:
        Finite numbers by name, the same on every rank; a score that no class allows is left out.
    """
    shares = world.gather(world.together(lambda: _share(network, loader, world, autocast)))
    # By one worker: the library for it takes seconds to import.
    return world.gather(world.together(lambda: _scores(shares) if world.rank == 0 else {}))[0]


def _scores(shares: list[_Share]) -> dict[str, float]:
    exclusive = all(share.exclusive for share in shares)
    logits_BC, labels_BC = torch.cat([share.logits for share in shares]), torch.cat([share.labels for share in shares])
    probabilities = class_probabilities(logits_BC, exclusive=exclusive).double().numpy()
    present = labels_BC.numpy()
    metrics = {
        "val/mAP": average_precision(probabilities, present).mean,
        "val/auc": roc_auc(probabilities, present).mean,
        "val/loss": float(classification_loss(logits_BC, labels_BC, exclusive=exclusive)),
    }
    if exclusive:
        metrics["val/accuracy"] = top_k_accuracy(probabilities, present).mean
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


class _Share(NamedTuple):
    """Logits and labels (n, C) of one worker's images, on the CPU."""

    logits: Tensor
    labels: Tensor
    exclusive: bool


def _share(
    network: Network, loader: DataLoader[Batch], world: World, autocast: contextlib.AbstractContextManager[Any]
) -> _Share:
    was_training, exclusive = network.training, True
    network.eval()
    logits = [torch.zeros((0, network.num_classes))]
    labels = [logits[0]]
    try:
        with autocast:
            for batch in loader:
                logits.append(network(batch.images.to(world.device)).logits.float().cpu())
                labels.append(batch.labels)
                exclusive = exclusive and batch.exclusive
    finally:
        network.train(was_training)
    return _Share(torch.cat(logits), torch.cat(labels), exclusive)
