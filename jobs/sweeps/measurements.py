"""Measured costs of trainings, kept in a file of the runs' root for the estimates of later commands."""

from __future__ import annotations

__all__ = ["MEASURED", "keep_measurement", "kept_measurement"]

import hashlib
import json
import platform
import time
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from attn.display import local_time
from attn.errors import AttnError
from attn.files.locations import join, read_bytes
from attn.files.transfer import write_bytes
from attn.runs.sweep.config import Objective
from attn.training.run_config import RunConfig
from jobs.sweeps.comparable import comparable_fields, warmup_share
from jobs.sweeps.costs import Costs
from jobs.sweeps.plan import Plan

MEASURED = "measured.json"
MOST_KEPT = 100
"""Older ones are dropped."""


class _Measurement(BaseModel):
    """Costs, and when they were measured in Unix seconds."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    at: float
    costs: Costs


_FILE = TypeAdapter(dict[str, _Measurement])


def keep_measurement(
    costs: Costs, root: str, config: RunConfig, plan: Plan | None = None, objective: Objective | None = None
) -> None:
    """Keep the measured costs of a training or of a sweep's trials under the root of its runs.

    Raises:
        RunError: The file cannot be written.
    """
    key = _key(config, plan, objective)
    others = {name: one for name, one in _read(root).items() if name != key}
    kept = dict([*others.items(), (key, _Measurement(at=time.time(), costs=costs))][-MOST_KEPT:])
    write_bytes(join(root, MEASURED), _FILE.dump_json(kept, indent=1))


def kept_measurement(
    root: str, config: RunConfig, plan: Plan | None = None, objective: Objective | None = None
) -> Costs | None:
    """The costs that were measured on this machine for such a training or sweep; None if none were."""
    kept = _read(root).get(_key(config, plan, objective))
    if kept is None:
        return None
    source = f"{kept.costs.source.removesuffix(' here and now')} here at {local_time(kept.at)}"
    return replace(kept.costs, source=source)


def _read(root: str) -> dict[str, _Measurement]:
    try:
        return _FILE.validate_json(read_bytes(join(root, MEASURED)))
    except (AttnError, ValidationError):  # there is none yet, or it is damaged: then it is measured again
        return {}


def _key(config: RunConfig, plan: Plan | None, objective: Objective | None) -> str:
    """A hash of all that the costs depend on."""
    fields = {
        "machine": platform.node(),
        **comparable_fields(config),
        "warm-up": warmup_share(config),
        "previews": config.tracking.preview_images,
        "threads": config.cluster.threads,
        "at once": None if plan is None else [plan.parallel, plan.workers, plan.threads],
        "objective": None if objective is None else objective.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]
