"""Runs that train a classifier with attention maps; see `jobs.training.hooks.TrainingHooks`."""

from __future__ import annotations

__all__ = ["prepare", "save", "validate"]

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.exclusive import CROSS_ENTROPY
from attn.config.unused import unused_notices
from attn.data.label_check import one_label_notice
from attn.data.source import Source
from attn.errors import AttnError
from attn.models.bundle import save_bundle
from attn.training.classifier import build_components
from attn.training.length import Length
from attn.training.network_input import input_notices
from attn.training.selection import best_of
from attn.training.sources import overlap_notices
from attn.training.supervision import class_counts
from attn.training.train_config import TrainConfig
from attn.training.warmup import warmup_notices
from attn.wording import counted
from jobs.runs.checkpoints import map_store_uri
from jobs.training.hooks import TrainingRun
from jobs.training.notices import tell_notices
from jobs.training.publication import open_store
from jobs.training.selected import check_selection

if TYPE_CHECKING:
    from attn.store import MapStore


def validate(run: TrainingRun[TrainConfig]) -> dict[str, Any]:
    config = run.config
    components = build_components(config, rank=0, world=config.cluster.most_workers, sources=run.sources)
    check_selection(run)
    _ = components.refiner  # what it lacks shows now, and not after an epoch
    validated = None if components.val_dataset is None else components.val_dataset.source
    more = [] if components.source_batches is None else [components.source_batches.dataset.source]
    notices = [*components.network.notices, *overlap_notices(config, components.source, validated, *more)]
    notices += [*unused_notices(config), *input_notices(config.input, config.model.name)]
    if config.method.variant in CROSS_ENTROPY and (text := one_label_notice(components.source)):
        notices.append(text)
    notices += warmup_notices(config, Length.of(config.training, components.sampler.batches_in).epochs)
    tell_notices(notices)
    if (supervision := components.method.supervision) is not None:
        images = sorted(components.dataset.supervised)
        counts = class_counts(components.source, images)
        print(f"{supervision.kind} of {counted(len(images), 'image')}: {counts}", file=sys.stderr)
    fields: dict[str, Any] = {"notices": notices, "store": None}
    if components.val_difficult is not None:
        fields["val_average_precision"] = {
            "rule": components.average_precision,
            "difficult": components.val_difficult,
        }
    if config.store.accumulate:
        from attn.training.accumulation import create_store

        fields["store"] = map_store_uri(config, run.folder)
        run.store = create_store(fields["store"], config.store, config.input, components)
    return fields


def prepare(run: TrainingRun[TrainConfig]) -> TrainConfig:
    return run.config


def save(run: TrainingRun[TrainConfig], shared: dict[str, Any], bundle: Path) -> None:
    config, folder = run.config, run.folder
    method, source = config.method.build(), run.sources.get(config.data)
    store = open_store(run) if config.store.accumulate else None
    info = {
        "run_id": folder.run_id,
        "method": config.method.model_dump(mode="json"),
        "data": source.fingerprint(),
    }
    if (best := best_of(shared)) is not None:
        info["best"] = best.to_json()
    if store is not None:
        version = shared["store_version"]
        store.close(folder.run_id, version)
        folder.update(store_version=version)
        info |= {"store": map_store_uri(config, folder), "store_version": version}
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
        info=info,
    )
    if store is not None:
        _draw_growth(run, store, source)


def _draw_growth(run: TrainingRun[TrainConfig], store: MapStore, source: Source) -> None:
    """Draw how the maps of a few training images grew, into the run's folder and its record."""
    from attn.pictures.preview import evenly_spaced
    from attn.tracking import attach
    from jobs.growth import draw

    config, folder = run.config, run.folder
    tracker = attach(config.tracking, config.root, folder.state().tracking_run, folder.uri)
    indices = evenly_spaced(source.records, config.tracking.preview_images)
    try:
        draw(store, folder.run_id, source, indices, folder.path("growth"), tracker=tracker)
    except AttnError as error:  # the run is worth more than its pictures
        print(f"the growth of the maps could not be drawn: {error}", file=sys.stderr)
