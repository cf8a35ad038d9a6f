"""Refuses names of images with masks or boxes that the training data lacks, before a run begins."""

from __future__ import annotations

__all__ = ["check_named_images"]

import contextlib
from typing import Any

from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.errors import DataError
from attn.runs.composed import ComposedConfig
from attn.training.supervision import supervised_images
from attn.training.train_config import TrainConfig


def check_named_images(config: Any) -> None:
    """Refuse a run whose `method.extra_ids` names images that it cannot use. Only then the data is read.

    Nothing is checked where the data cannot be read, as it may be on another machine.

    Args:
        config: Of any kind of run.

    Raises:
        DataError: As of the training itself.
    """
    for training in config.trainings().values() if isinstance(config, ComposedConfig) else (config,):
        if not isinstance(training, TrainConfig):
            continue
        wanted = training.method.build().supervision
        if wanted is not None and wanted.ids and (source := _read(training)) is not None:
            supervised_images(source, wanted, training.seed)


def _read(config: TrainConfig) -> Source | None:
    with contextlib.suppress(DataError):
        return SourceCache().get(config.data)
    return None
