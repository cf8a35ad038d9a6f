"""A trained model by whatever name a user gives it: a folder, a run, an object store's prefix, a registered model."""

from __future__ import annotations

__all__ = ["ModelPlaces", "is_registered_name", "open_model"]

import contextlib
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Protocol, TypeVar

from attn.config.base import is_remote
from attn.errors import WeightsError
from attn.files import transfer
from attn.files.transfer import download_folder
from attn.models.bundle import load_bundle, refuse_exported
from attn.registry import fetch_model
from attn.scratch import scratch_folder
from attn.tracking.config import TrackingConfig

B = TypeVar("B")


class ModelPlaces(Protocol):
    """Where models are looked up by name: below which root, and in which registry."""

    @property
    def root(self) -> str: ...

    @property
    def tracking(self) -> TrackingConfig: ...


@contextlib.contextmanager
def open_model(model: str, lookup: ModelPlaces, load: Callable[[str | Path, str], B] = load_bundle) -> Generator[B]:
    """The model, wherever it lies; a copy that had to be fetched is removed afterwards.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        lookup: Says where models are looked up by name: below which root, and in which registry.
        load: Opens a bundle by its folder, or a run's id below the root.

    Raises:
        WeightsError: There is no such model, or it is damaged.
    """
    with scratch_folder() as scratch:
        bundle: B | None = None
        try:
            bundle = _load(model, lookup.root, scratch, load)
        except WeightsError:
            if not is_registered_name(model):
                raise
        if bundle is None:  # outside of `except`, so that a fault of the registered model is not chained to the other
            bundle = load(fetch_model(lookup.tracking, lookup.root, model, scratch), lookup.root)
        yield bundle


def is_registered_name(model: str) -> bool:
    """Whether a name is one of the registry: `name@alias` or `name/version`, and no file of this machine."""
    return re.fullmatch(r"[^/@]+(@[^/@]+|/[0-9]+)", model) is not None and not Path(model).exists()


def _load(model: str, root: str, scratch: Path, load: Callable[[str | Path, str], B]) -> B:
    refuse_exported(model)
    if is_remote(model):
        candidates = [model.rstrip("/"), f"{model.rstrip('/')}/model"]
    elif is_remote(root) and not Path(model).exists():
        candidates = [f"{root.rstrip('/')}/{model}/model"]
    else:
        return load(model, root)
    for uri in candidates:
        if transfer.exists(f"{uri}/model.json"):
            return load(download_folder(uri, scratch), root)
    raise WeightsError(
        f"no trained model {model!r}: looked for model.json in {', '.join(candidates)}; give a finished run's id or "
        "folder"
    )
