"""Runs that train a classifier with attention maps; see `jobs.training.hooks.TrainingHooks`."""

from __future__ import annotations

__all__ = ["prepare", "save", "validate"]

import sys
from pathlib import Path
from typing import Any

from attn.errors import AttnError
from attn.models.bundle import save_bundle
from attn.training.run_parts import overlap_notices
from attn.training.train_config import TrainConfig
from jobs.runs.checkpoints import map_store_uri
from jobs.runs.run_folder import RunFolder
from jobs.training.notices import tell_notices


def validate(config: TrainConfig, folder: RunFolder) -> dict[str, Any]:
    parts = config.build_parts(rank=0, world=config.cluster.workers)
    validated = None if parts.val_dataset is None else parts.val_dataset.source
    more = [] if parts.source_batches is None else [parts.source_batches.dataset.source]
    notices = [*parts.network.notices, *overlap_notices(config, parts.source, validated, *more)]
    tell_notices(notices)
    found: dict[str, Any] = {"notices": notices}
    if parts.val_difficult is not None:
        found["val_average_precision"] = {"rule": parts.average_precision, "difficult": parts.val_difficult}
    if not config.store.accumulate:
        return found | {"store": None}
    from attn.training.accumulation import create_store

    uri = map_store_uri(config, folder)
    create_store(uri, config.store, config.input, parts)
    return found | {"store": uri}


def prepare(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    return config


def save(config: TrainConfig, folder: RunFolder, shared: dict[str, Any], bundle: Path) -> None:
    method, source = config.method.build(), config.data.build()
    store = _settle_store(config, folder, shared["store_version"]) if config.store.accumulate else {}
    save_bundle(
        bundle,
        shared["model"],
        model=config.model,
        classes=tuple(shared.get("classes") or source.classes),
        input=config.input,
        map_kind=method.map_kind,
        layers=method.layers,
        layer=method.layer,
        exclusive=source.exclusive,
        config_yaml=folder.read_text("config.yaml"),
        info={
            "run_id": folder.run_id,
            "method": config.method.model_dump(mode="json"),
            "data": source.fingerprint(),
            **store,
        },
    )
    if store:
        _draw_growth(config, folder)


def _draw_growth(config: TrainConfig, folder: RunFolder) -> None:
    """How the maps of a few training images grew, in the run's folder and its record."""
    from attn import store
    from attn.pictures.preview import evenly_spaced
    from attn.tracking import attach
    from jobs.growth import draw

    source = config.data.build()
    tracker = attach(config.tracking, config.root, folder.state().tracking_run, folder.uri)
    indices = evenly_spaced(source.records, config.tracking.preview_images)
    try:
        opened = store.open(map_store_uri(config, folder))
        draw(opened, folder.run_id, source, indices, folder.path("growth"), tracker=tracker)
    except AttnError as error:  # the run is worth more than its pictures
        print(f"the growth of the maps could not be drawn: {error}", file=sys.stderr)


def _settle_store(config: TrainConfig, folder: RunFolder, version: int) -> dict[str, Any]:
    """Let readers see the version that the run ended with, and let no process of the run write any more."""
    from attn import store

    uri = map_store_uri(config, folder)
    store.open(uri).begin(folder.run_id, from_version=version)
    folder.update(store_version=version)
    return {"store": uri, "store_version": version}
