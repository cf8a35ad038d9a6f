"""The data that goes with a trained model, and where models are looked up."""

from __future__ import annotations

__all__ = [
    "data_name",
    "masks_name",
    "model_lookup",
    "resize_text",
    "saliency_name",
    "with_run_name",
    "scored_data",
    "scored_split",
]

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn.config.base import is_remote
from attn.config.document import parse_override
from attn.config.resolve import resolve
from attn.data.source import validation_split
from attn.data.transforms import InputConfig
from attn.errors import Fault
from attn.files.locations import name_of
from attn.saliency.source import GIVEN
from attn.tracking.model_lookup import ModelLookup

INSIDE = ("model", "store")
"""Folders within a run's that jobs work on."""


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


def with_run_name(target: str) -> str:
    """What a job works on; of a path within a run's folder that lacks the run's name, such as `model`, the whole path.

    Records, and the commands that go on with the job, then name the run.

    Args:
        target: As the user names it.
    """
    named = [name for name in Path(target).parts if name not in (*INSIDE, "..")]
    there = any(Path(target, *file).is_file() for file in (("model.json",), ("model", "model.json"), ("store.json",)))
    return target if named or is_remote(target) or not there else os.path.abspath(target)


def scored_data(trained: Mapping[str, Any]) -> dict[str, Any]:
    """The data that a trained model is scored on by default, as plain values: its run's, of the validation split.

    Args:
        trained: The config of its run.
    """
    split = (trained.get("validation") or {}).get("split") or trained["data"].get("split")
    return trained["data"] | ({"split": split} if split else {})


def scored_split(values: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """What a trained model is scored on where data of another source than its run's does not say so."""
    data = values.get("data")
    return {("data", "split"): validation_split(data)} if isinstance(data, dict) else {}


def data_name(data: Any) -> str:
    """The kind of a data set's source, for protocols and titles."""
    return str(data.source)


def masks_name(data: Any) -> str | None:
    """The folder of the masks by a name that is the same on every machine."""
    return _folder_name(getattr(data, "masks", None))


def saliency_name(data: Any, described: str) -> str:
    """Where saliency comes from, for a protocol: of the data's own the folder too, if a field names it.

    Args:
        described: As `SaliencySource.description`.
    """
    folder = _folder_name(getattr(data, "saliency", None))
    return f"{described}, {folder}" if described == GIVEN and folder else described


def _folder_name(folder: str | None) -> str | None:
    return name_of(folder) if folder and folder.startswith(("/", "s3://")) else folder


def resize_text(config: InputConfig) -> str:
    """Exact description of the resizing of images: `squash 225x225`, and the interpolation unless it is bilinear."""
    size = f"{config.size}x{config.size}" if isinstance(config.size, int) else "x".join(map(str, config.size))
    way = "squash" if config.resize == "random_part" else config.resize
    whole = f"short_side {config.size}" if config.resize == "short_side" else f"{way} {size}"
    return whole if config.interpolation == "bilinear" else f"{whole} {config.interpolation}"
