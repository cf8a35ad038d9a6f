"""The prediction service in this process, without Ray: a model that predicts one image at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from attn.prediction import ImagePredictConfig, ImagePrediction
from attn.tracking.model_lookup import ModelLookup
from services.prediction_service.engine import Pipeline
from services.prediction_service.served_model import BatchItem, ServedModel

TOKENS = {"a token that may only read": "read", "a token that may do all things": "admin"}
READ = next(iter(TOKENS))


def served(model: Path | str, root: Path, *, probability: float | None = 0.1, max_pixels: int = 1 << 16) -> ServedModel:
    config = ImagePredictConfig(probability=probability, max_pixels=max_pixels)
    return ServedModel(str(model), ModelLookup(root=str(root)), config, batch_size=2)


def local_engine(model: ServedModel, max_pixels: int = 1 << 16) -> Pipeline:
    alone = asyncio.Lock()

    async def run(item: BatchItem) -> ImagePrediction | Exception:
        async with alone:
            return (await asyncio.to_thread(model.predict, [item]))[0]

    return Pipeline(model, max_pixels, run)
