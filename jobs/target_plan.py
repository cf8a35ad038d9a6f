"""What a run of a kind without files would work on: model or map store, data, and the fields that were chosen."""

from __future__ import annotations

__all__ = ["plan_target"]

from typing import Any

from attn.config.base import Config
from attn.data.source import SourceConfig
from attn.data.source_cache import SourceCache
from attn.runs.config_classes import changed_fields
from attn.runs.table import target_job_of

NOT_SHOWN = ("root", "tracking", "data")
"""Fields that a plan shows by themselves, or not at all."""


def plan_target(kind: str, targets: list[str], overrides: list[str]) -> dict[str, Any]:
    """Open what a run would work on, and its data, and describe both; nothing is written.

    Args:
        kind: A kind without files.
        targets: What it works on; a comparison has several.

    Raises:
        AttnError: There is no such model, recipe or map store, or the overrides do not fit it.
    """
    module = target_job_of(kind)
    work = module.load({name: name for name in targets} if kind == "compare" else targets[0], overrides)
    config: Config = next(iter(work.opened.values())).config if kind == "compare" else work.config
    data = getattr(config, "data", None)
    plan: dict[str, Any] = {"kind": kind, "target": ", ".join(targets), "root": getattr(config, "root", None)}
    if isinstance(data, SourceConfig):
        records = SourceCache().get(data, labels=False).records
        plan |= {"data": f"{data.variant} {data.split}", "images": len(records)}
        plan["masked"] = sum(record.mask is not None for record in records)
    chosen = {name: value for name, value in changed_fields(config).items() if name not in NOT_SHOWN and value != {}}
    return plan | ({"labels": chosen["labels"]} if kind == "cues" else chosen)  # a cues run trains nothing
