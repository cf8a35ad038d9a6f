"""Classification scores on the validation split, each worker taking its share of the images."""

from __future__ import annotations

__all__ = ["validate"]

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from attn.data.sample import Batch, Record
from attn.evaluation.classification import average_precision, roc_auc, top_k_accuracy
from attn.evaluation.voc import AveragePrecisionRule, Difficult, difficult_objects, difficult_pairs
from attn.losses import class_probabilities, classification_loss
from attn.models.network import Network
from attn.training.world import World


@torch.no_grad()
def validate(
    network: Network,
    loader: DataLoader[Batch],
    world: World,
    autocast: contextlib.AbstractContextManager[Any],
    *,
    rule: AveragePrecisionRule = "sklearn",
) -> dict[str, float]:
    """Mean average precision, ROC AUC and loss on the validation split, and top-1 accuracy of exclusive classes.

    The network's mode is put back.

    Args:
        rule: Of average precision.

    Returns:
        Finite numbers by name, the same on every rank; a score that is undefined for every class is left out.
    """
    shares = world.gather(world.all_or_raise(lambda: _share(network, loader, world, autocast)))
    # Rank 0 alone: importing scikit-learn takes seconds.
    return world.gather(world.all_or_raise(lambda: _scores(shares, rule) if world.rank == 0 else {}))[0]


def _scores(shares: list[_Share], rule: AveragePrecisionRule) -> dict[str, float]:
    exclusive = all(share.exclusive for share in shares)
    # In the data's order for any number of workers: VOC's rules break ties by it.
    # An image that replaces an unreadable one is there twice.
    order = torch.from_numpy(np.unique(torch.cat([share.indices for share in shares]).numpy(), return_index=True)[1])
    logits_BC = torch.cat([share.logits for share in shares])[order]
    labels_BC = torch.cat([share.labels for share in shares])[order]
    ignored_BC = torch.cat([share.ignored for share in shares])[order]
    use_ignored = rule != "sklearn" and all(share.difficult == "ignored" for share in shares)
    probabilities = class_probabilities(logits_BC, exclusive=exclusive).double().numpy()
    present = labels_BC.numpy()
    metrics = {
        "val/mean_ap": average_precision(
            probabilities, present, rule=rule, ignored_NC=ignored_BC.numpy() if use_ignored else None
        ).mean,
        "val/mean_auc": roc_auc(probabilities, present).mean,
        "val/loss": float(classification_loss(logits_BC, labels_BC, exclusive=exclusive)),
    }
    if exclusive:
        metrics["val/accuracy"] = top_k_accuracy(probabilities, present).mean
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


class _Share(NamedTuple):
    """Positions (n), logits, labels and pairs to be ignored (n, C) of one worker's images, on the CPU."""

    indices: Tensor
    logits: Tensor
    labels: Tensor
    ignored: Tensor
    exclusive: bool
    difficult: Difficult


def _share(
    network: Network, loader: DataLoader[Batch], world: World, autocast: contextlib.AbstractContextManager[Any]
) -> _Share:
    was_training, exclusive = network.training, True
    network.eval()
    logits = [torch.zeros((0, network.num_classes))]
    labels, indices, records = [logits[0]], list[int](), list[Record]()
    try:
        with autocast:
            for batch in loader:
                logits.append(network(batch.images.to(world.device)).logits.float().cpu())
                labels.append(batch.labels)
                indices += batch.indices
                records += batch.records
                exclusive = exclusive and batch.exclusive
    finally:
        network.train(was_training)
    ignored = torch.from_numpy(difficult_pairs(records, network.num_classes))
    return _Share(
        torch.tensor(indices, dtype=torch.int64),
        torch.cat(logits),
        torch.cat(labels),
        ignored,
        exclusive,
        difficult_objects(records),
    )
