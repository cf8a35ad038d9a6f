"""Whether a run is the same as one that is there already: whether it works on the same, in the same way."""

from __future__ import annotations

__all__ = ["NOT_INPUTS", "as_before", "changed_fields", "changed_work", "is_input"]

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

from attn.config.base import Config
from attn.config.document import Document, parse_override
from attn.config.resolve import parse_config
from attn.errors import ConfigError, Fault
from attn.tracking.description import flattened

NOT_INPUTS = frozenset({"root", "tracking", "record_in_training"})
"""Fields that say where results are written."""
MEANS = frozenset({"device", "data_workers", "tasks"})
"""Fields that say by which means a result is computed."""
EARLIER_DEFAULTS = (("training", "deterministic", True), ("cluster", "data_workers", 0))
"""Section, field and default of an earlier version, where the default now is `auto`: on a CPU they are the same."""
PATIENCE = ("cluster", "start_timeout", 300.0)
"""Likewise of a field that says how long a run waits: the result does not depend on it, whatever its value."""
SPELLINGS = ("model", "target")
"""Fields of `RunState` that name a model; its weights say which it is."""


def is_input(name: str) -> bool:
    """Whether the result depends on a field of a config, given as `a.b`."""
    return name.partition(".")[0] not in NOT_INPUTS and name.rpartition(".")[2] not in MEANS


def changed_fields(config: Config, there: Mapping[str, Any]) -> list[str]:
    """Fields in which a config differs from the plain values of an earlier run's; that file may lack newer fields."""
    earlier = dict(there)
    with contextlib.suppress(ConfigError):
        earlier = parse_config(type(config), Document(copy.deepcopy(earlier))).model_dump(mode="json")
    new, old = flattened(as_before(config.model_dump(mode="json"))), flattened(as_before(earlier))
    return [name for name in {**new, **old} if name != "root" and new.get(name) != old.get(name)]


def as_before(values: dict[str, Any]) -> dict[str, Any]:
    """A config's plain values, with the defaults of an earlier version where these lead to the same result.

    Sections lie below others, too: a second round of a training has a `training` of its own.
    """
    result = {name: as_before(value) if isinstance(value, dict) else value for name, value in values.items()}
    for section, field, default in (*EARLIER_DEFAULTS, PATIENCE):
        fields = result.get(section)
        if isinstance(fields, dict) and field in fields and (fields[field] == "auto" or field == PATIENCE[1]):
            result[section] = fields | {field: default}
    return result


def changed_work(work: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Fields of `RunState` in which a run works on something else than an earlier one.

    The same weights are the same model, however it is named.
    """
    spelt = SPELLINGS if "weights" in work and "weights" in before else ()
    return [name for name in work if name not in spelt and _plain(name, work[name]) != _plain(name, before.get(name))]


def _plain(name: str, value: Any) -> Any:
    """A field's value; of overrides the values that they set and that the result depends on."""
    if name != "overrides" or not isinstance(value, list):
        return value
    parsed = [parse_override(text) for text in value]
    return {".".join(one[0]): one[1] for one in parsed if not isinstance(one, Fault) and is_input(".".join(one[0]))}
