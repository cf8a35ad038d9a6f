"""Trained models out of MLflow's registry, and into files for other programs."""

from __future__ import annotations

__all__ = ["export", "get", "ls", "promote", "show"]

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.document import read_document
from attn.errors import ConfigError, Fault, RunError, TrackingError, WeightsError
from attn.evaluation.pairing import side_by_side
from attn.models.description import CONFIG, describing, read_description
from attn.registry.card import model_card
from attn.tracking.address import display_uri, registry_uri
from attn.tracking.config import fault_of_alias
from attn.tracking.sqlite import sqlite_file
from jobs.runs.open_model import model_lookup, open_model

if TYPE_CHECKING:
    from attn.registry.mlflow_registry import Registry
    from attn.registry.registered import RegisteredModel


def ls(overrides: list[str], name: str | None = None) -> dict[str, Any]:
    """Every version of every registered model, or of one: `registry` (its address) and `models`.

    Args:
        overrides: `root=` or `tracking.uri=`, which say where the registry is.

    Raises:
        TrackingError: There is no registry, or it does not answer.
        WeightsError: No model has that name.
    """
    registry = open_registry(overrides)
    return {
        "registry": display_uri(registry.uri),
        "models": [found.to_json() for found in registry.versions(name)],
    }


def show(name: str, overrides: list[str]) -> dict[str, Any]:
    """One version with its description, config and card.

    Args:
        name: `name@alias`, `name/version`, or `name` for the newest version.

    Raises:
        WeightsError: There is no such model.
    """
    registry = open_registry(overrides)
    found = registry.find(name)
    described, config = registry.read_texts(found)
    values = read_document(config, f"{found.reference}: config.yaml").values
    with describing(Path(found.reference)):
        card = model_card(found.reference, described, values, found.scores)
    return found.to_json() | {"description": described, "config": values, "card": card}


def get(name: str, overrides: list[str], to: str | None = None) -> dict[str, Any]:
    """A version's bundle as a folder of this machine, with its card and scores; it needs no network from then on.

    It has been opened once when this returns: a file that holds anything but tensors is refused.

    Args:
        to: The folder; `NAME-VERSION` in the current one where it is not given. One that holds this very model already
            is left as it is.

    Raises:
        WeightsError: There is no such model, its files are not those that were registered, or cannot be opened.
        RunError: The folder is there and holds something else, or cannot be written.
    """
    registry = open_registry(overrides)
    found = registry.find(name)
    folder = Path(to or f"{found.name}-{found.version}").absolute()
    if not _is_there(folder, found):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
                bundle, found = registry.fetch(found.reference, Path(scratch))
                _complete(bundle, found)
                bundle.replace(folder)
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror or type(error).__name__}") from None
    return found.to_json() | {"folder": str(folder)}


def promote(name: str, alias: str, overrides: list[str]) -> dict[str, Any]:
    """Move an alias to a version, and say how its scores compare with those of the version that had it.

    Returns:
        `name`, `version`, `alias`, `before` (version), `compared` and `not_compared` scores.

    Raises:
        ConfigError: MLflow takes no such alias.
        WeightsError: There is no such model.
    """
    if fault := fault_of_alias(alias):
        raise ConfigError([Fault("ALIAS", fault, "for example champion")])
    found, before = open_registry(overrides).promote(name, alias)
    pairs = side_by_side(() if before is None else before.scores, found.scores)
    return {
        "name": found.name,
        "version": found.version,
        "alias": alias,
        "before": None if before is None else before.version,
        **(pairs.to_json() if before is not None else {"compared": [], "not_compared": []}),
    }


def export(model: str, overrides: list[str], *, form: str, to: str) -> dict[str, Any]:
    """Write a model's network as ONNX or by `torch.export`, once the file gives what the network gives.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model.

    Raises:
        ConfigError: An override says anything but where models are.
        AttnError: There is no such model, a package is missing, or the file's outputs are not the network's.
    """
    from attn.prediction.export import export_model
    from attn.prediction.open import open_any

    with open_model(model, model_lookup(overrides, only=True), open_any) as opened:
        return {"model": model, **asdict(export_model(opened, Path(to).absolute(), form))}


def open_registry(overrides: list[str]) -> Registry:
    """The registry that `root=` and `tracking.uri=` name.

    Raises:
        ConfigError: An override says anything else.
        TrackingError: It is a file that is not there.
    """
    place = model_lookup(overrides, only=True)
    uri = registry_uri(place.tracking, place.root)
    if (file := sqlite_file(uri)) is not None and not file.exists():
        raise TrackingError(
            f"no registry: there is no {file}. Give root= of the runs or tracking.uri= of a "
            "server; training with tracking.register_as=NAME registers a model"
        )
    from attn.registry.mlflow_registry import Registry

    return Registry(uri)


def _complete(bundle: Path, found: RegisteredModel) -> None:
    """Open a fetched bundle, and put beside it what the registry knows of it."""
    from attn.prediction.open import open_any

    open_any(bundle)
    described = read_description(bundle)
    try:
        text = (bundle / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{found.reference}: {CONFIG} is no text of a config") from None
    config = read_document(text, CONFIG).values
    with describing(Path(found.reference)):
        card = model_card(found.reference, described, config, found.scores)
    (bundle / "card.md").write_text(card, encoding="utf-8")
    (bundle / "registered.json").write_text(json.dumps(found.to_json(), indent=1), encoding="utf-8")


def _is_there(folder: Path, found: RegisteredModel) -> bool:
    """Whether a folder holds this very model.

    Raises:
        RunError: It holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    from attn.prediction.open import open_any

    try:
        if open_any(folder).sha256 == found.sha256:
            return True
    except WeightsError:
        pass
    raise RunError(f"{folder} is there and holds something else than {found.reference}; give another --to FOLDER")
