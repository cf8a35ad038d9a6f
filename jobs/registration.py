"""Registering the model of a run that has ended, whether or not the run was recorded in MLflow."""

from __future__ import annotations

__all__ = ["Registration", "register"]

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.errors import ConfigError, Fault, RunError
from attn.files.transfer import download_folder
from attn.models.description import DESCRIPTION
from attn.registry import register_model
from attn.registry.mlflow_registry import Registry
from attn.registry.registered import RegisteredModel
from attn.run_state import RunState
from attn.runs.config_reader import read_config
from attn.runs.result import JsonResult
from attn.scratch import scratch_folder
from attn.tracking import TrackingConfig, attach, create_run
from attn.tracking.address import display_uri, registry_uri
from attn.tracking.config import fault_of_alias, fault_of_name
from attn.tracking.mlflow_tracker import MlflowTracker
from attn.tracking.model_lookup import ModelLookup
from attn.tracking.sqlite import sqlite_file
from jobs.next_commands import TRAINING
from jobs.runs.listing import RunEntry, entry_of, find_run
from jobs.runs.run_folder import RunFolder
from jobs.scoring.training_record import find_training
from jobs.sweeps.objective_scores import read_scores
from jobs.trained_run import trained_run


@dataclass(frozen=True)
class Registration(JsonResult):
    """A registered version.

    Attributes:
        run: The run that trained the model: of a pipeline its last network's, of a sweep its best trial.
        registry: Address of the registry.
        new: False if the name had a version of this very model already.
    """

    model: RegisteredModel
    run: str
    registry: str
    new: bool

    def to_json(self) -> dict[str, Any]:
        return self.model.to_json() | {"run": self.run, "registry": self.registry, "new": self.new}


def register(run: str, name: str, lookup: ModelLookup, alias: str | None = None) -> Registration:
    """Register the model of a run that is done as a new version of a name.

    The registry is the one that the lookup names, else the one that has the run's record, else the one below the run's
    root. A run that has no record there gets one now, with its config, its last figures and its model.

    Args:
        run: A run's id under the root, or its folder. A pipeline stands for its segmentation network, a sweep for its
            best trial.
        alias: Moved to the version.

    Raises:
        ConfigError: MLflow takes no such name or alias.
        RunError: There is no such run, it is not done, or it trained no model.
        TrackingError: The registry does not answer or refuses.
        WeightsError: The run's model is damaged.
    """
    if fault := fault_of_name(name):
        raise ConfigError([Fault("NAME", f"{name!r} {fault}", "--alias names the version")])
    if alias is not None and (fault := fault_of_alias(alias)):
        raise ConfigError([Fault("--alias", fault, "for example champion")])
    folder = _done(RunFolder.of(run, lookup.root))
    uri, tracking_run = _record_of(folder, lookup)
    registry = Registry(uri)
    with scratch_folder() as scratch:
        bundle = Path(folder.path("model")) if folder.is_local else download_folder(folder.path("model"), scratch)
        known = registry.version_of(name, bundle) if _is_there(uri) else None
        if known is not None:
            tracking_run = known.tracking_run
        elif tracking_run is None:
            others = (one.tracking_run for one in (registry.versions_of(bundle) if _is_there(uri) else []))
            tracking_run = next(filter(MlflowTracker(uri, "").has_run, others), None) or _new_record(folder, uri)
        model, new = register_model(uri, tracking_run, bundle, name, alias)
        if scores := read_scores(folder):  # by which a sweep has chosen it
            registry.add_scores(model.sha256, tracking_run, scores)
            model = registry.find(model.reference)
    return Registration(model, folder.run_id, display_uri(uri), new)


def _done(folder: RunFolder) -> RunFolder:
    """The run that trained a run's model.

    Raises:
        RunError: There is none: the message says what to do.
    """
    entry = entry_of(folder, find_run(folder))
    if entry.state.state != "done":
        raise RunError(_unfinished(folder, entry))
    trained = trained_run(folder, entry.state)
    if trained is None:
        raise RunError(
            f"no trial of sweep {folder.run_id!r} is done, or the best has no model: `attn show {folder.reference}`"
        )
    if not trained.exists(f"model/{DESCRIPTION}"):
        raise RunError(_without_model(trained, trained.state()))
    return trained


def _unfinished(folder: RunFolder, entry: RunEntry) -> str:
    above = RunFolder.around(folder) if entry.state.number is not None else None
    whole = above or folder
    message = f"run {folder.run_id!r} is {entry.shown_state}, and only a run that is done can be registered: "
    if entry.driver in ("here", "elsewhere"):
        return message + f"wait for its end, `attn status {whole.reference} --wait`"
    if entry.state.state == "stopped":
        return message + f"its sweep has ended this trial early; choose another, `attn show {whole.reference}`"
    if above is not None and above.state().state == "done" and entry.state.cause is None:
        return message + f"its sweep is done and tries it no more; choose another, `attn show {whole.reference}`"
    return message + f"{whole.resuming} goes on with it"


def _without_model(folder: RunFolder, state: RunState) -> str:
    if state.kind in TRAINING:
        return f"run {folder.run_id!r} is done, but {folder.path('model')} holds no {DESCRIPTION}: it was removed"
    target = state.target or state.model or ""
    hint = f"; it worked on {target}" if target else ""
    return (
        f"run {folder.run_id!r} is of kind {state.kind}, and has trained no model that could be registered{hint}: name "
        "the run of a training, a segmentation, a pipeline or a sweep"
    )


def _record_of(folder: RunFolder, lookup: ModelLookup) -> tuple[str, str | None]:
    """The registry's URI, and the run's record there; None if it has none."""
    record = find_training(folder.uri, lookup)
    if lookup.tracking.uri is None and record is not None and _is_there(record.uri):
        uri = record.uri
    else:
        above = RunFolder.around(folder)
        uri = registry_uri(lookup.tracking, (above or folder).root)
    if record is None or record.uri != uri or not MlflowTracker(uri, record.run).has_run(record.run):
        return uri, None
    return uri, record.run


def _new_record(folder: RunFolder, uri: str) -> str:
    """Record a run that has ended: its config, and the figures that its model was left with."""
    config, state = read_config(folder.read_text("config.yaml"), folder.path("config.yaml")), folder.state()
    tracking = TrackingConfig(uri=uri, experiment=config.tracking.experiment)
    record = create_run(tracking, folder.root, folder.run_id, config, tags={"attn.kind": config.kind})
    assert record is not None, "of a tracking that is enabled"
    tracker = attach(tracking, folder.root, record)
    figures = {name: value for name, value in (state.metrics or {}).items() if value is not None}
    tracker.log_metrics({name: value for name, value in figures.items() if math.isfinite(value)}, state.step or 0)
    tracker.terminate("done")
    return record


def _is_there(uri: str) -> bool:
    """Whether a database is where its URI says; a run's folder may have been moved without it."""
    return (file := sqlite_file(uri)) is None or file.exists()
