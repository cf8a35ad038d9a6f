"""A trained model by whatever name a user gives it, and the data that goes with it."""

from __future__ import annotations

__all__ = [
    "SCORED_SPLIT",
    "data_name",
    "is_registered_name",
    "masks_name",
    "model_lookup",
    "open_model",
    "resize_text",
    "scored_data",
]

import contextlib
import re
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attn.config.base import is_remote
from attn.config.document import parse_override
from attn.config.resolve import resolve
from attn.data.transforms import InputConfig
from attn.errors import Fault, WeightsError
from attn.files import transfer
from attn.files.locations import name_of
from attn.models.bundle import load_bundle
from attn.registry import fetch_model
from attn.scratch import scratch_folder
from attn.tracking.model_lookup import ModelLookup
from jobs.runs.checkpoint_transfer import download_folder
from jobs.runs.lifecycle import Tracked

B = TypeVar("B")

SCORED_SPLIT = {("data", "split"): "val"}
"""Split that a trained model is scored on, if the user gives another data source and no split."""


@contextlib.contextmanager
def open_model(model: str, lookup: Tracked, load: Callable[[str | Path, str], B] = load_bundle) -> Generator[B]:
    """The model, wherever it lies; a copy that had to be fetched is removed afterwards.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        lookup: Says where models are looked up by name: below which root, and in which registry.
        load: Opens a bundle by its folder, or a run's id below the root.

    Raises:
        WeightsError: There is no such model, or it is damaged.
    """
    with scratch_folder() as scratch:
        try:
            bundle = _load(model, lookup.root, scratch, load)
        except WeightsError:
            if not is_registered_name(model):
                raise
            bundle = load(fetch_model(lookup.tracking, lookup.root, model, scratch), lookup.root)
        yield bundle


def is_registered_name(model: str) -> bool:
    """Whether a name is one of the registry: `name@alias` or `name/version`, and no file of this machine."""
    return re.fullmatch(r"[^/@]+(@[^/@]+|/[0-9]+)", model) is not None and not Path(model).exists()


def model_lookup(overrides: list[str], *, only: bool = False) -> ModelLookup:
    """Root and registry in which models and runs are looked up.

    Args:
        only: The overrides may say nothing else.

    Raises:
        ConfigError: A field is not known, or its value is not valid.
    """
    parsed = [(text, parse_override(text)) for text in overrides]
    of_place = [
        text for text, key in parsed if only or (not isinstance(key, Fault) and key[0][0] in ModelLookup.model_fields)
    ]
    return resolve(ModelLookup, "tracking: {enabled: false}", "overrides", of_place)


def scored_data(trained: Mapping[str, Any]) -> dict[str, Any]:
    """The data that a trained model is scored on by default, as plain values: its run's, of the validation split.

    Args:
        trained: The config of its run.
    """
    split = (trained.get("validation") or {}).get("split") or trained["data"].get("split")
    return trained["data"] | ({"split": split} if split else {})


def data_name(data: Any) -> str:
    """The kind of a data set's source, for protocols and titles."""
    return str(data.source)


def masks_name(data: Any) -> str | None:
    """The folder of the masks by a name that is the same on every machine."""
    masks = getattr(data, "masks", None)
    return name_of(masks) if masks and masks.startswith(("/", "s3://")) else masks


def resize_text(config: InputConfig) -> str:
    """Exact description of the resizing of images: `squash 225x225`."""
    size = f"{config.size}x{config.size}" if isinstance(config.size, int) else "x".join(map(str, config.size))
    way = "squash" if config.resize == "random_part" else config.resize
    return f"short_side {config.size}" if config.resize == "short_side" else f"{way} {size}"


def _load(model: str, root: str, scratch: Path, load: Callable[[str | Path, str], B]) -> B:
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
