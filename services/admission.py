"""Check whether a submission may become a job: resolve its config as the job would, and check what it reads and writes.

The check runs in a separate process (`services.planning`). The job checks every config that it resolves again.
"""

from __future__ import annotations

__all__ = ["admit", "load", "overrides_of"]

import contextlib
import itertools
import math
import os
import pkgutil
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from attn.config.base import Config, Location
from attn.config.document import Document, dump_values, layered, override_of, parse_override, read_document
from attn.config.resolve import Objection, extra_check, override, resolve
from attn.errors import AttnError, ConfigError, Fault
from attn.files.locations import read_bytes
from attn.files.transfer import exists
from attn.runs.config_reader import require_kind, resolve_run
from attn.runs.layers import Layers, read_layers, with_data
from attn.runs.maps import of_maps
from attn.runs.recipes import recipe_text
from attn.runs.sweep import SweepConfig
from attn.runs.sweep.load import LoadedSweep, trial_config
from attn.runs.table import KINDS, file_kinds
from attn.runs.texts import GivenTexts
from attn.training.run_config import RunConfig
from jobs.runs.open_model import model_lookup, scored_data
from services.permissions import Permissions, code_in, model_folder
from services.submission import Submission

MOST_POINTS = 1000
"""Largest number of combinations of a sweep's text values that are checked. Numbers name no file and need no check."""
NOT_ROOT = "is not the service's root"


def admit(submission: Submission, permissions: Permissions) -> Any:
    """Check a submission.

    Returns:
        What `load` returns; None for kinds that use a model's config.

    Raises:
        ConfigError: With all faults of the config, and every field that would write, read or call something forbidden.
    """
    faults: list[Fault] = []
    if submission.address not in (None, "auto", os.environ.get("RAY_ADDRESS")):
        faults.append(Fault("address", "is not the service's own cluster", "`auto`, or RAY_ADDRESS of the service"))
    if len(submission.id) > (longest := KINDS[submission.kind].longest_id):
        message = f"is too long for a {submission.kind} run, whose parts append to it"
        faults.append(Fault("id", message, f"{longest} characters at most"))
    loaded = None
    try:
        layers = _layers(submission) if submission.kind in file_kinds() else None
        faults += _roots(layers, submission, permissions)
        with extra_check(permissions.submitted, code_in):
            if layers is not None:
                loaded = _resolved(layers, submission, permissions.root)
            else:
                _check_model_job(submission, permissions)
    except ConfigError as error:
        faults += error.faults
    if isinstance(loaded, LoadedSweep):
        faults += _trials(*loaded, permissions)
    elif loaded is not None and not faults:
        faults += loaded.input_faults()
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)))
    return loaded


def load(submission: Submission, root: str) -> Any:
    """The config of a job of a kind that has one, with the service's root; for a sweep, with the text of its base.

    Recipes are found by name, other files only among those that were sent; no other file of this machine is read.

    Raises:
        ConfigError: With all faults.
    """
    return _resolved(_layers(submission), submission, root)


def _resolved(layers: Layers, submission: Submission, root: str) -> Any:
    require_kind(layers.whole, [submission.kind], f"submit {{kind}} {submission.target}".rstrip())
    return resolve_run(layers._replace(overrides=[*layers.overrides, override_of("root", root)]))


def overrides_of(submission: Submission) -> list[str]:
    """A job's overrides as the job itself takes them, with the fields in files of data that were sent along."""
    overrides = with_data(submission.overrides, GivenTexts(submission.files))
    return of_maps(overrides) if submission.kind == "maps" else overrides


def _layers(submission: Submission) -> Layers:
    text, name = (submission.config, "config") if submission.config is not None else recipe_text(submission.target)
    return read_layers(text, name, submission.overrides, GivenTexts(submission.files))


def _roots(layers: Layers | None, submission: Submission, permissions: Permissions) -> Iterator[Fault]:
    """A fault if a submission, or a text of it, names another root: the service sets its own."""
    changes = Document()
    override(changes, overrides_of(submission) if layers is None else layers.overrides)
    given = changes if layers is None else layered(layers.whole, changes)
    if "root" not in given.values:
        return
    with contextlib.suppress(ValidationError):
        if TypeAdapter[str](Location).validate_python(given.values["root"], strict=True) in (
            os.path.abspath("runs"),
            permissions.root,
        ):
            return
    yield Fault(given.location(("root",)), f"root {NOT_ROOT}", "leave it out")


def _check_model_job(submission: Submission, permissions: Permissions) -> None:
    """Check a job whose config is a model's, changed by overrides. The model need not exist yet.

    The job checks the permissions again once it has read the model's own config.
    """
    if model_folder(submission.target) is not None:
        raise ConfigError(
            [
                Fault(
                    "target",
                    f"{submission.target} is a folder, and a service's {submission.kind} takes a run's name",
                    "a run as `attn ls` prints it, or NAME@ALIAS; no store and no path",
                )
            ]
        )
    overrides = [*overrides_of(submission), override_of("root", permissions.root)]
    model_lookup(overrides)
    data = _trained_data(permissions.root, submission.target)
    if data is None:
        data, parsed = {"source": "scenes"}, [(text, parse_override(text)) for text in overrides]
        keys = [() if isinstance(item, Fault) else item[0] for _, item in parsed]
        if not {("data",), ("data", "source")} & set(keys):
            overrides = [text for (text, _), key in zip(parsed, keys, strict=True) if key[:1] != ("data",)]
    text = {"tracking": {"enabled": False}, "data": data}
    faults: list[tuple[int, list[Fault]]] = []
    given = Document()
    override(given, overrides)
    for config in map(pkgutil.resolve_name, KINDS[submission.kind].target_configs):
        try:
            resolve(config, dump_values(text), f"{submission.target}: config.yaml", overrides)
        except ConfigError as error:
            faults.append((len(given.values.keys() - config.model_fields.keys()), error.faults))
        else:
            return
    raise ConfigError(min(faults, key=lambda one: one[0])[1])  # of the class that has most of the given fields


def _trained_data(root: str, target: str) -> dict[str, Any] | None:
    """The data that a run's model was trained on; None if there is no such run yet."""
    for file in (f"{root}/{target}/model/config.yaml", f"{root}/{target}/config.yaml"):
        with contextlib.suppress(AttnError, UnicodeDecodeError):
            if exists(file):
                values = read_document(read_bytes(file).decode(), file).values
                return scored_data(values) if isinstance(values.get("data"), dict) else None
    return None


def _trials(config: SweepConfig, base: str, permissions: Permissions) -> Iterator[Fault]:
    """Faults of a sweep's trials that are not permitted, for every combination of its text values.

    Each value was checked alone when the sweep was read; several together may resolve differently.
    """
    texts = {
        name: dimension.choices
        for name, dimension in config.space.items()
        if dimension.choices and any(isinstance(choice, str) for choice in dimension.choices)
    }
    if (count := math.prod(map(len, texts.values()))) > MOST_POINTS:
        yield Fault("space", f"has {count} combinations of text values", f"{MOST_POINTS} at most: search fewer at once")
        return
    results: list[Objection] = []

    def note(trial: Config) -> Iterator[Objection]:
        results.extend(permissions.submitted(trial))
        if config.objective.split is not None and isinstance(trial, RunConfig):
            results.extend(permissions.of_split(trial.data, config.objective.split, ("objective", "split")))
        return iter(())

    with extra_check(note, code_in):
        for values in itertools.product(*texts.values()):
            # Values that are valid alone but not together: no trial uses them, or one does with a number that makes
            # them valid, and the job checks every trial again before it starts.
            with contextlib.suppress(ConfigError):
                trial_config(base, dict(zip(texts, values, strict=True)))
    for path, message, hint in results:
        yield Fault("a trial", f"{'.'.join(path)} {message}", hint)
