"""What can be scored: a trained model with its maps, or the maps of a map store."""

from __future__ import annotations

__all__ = ["ModelSubject", "StoreSubject", "Subject", "open_subject", "resolve_config"]

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from attn import store
from attn.config.base import is_remote, local_path
from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.data.classes import check_classes
from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.soft_labels import StoredMaps, open_maps
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.evaluate import DataDescription, Evaluation, evaluate
from attn.evaluation.inference import ImageMaps
from attn.evaluation.predictions import read_predictions
from attn.evaluation.stored import evaluate_stored
from attn.files import transfer
from attn.files.locations import read_bytes
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.store import Snapshot
from attn.training.inputs import check_input
from jobs.runs.open_model import SCORED_SPLIT, data_name, masks_name, model_lookup, open_model, resize_text, scored_data

Observe = Callable[[ImageMaps], None]


class Subject(Protocol):
    """Something to score on data.

    Attributes:
        described: What it is, in plain values, for the record.
        source: The images.
    """

    @property
    def config(self) -> EvaluateModelConfig | EvaluateStoreConfig: ...

    @property
    def described(self) -> dict[str, Any]: ...

    @property
    def source(self) -> Source: ...

    def evaluate(self, observe: Observe) -> Evaluation: ...


@dataclass(frozen=True)
class ModelSubject:
    """A trained model and the data to score it on."""

    bundle: Bundle
    config: EvaluateModelConfig
    described: dict[str, Any]
    source: Source

    def evaluate(self, observe: Observe) -> Evaluation:
        """Score the classifier and its maps."""
        config, device = self.config, choose_device(self.config.device)
        dataset = AttentionDataset(self.source, config.input, train=False, with_masks=config.evaluation.maps)
        size = 1 if config.input.resize == "short_side" else config.batch_size  # only equal inputs make a batch
        batches = [range(start, min(start + size, len(dataset))) for start in range(0, len(dataset), size)]
        return evaluate(
            self.bundle.network.to(device),
            build_loader(dataset, batches, workers=config.data_workers),
            self.bundle.classes,
            config.evaluation,
            config.map_kind or self.bundle.map_kind,
            device,
            data=_data(config, resize_text(config.input)),
            observe=observe,
        )


@dataclass(frozen=True)
class StoreSubject:
    """A version of a map store and the data to score it on."""

    snapshot: Snapshot
    config: EvaluateStoreConfig
    described: dict[str, Any]
    source: Source

    def evaluate(self, observe: Observe) -> Evaluation:
        """Score the maps."""
        metadata, config = self.snapshot.manifest.metadata, self.config
        written = metadata.get("predictions")
        place = config.predictions or (written if written and transfer.exists(written) else None)
        grid = self.described["grid"]
        return evaluate_stored(
            self.snapshot,
            self.source,
            config.evaluation,
            data=_data(config, f"stored {grid[0]}x{grid[1]}"),
            map_kind=metadata.get("map_kind", "cumulative"),
            given=metadata.get("classes") != "predicted",
            probabilities=read_predictions(place, self.source.classes) if place else None,
            observe=observe,
        )


def open_subject(target: str, overrides: list[str]) -> Subject:
    """What a user's name means: a map store, whose location may end in `@` and a version, or else a trained model.

    Raises:
        AttnError: There is no such thing, or it does not fit the data.
    """
    found = _find_store(target, overrides)
    return _store_subject(*found, overrides) if found else _model_subject(target, overrides)


def resolve_config(bundle: Bundle, overrides: list[str], name: str) -> EvaluateModelConfig:
    """A model's evaluation: the validation split and input of its own run, changed by the overrides.

    Args:
        name: What to call the model's config in messages.

    Raises:
        ConfigError: With all faults.
    """
    trained: dict[str, Any] = {}
    if bundle.config_file.is_file():
        trained = read_document(bundle.config_file.read_text(encoding="utf-8"), name).values
    text: dict[str, Any] = {"tracking": {"enabled": False}, "input": json.loads(bundle.input.model_dump_json())}
    if "data" in trained:
        text["data"] = scored_data(trained)
    return resolve(EvaluateModelConfig, dump_values(text), name, overrides, defaults=SCORED_SPLIT)


def _model_subject(model: str, overrides: list[str]) -> ModelSubject:
    with open_model(model, overrides) as bundle:
        config = resolve_config(bundle, overrides, f"{model}: config.yaml")
    layer = config.evaluation.layer or bundle.layer
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"layer": layer})})
    bundle.network.expose(layer)
    source = _source(config)
    check_classes(bundle.classes, source.classes)
    check_input(bundle.network, config.input)
    return ModelSubject(bundle, config, {"model": model, "weights": bundle.sha256}, source)


def _find_store(target: str, overrides: list[str]) -> tuple[str, int | None] | None:
    """Location and version of a map store, if that is what is meant."""
    place, version = target, None
    if named := re.fullmatch(r"(.+)@(\d+)", target):
        place, version = named[1], int(named[2])
    place = local_path(place).rstrip("/")
    for location in (place, f"{model_lookup(overrides).root}/{place}"):
        if (not is_remote(location) or "/" in location.removeprefix("s3://")) and transfer.exists(
            f"{location}/store.json"
        ):
            return location, version
    return None


def _store_subject(location: str, version: int | None, overrides: list[str]) -> StoreSubject:
    config = resolve(EvaluateStoreConfig, run_data(location), f"{location}: config.yaml", overrides)
    source = _source(config)
    opened = store.open(location)
    snapshot = opened.at(version)
    if snapshot.manifest.metadata.get("classes") != "predicted":
        snapshot = open_maps(StoredMaps(location, version), source)
    elif opened.definition.classes:
        check_classes(opened.definition.classes, source.classes, what=opened.uri)
    described = {
        "maps": opened.uri,
        "version": snapshot.version,
        "run": snapshot.run,
        "fusion": opened.definition.fusion,
        "grid": list(opened.grid),
        "digest": snapshot.digest(),
        "about": snapshot.manifest.metadata,
    }
    return StoreSubject(snapshot, config, described, source)


def run_data(location: str) -> str:
    """The data of the run in whose folder a store lies, as a config's text; without data where it lies elsewhere."""
    text: dict[str, Any] = {"tracking": {"enabled": False}}
    place = f"{location.rpartition('/')[0]}/config.yaml"
    if transfer.exists(place):
        values = read_document(read_bytes(place).decode(), place).values
        text |= {"data": values["data"]} if "data" in values else {}
    return dump_values(text)


def _source(config: EvaluateModelConfig | EvaluateStoreConfig) -> Source:
    source = config.data.build()
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    return source


def _data(config: EvaluateModelConfig | EvaluateStoreConfig, resize: str) -> DataDescription:
    return DataDescription(
        source=data_name(config.data), split=config.data.split, resize=resize, masks=masks_name(config.data)
    )
