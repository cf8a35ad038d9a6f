"""Untrained models as bundles, for tests that need one and not what it says."""

from __future__ import annotations

from pathlib import Path

import torch

from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.models.bundle import save_bundle
from attn.models.network import ModelConfig
from attn.segmentation.bundle import save_segmenter
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.predict import SegmentInferenceConfig

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
    classes: tuple[str, ...] = CLASSES,
    input: InputConfig | None = None,
) -> Path:
    """Write one; another seed gives other weights."""
    torch.manual_seed(seed)
    model = ModelConfig.model_validate({"name": "tiny", "weights": None, "head": head})
    save_bundle(
        folder,
        model.build(len(classes)).state_dict(),
        model=model,
        classes=classes,
        input=input or InputConfig(size=48),
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


def tiny_segmenter(folder: Path, *, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write a segmentation network, whose masks no CRF refines."""
    torch.manual_seed(seed)
    model = SegmentationModelConfig.model_validate({"name": "tiny", "weights": None})
    save_segmenter(
        folder,
        model.build(len(classes)).state_dict(),
        model=model,
        classes=classes,
        input=InputConfig(size=65),
        inference=SegmentInferenceConfig(crf=None),
        config_yaml=CONFIG,
        info={"run_id": "first"},
    )
    return folder
