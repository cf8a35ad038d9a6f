"""Checks whether machines are fit for training: collects facts about each, and judges them."""

from __future__ import annotations

__all__ = ["Facts", "Finding", "inspect_node", "judge"]

from attn.health.finding import Finding
from attn.health.judge import judge
from attn.health.node import Facts, inspect_node
