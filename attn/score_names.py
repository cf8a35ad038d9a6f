"""Names of scores in files of earlier versions, and what they are called now.

A score has the name that `attn evaluate` gives it (`mean_ap`); `val/` says that a training took it on its validation
split.
"""

from __future__ import annotations

__all__ = ["FORMER_NAMES", "current_name", "current_names"]

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")
FORMER_NAMES = {"val/mAP": "val/mean_ap", "val/auc": "val/mean_auc"}
"""Today's name by the name that version 0.1 wrote."""


def current_name(name: str) -> str:
    """Today's name of a score; any prefix (`best/` of a sweep) stays."""
    for former, name_now in FORMER_NAMES.items():
        if name == former or name.endswith(f"/{former}"):
            return name.removesuffix(former) + name_now
    return name


def current_names(values: Mapping[str, V]) -> dict[str, V]:
    """Scores by today's names, in their order."""
    return {current_name(name): value for name, value in values.items()}
