"""Targets of scoring: a trained model with its maps, or the maps of a map store."""

from __future__ import annotations

__all__ = [
    "EvaluationTarget",
    "ModelTarget",
    "StoreTarget",
    "open_target",
    "resolve_config",
]

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch

from attn import progress, store
from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.data.classes import check_classes
from attn.data.soft_labels import StoredMaps, open_maps
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.compute import evaluation_of
from attn.evaluation.predictions import read_predictions
from attn.evaluation.refined import described_after
from attn.evaluation.result import Evaluation
from attn.files import transfer
from attn.maps.settings import MapSettings
from attn.models.bundle import Bundle
from attn.registry.lookup import open_model
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.runs.layers import with_data
from attn.runs.texts import LOCAL_TEXTS
from attn.saliency.source import SaliencySource, with_saliency
from attn.store import MapStore, Snapshot
from attn.store.format.manifest import Manifest
from attn.training.inputs import check_input
from jobs.ray_cluster.saliency_tasks import compute_saliency
from jobs.runs.open_model import (
    model_lookup,
    resize_text,
    scored_data,
    scored_split,
    with_run_name,
)
from jobs.scoring.counting import Counted, ModelCounting, Observe, StoreCounting, count_images
from jobs.scoring.found_store import FoundStore, find_store, store_config, store_hint
from jobs.scoring.plain_scores import PlainScores, is_other_data
from jobs.scoring.scored_data import describe_data, other_outputs

Take = Callable[[Any], None]


class EvaluationTarget(Protocol):
    """Something to score on data.

    Attributes:
        name: As the user names it.
        described: What it is, in plain values, for `scores.json`.
        source: The images.
        load_seconds: How long it took to open the model or the store, and the data.
    """

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> EvaluateModelConfig | EvaluateStoreConfig: ...

    @property
    def described(self) -> dict[str, Any]: ...

    @property
    def source(self) -> Source: ...

    @property
    def load_seconds(self) -> float: ...

    def evaluate(self, observe: Observe, *, take: Take | None = None, address: str | None = None) -> Evaluation:
        """Score the maps, and the classifier where it is known.

        Args:
            observe: Called with each image's maps. With an address, or several processes, copies of it are called in
                others.
            take: Called here with all that `observe` returned, but None, in the images' order.
            address: A Ray cluster that does it.
        """
        ...


@dataclass(frozen=True)
class ModelTarget:
    """A trained model and the data to score it on."""

    name: str
    bundle: Bundle
    config: EvaluateModelConfig
    source: Source
    load_seconds: float = 0.0

    @classmethod
    def open(cls, model: str, config: EvaluateModelConfig) -> Self:
        """A model, by the name that it has below the config's root or in its registry.

        Raises:
            AttnError: There is no such model, or it does not fit the data.
        """
        clock = time.monotonic()
        with open_model(model, config) as bundle:
            target = cls.of(model, bundle, config)
        return replace(target, load_seconds=time.monotonic() - clock)

    @classmethod
    def of(cls, name: str, bundle: Bundle, config: EvaluateModelConfig) -> Self:
        """A model that is open.

        Raises:
            AttnError: It does not fit the data.
        """
        layer = config.evaluation.layer or bundle.layer
        config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"layer": layer})})
        bundle.network.expose(layer)
        source = _source(config)
        check_classes(bundle.classes, source.classes, what=f"the model {name}")
        check_input(bundle.network, config.input, config.maps)
        return cls(name, bundle, config, source)

    @property
    def described(self) -> dict[str, Any]:
        return {"model": self.name, "weights": self.bundle.sha256}

    @property
    def plain(self) -> PlainScores:
        """How the model is scored without overrides."""
        bundle = self.bundle
        return PlainScores(is_other_data(self.config.data, bundle.config_file), bundle.map_kind, bundle.layer)

    def evaluate(self, observe: Observe, *, take: Take | None = None, address: str | None = None) -> Evaluation:
        """See `EvaluationTarget`."""
        bundle, config, source = self.bundle, self.config, self.source
        scored, refine = config.evaluation, config.maps.refine
        saliency = _saliency(config, source, address) if scored.maps else None
        refiner = refine.open(torch.device("cpu")) if refine is not None and scored.maps else None
        counting = ModelCounting(bundle, config, source, refiner, saliency)
        gpu, workers = config.device != "cpu", config.data_workers
        counted = count_images(counting, observe, address, gpu=gpu, batch=counting.batch_size, data_workers=workers)
        evaluation = evaluation_of(
            counted.scores,
            counted.skipped,
            bundle.classes,
            scored,
            describe_data(config.data, source, resize_text(config.input)),
            map_kind=config.map_kind or bundle.map_kind,
            layer=scored.layer or "last",
            settings=config.maps,
            refinement=None if refiner is None else refiner.description,
            faithfulness=counted.faithfulness,
            saliency=saliency and saliency.description,
        )
        _pass_on(counted, take)
        return replace(evaluation, notes=(*evaluation.notes, *other_outputs(bundle, source)))


@dataclass(frozen=True)
class StoreTarget:
    """A version of a map store and the data to score it on."""

    name: str
    store: MapStore
    snapshot: Snapshot
    digest: str
    config: EvaluateStoreConfig
    source: Source
    load_seconds: float = 0.0

    @classmethod
    def open(cls, name: str, location: str, version: int | None, config: EvaluateStoreConfig) -> Self:
        """A version of the store at a location; None: the newest.

        Raises:
            AttnError: There is no such store or version, or it does not fit the data.
        """
        clock = time.monotonic()
        source, opened = _source(config), store.open(location)
        snapshot = opened.at(version)
        if snapshot.manifest.metadata.get("classes") != "predicted":
            snapshot = open_maps(StoredMaps(location, version), source, store_hint(location, config.data.split))
        elif opened.definition.classes:
            check_classes(opened.definition.classes, source.classes, what=opened.uri)
        digest = snapshot.digest()
        return cls(name, opened, snapshot, digest, config, source, time.monotonic() - clock)

    @property
    def described(self) -> dict[str, Any]:
        return {
            "maps": self.store.uri,
            "version": self.snapshot.version,
            "run": self.snapshot.run,
            "fusion": self.store.definition.fusion,
            "grid": list(self.store.grid),
            "digest": self.digest,
            "about": Manifest.with_mark(self.snapshot.manifest.metadata, tentative=False),
        }

    def evaluate(self, observe: Observe, *, take: Take | None = None, address: str | None = None) -> Evaluation:
        """See `EvaluationTarget`."""
        metadata, config, refine = self.snapshot.manifest.metadata, self.config, self.config.maps.refine
        written, before = metadata.get("predictions"), metadata.get("refinement")
        file = config.predictions or (written if written and transfer.exists(written) else None)
        grid, saliency = self.store.grid, _saliency(config, self.source, address)
        refiner = None if refine is None else refine.open(torch.device("cpu"))
        counting = StoreCounting(
            self.snapshot,
            config,
            self.source,
            refiner,
            before,
            given=metadata.get("classes") != "predicted",
            probabilities=read_predictions(file, self.source.classes) if file else None,
            saliency=saliency,
        )
        counted = count_images(counting, observe, address, gpu=refiner is not None)
        evaluation = evaluation_of(
            counted.scores,
            counted.skipped,
            self.source.classes,
            config.evaluation,
            describe_data(config.data, self.source, f"stored {grid[0]}x{grid[1]}"),
            map_kind=metadata.get("map_kind", "cumulative"),
            layer=None,
            settings=MapSettings.of_described(metadata),
            refinement=before if refiner is None else described_after(refiner, before),
            saliency=saliency and saliency.description,
        )
        _pass_on(counted, take)
        return evaluation


def _pass_on(counted: Counted, take: Take | None) -> None:
    if take is not None:
        for observed in counted.observed:
            take(observed)


def open_target(target: str, overrides: list[str]) -> EvaluationTarget:
    """The map store (by its location, with `@` and a version or the newest) or else the trained model of this name.

    Args:
        overrides: `a.b=value`, over the data that the model or the store comes from.

    Raises:
        AttnError: There is no such thing, or it does not fit the data.
    """
    overrides = with_data(overrides, LOCAL_TEXTS)
    with progress.reading(target := with_run_name(target)):
        located = find_store(target, overrides)
        return _store_target(target, located, overrides) if located else _model_target(target, overrides)


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
    return resolve(EvaluateModelConfig, dump_values(text), name, overrides, defaults=scored_split)


def _model_target(model: str, overrides: list[str]) -> ModelTarget:
    clock = time.monotonic()
    with open_model(model, model_lookup(overrides)) as bundle:
        target = ModelTarget.of(model, bundle, resolve_config(bundle, overrides, f"{model}: config.yaml"))
    return replace(target, load_seconds=time.monotonic() - clock)


def _store_target(target: str, located: FoundStore, overrides: list[str]) -> StoreTarget:
    config = store_config(EvaluateStoreConfig, located.location, overrides, run=located.run)
    return StoreTarget.open(target, located.location, located.version, config)


def _source(config: EvaluateModelConfig | EvaluateStoreConfig) -> Source:
    source = config.data.build()
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    return source


def _saliency(
    config: EvaluateModelConfig | EvaluateStoreConfig, source: Source, address: str | None
) -> SaliencySource | None:
    scoring = config.evaluation
    return compute_saliency(
        with_saliency(source, scoring.saliency, scoring, root=config.root, field="evaluation.saliency"), address
    )
