"""An untrained model as a bundle, for tests that need one and not what it says."""

from __future__ import annotations

from pathlib import Path

import torch

from attn.data.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.models.bundle import save_bundle
from attn.models.network import ModelConfig

CLASSES = ScenesConfig().classes[:3]
CONFIG = f"data: {{source: scenes, split: train, count: 6, size: 48, classes: [{', '.join(CLASSES)}]}}\n"


def tiny_bundle(
    folder: Path,
    *,
    seed: int = 0,
    head: str = "gap",
    map_kind: str = "grad_cam",
    layer: str = "last",
    config: str = CONFIG,
) -> Path:
    """Write one; another seed gives other weights."""
    torch.manual_seed(seed)
    model = ModelConfig.model_validate({"name": "tiny", "weights": None, "head": head})
    save_bundle(
        folder,
        model.build(len(CLASSES)).state_dict(),
        model=model,
        classes=CLASSES,
        input=InputConfig(size=48),
        map_kind=map_kind,
        layers=(),
        layer=layer,
        config_yaml=config,
        info={
            "run_id": "first",
            "data": "f" * 64,
            "method": {"name": "gain"},
            "store": "s3://b/store",
            "store_version": 7,
        },
    )
    return folder
