"""Write a trained model's attention maps for any data, into a map store or as PNGs, or refine those of a map store.

In this process, or by a pool of others.
"""

from __future__ import annotations

__all__ = ["MapsJob", "MapsResult", "StoredMapsJob", "load", "resume", "run"]

import json
import shlex
import time
from dataclasses import dataclass, field
from typing import Any, Self

from attn import progress, store
from attn.config.document import dump_values, parse_override, read_document
from attn.config.resolve import resolve
from attn.config.unused import unused_notices
from attn.data.source_cache import SourceCache
from attn.errors import ConfigError, Fault
from attn.models.bundle import Bundle
from attn.registry.lookup import open_model
from attn.runs.layers import with_data
from attn.runs.maps import MapsConfig, StoredMapsConfig, of_maps
from attn.runs.result import IF_GIVEN, RunResult
from attn.runs.texts import LOCAL_TEXTS
from attn.store import MapStore, Snapshot
from attn.tracking import DataUsed
from jobs.map_tasks import MapsWork, write_maps
from jobs.refined_maps import RefineWork, refine_store
from jobs.runs.lifecycle import begin_or_continue, config_of, target_of
from jobs.runs.open_model import model_lookup, with_run_name
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.scoring.found_store import find_store, store_config
from jobs.training.notices import tell_notices


@dataclass(frozen=True, kw_only=True)
class MapsResult(RunResult):
    """The written maps of a model, or the refined ones of a map store.

    Attributes:
        model: The model, as the user names it; None of a map store.
        of, version: The map store that the maps were refined from, and its version.
        images, maps: How many there are.
        predictions: File of every image's probabilities; None of a map store.
        png: Folder of PNGs.
        store, store_version: Map store.
    """

    model: str | None = field(default=None, metadata=IF_GIVEN)
    of: str | None = field(default=None, metadata=IF_GIVEN)
    version: int | None = field(default=None, metadata=IF_GIVEN)
    images: int
    maps: int
    predictions: str | None = field(default=None, metadata=IF_GIVEN)
    notes: list[str]
    png: str | None = field(default=None, metadata=IF_GIVEN)
    store: str | None = field(default=None, metadata=IF_GIVEN)
    store_version: int | None = field(default=None, metadata=IF_GIVEN)
    tracking_run: str | None
    seconds: float


@dataclass(frozen=True)
class MapsJob:
    """A trained model, and what is to be written of it.

    Attributes:
        model: As the user names it.
        load_seconds: How long it took to open the model.
    """

    model: str
    bundle: Bundle
    config: MapsConfig
    load_seconds: float = 0.0

    @classmethod
    def open(cls, model: str, config: MapsConfig) -> Self:
        """A model, by the name that it has below the config's root or in its registry.

        Raises:
            WeightsError: There is no such model, or it is damaged.
        """
        clock = time.monotonic()
        with open_model(model, config) as bundle:
            return cls(model, bundle, config, time.monotonic() - clock)


@dataclass(frozen=True)
class StoredMapsJob:
    """A version of a map store, and how its maps are refined.

    Attributes:
        name: As the user names it.
    """

    name: str
    store: MapStore
    snapshot: Snapshot
    config: StoredMapsConfig

    @classmethod
    def open(cls, name: str, location: str, version: int | None, config: StoredMapsConfig) -> Self:
        """A version of the store at a location; None: the newest.

        Raises:
            StoreError: There is no such store or version.
        """
        opened = store.open(location)
        return cls(name, opened, opened.at(version), config)


def load(target: str, overrides: list[str]) -> MapsJob | StoredMapsJob:
    """The maps of a model, on its own data and input where overrides give no other; or the refinement of a map store's.

    Args:
        target: The location of a map store, as URI (newest version) or URI@VERSION; or a bundle's folder, a run's id or
            folder, or a registered model as `name@alias` or `name/version`.
        overrides: `a.b=value`.

    Raises:
        AttnError: There is no such thing, or the overrides do not fit it.
    """
    with progress.reading(target):
        return _open(with_run_name(target), with_data(overrides, LOCAL_TEXTS))


def _open(target: str, overrides: list[str]) -> MapsJob | StoredMapsJob:
    clock = time.monotonic()
    if located := find_store(target, overrides):
        location = located.location
        fields = of_maps(overrides)
        parsed = [parse_override(text) for text in fields]
        if any(not isinstance(one, Fault) and one == (("output", "kind"), "png") for one in parsed):
            raise ConfigError(
                f"output.kind=png is for maps of a model, and {target} is a map store: `attn store export "
                f"{shlex.quote(location)} FOLDER --format png` writes its maps as PNGs; refine them into a store first"
            )
        if not any(not isinstance(one, Fault) and one[0][0] == "refine" for one in parsed):
            raise ConfigError(
                f"{target} is a map store: say how its maps are to be refined, as in maps.refine.name=pamr "
                "(`attn store export` writes them as they are)"
            )
        config = store_config(StoredMapsConfig, location, fields, run=located.run)
        return StoredMapsJob.open(target, location, located.version, config)
    model = target
    with open_model(model, model_lookup(overrides)) as bundle:
        config = resolve_config(bundle, overrides, f"{model}: config.yaml")
        return MapsJob(model, bundle, config, time.monotonic() - clock)


def run(
    job: MapsJob | StoredMapsJob,
    *,
    run_id: str | None = None,
    address: str | None = None,
    sources: SourceCache | None = None,
) -> MapsResult:
    """Write the maps of a model, or refine those of a map store.

    Args:
        run_id: Name of the job's folder. An interrupted one continues with the images that it lacks.
        address: A Ray cluster that does it; without one, this process does it all, or as many processes of this machine
            as the config asks for.
        sources: Data sets that this process has built already.

    Raises:
        AttnError: Model, config and data do not fit, or the place cannot be written; the text says where.
    """
    if isinstance(job, StoredMapsJob):
        return _refine(job, run_id, address, sources or SourceCache())
    clock = time.monotonic() - job.load_seconds
    model, bundle, config = job.model, job.bundle, job.config
    tell_notices(unused_notices(config))
    work = MapsWork.of(bundle, config, sources or SourceCache())
    folder = RunFolder(config.root, run_id or new_run_id("maps"))
    described = {"model": model, "target": model, "weights": bundle.sha256}
    tags = {"attn.model": model, "attn.weights": bundle.sha256}
    with begin_or_continue("maps", config, folder, recorded=config, work=described, tags=tags) as live:
        outputs = write_maps(work, folder, model, address)
        live.outputs |= outputs.to_json()
    return MapsResult(
        run_id=folder.run_id,
        folder=folder.uri,
        model=model,
        **vars(outputs),
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def _refine(job: StoredMapsJob, run_id: str | None, address: str | None, sources: SourceCache) -> MapsResult:
    clock, config = time.monotonic(), job.config
    work = RefineWork.of(job.store, job.snapshot, sources.get(config.data), config)
    folder = RunFolder(config.root, run_id or new_run_id("maps"))
    named = f"{job.store.uri}@{job.snapshot.version}"
    described = {"target": named, "maps": job.store.uri, "version": job.snapshot.version}
    data = DataUsed.of(config.data, work.source)
    tags = {"attn.maps": job.name}
    with begin_or_continue("maps", config, folder, recorded=config, work=described, data=data, tags=tags) as live:
        outputs = refine_store(work, folder, named, address)
        # `maps` of `run.json` is the store that was refined.
        live.outputs |= {name: value for name, value in outputs.to_json().items() if name != "maps"}
    return MapsResult(
        run_id=folder.run_id,
        folder=folder.uri,
        of=job.store.uri,
        version=job.snapshot.version,
        **vars(outputs),
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def resume(name: str, *, root: str = "runs", address: str | None = None) -> MapsResult:
    """Continue what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    state, target = folder.state(), target_of(folder)
    if isinstance(state.maps, str):
        stored = StoredMapsJob.open(target, state.maps, state.version, config_of(folder, StoredMapsConfig))
        return run(stored, run_id=folder.run_id, address=address)
    job = MapsJob.open(target, config_of(folder, MapsConfig))
    return run(job, run_id=folder.run_id, address=address)


def resolve_config(bundle: Bundle, overrides: list[str], name: str) -> MapsConfig:
    """The job's config: the training data and input of the model's own run, changed by the overrides.

    Args:
        name: What to call the model's config in messages.

    Raises:
        ConfigError: With all faults.
    """
    text: dict[str, Any] = {
        "tracking": {"enabled": False},
        "input": json.loads(bundle.input.model_dump_json()),
        "output": {"kind": "store"},
    }
    if bundle.config_file.is_file():
        trained = read_document(bundle.config_file.read_text(encoding="utf-8"), name).values
        text |= {"data": trained["data"]} if "data" in trained else {}
    return resolve(MapsConfig, dump_values(text), name, of_maps(overrides))
