"""Classification scores on the validation split, each worker taking its share of the images."""

from __future__ import annotations

__all__ = ["validate"]

import contextlib
from typing import Any

import numpy as np
import torch

from attn.evaluation.classification import classification_metrics
from attn.losses import multilabel_soft_margin
from attn.models.network import Network
from attn.training.parts import Parts
from attn.training.world import World


@torch.no_grad()
def validate(
    network: Network, parts: Parts, world: World, autocast: contextlib.AbstractContextManager[Any]
) -> dict[str, float]:
    """Mean average precision, ROC AUC and loss on the validation split; the network's mode is put back.

    Returns:
        Plain numbers by name, the same on every rank.
    """
    assert parts.val_loader is not None
    was_training = network.training
    network.eval()
    logits, labels = [], []
    try:
        with autocast:
            for batch in parts.val_loader:
                logits.append(network(batch.images.to(world.device)).logits.float().cpu())
                labels.append(batch.labels)
    finally:
        network.train(was_training)
    empty = torch.zeros((0, len(parts.source.classes)))
    shares = world.gather((torch.cat([empty, *logits]), torch.cat([empty, *labels])))
    logits_BC, labels_BC = (torch.cat(part) for part in zip(*shares, strict=True))
    scores = classification_metrics(torch.sigmoid(logits_BC).numpy().astype(np.float64), labels_BC.numpy() > 0.5)
    loss = float(multilabel_soft_margin(logits_BC, labels_BC))
    return {"val/mAP": scores.mean_average_precision, "val/auc": scores.auc, "val/loss": loss}
