"""The config classes of all commands, and which fields of a config were chosen."""

from __future__ import annotations

__all__ = ["COMMAND_CONFIGS", "changed_fields", "classes_of", "config_class", "todays_config"]

import copy
import pkgutil
from collections.abc import Mapping
from typing import Any

from attn.config.base import Config, Variant
from attn.config.document import Document
from attn.config.resolve import parse_config
from attn.errors import ConfigError
from attn.runs.table import KINDS, file_kinds

SEGMENT_PREDICT = "attn.segmentation.config:SegmentPredictConfig"
COMMAND_CONFIGS: dict[str, str] = {
    **{kind: str(KINDS[kind].config) for kind in file_kinds()},
    "evaluate": "attn.runs.evaluate:EvaluateModelConfig",
    "evaluate (a map store)": "attn.runs.evaluate:EvaluateStoreConfig",
    "maps": "attn.runs.maps:MapsConfig",
    "maps (a map store)": "attn.runs.maps:StoredMapsConfig",
    "segment predict": SEGMENT_PREDICT,
    "store growth": "attn.runs.growth:GrowthConfig",
    "data check": "attn.runs.data:DataConfig",
    "predict": "attn.prediction.config:ImagePredictConfig",
}
"""Class of the config of each command that takes fields, as `module:name`."""
OF_OTHER_KINDS = {"masks": (SEGMENT_PREDICT,), "cues": (str(KINDS["segment"].config),)}


def config_class(command: str) -> type[Config]:
    """The config class of a command."""
    return pkgutil.resolve_name(COMMAND_CONFIGS[command])


def classes_of(kind: str) -> list[type[Config]]:
    """The classes that the config of a run of this kind may have; empty where its config is of no class."""
    if kind not in KINDS:
        return []
    entry = KINDS[kind]
    names = (entry.config,) if entry.config is not None else entry.target_configs or OF_OTHER_KINDS.get(kind, ())
    return [pkgutil.resolve_name(name) for name in names]


def todays_config(kind: str, values: Mapping[str, Any]) -> Config | None:
    """The config of a run as the class of today has it; None where none takes it, because an earlier version wrote it.

    Args:
        kind: Of the run.
        values: Of its config, as plain values.
    """
    for one in classes_of(kind):
        try:
            return parse_config(one, Document(copy.deepcopy(dict(values))))
        except ConfigError:
            continue
    return None


def changed_fields(config: Config, baseline: Config | None = None) -> dict[str, Any]:
    """The fields whose values differ from their defaults, as plain values; the choice of a family always.

    Args:
        baseline: The config of the recipe that the run started from: fields that differ from it are given too.
    """
    if type(baseline) is not type(config):
        baseline = None
    changed: dict[str, Any] = {}
    if isinstance(config, Variant) and type(config).tag:
        changed[type(config).tag] = config.variant
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        before = value if baseline is None else getattr(baseline, name)
        is_default = not field.is_required() and value == field.get_default(call_default_factory=True)
        if name in changed or (is_default and value == before):
            continue
        inner = before if isinstance(before, Config) else None
        is_config = isinstance(value, Config)
        changed[name] = changed_fields(value, inner) if is_config else config.model_dump(mode="json")[name]
    return changed
