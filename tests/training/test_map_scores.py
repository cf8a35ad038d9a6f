"""Scores of maps while training: what several workers count of their images adds up to what one counts of all."""

from __future__ import annotations

import pytest
import torch

from attn.evaluation.evaluate import DataDescription, compute_scores
from attn.runs.recipes import load_config
from attn.training import map_scores
from attn.training.classifier import build_components
from attn.training.train_config import TrainConfig
from attn.training.world import World


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_shares_add_up(workers: int) -> None:
    settings = ["data.count=8", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "cluster.workers=1"]
    config = load_config(TrainConfig, "scenes_gain", settings)
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source = components.val_dataset.source
    whole = map_scores.score_classifier(components.network, source, config, World.current())
    assert {"seed_miou", "direct_miou", "mean_ap", "energy"} <= whole.keys()
    shares = [
        map_scores._share(components.network, source, config, World(rank, workers, torch.device("cpu")), maps=True)
        for rank in range(workers)
    ]
    first, *others = shares
    for other in others:
        first.merge(other)
    assert list(first.records) == [record.image_id for record in source.records]
    data = DataDescription(source="scenes", split="val", resize="")
    result = compute_scores(first, source.classes, first.config, data, map_kind="grad_cam", layer="last").metrics()
    assert result == pytest.approx(whole, rel=1e-5)  # float32 sums of another batch size
