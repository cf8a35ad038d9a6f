"""Refuses stages and layers that a network does not have, before data is read or a process is started."""

from __future__ import annotations

__all__ = ["network_faults"]

from collections.abc import Callable, Sequence

from torch import nn

from attn.errors import ConfigError, Fault

ALWAYS = frozenset({"inner", "last"})
"""Layers of every network."""


def network_faults(
    prefix: str, build: Callable[[Sequence[str]], nn.Module], frozen: int, layers: Sequence[str] = ()
) -> list[Fault]:
    """The fault of a network's config; a network is built only where one is possible.

    Args:
        prefix: Of the fields in the faults.
        build: Makes the network, without weights, with these layers exposed.
        frozen: `freeze_stages`.
        layers: Feature layers that the method needs.
    """
    if frozen == 0 and ALWAYS.issuperset(layers):
        return []
    try:
        build(layers)
    except ConfigError as error:
        fault = error.faults[0]
        field = "method.layer" if fault.where == "config" else fault.where
        return [Fault(f"{prefix}{field}", fault.message, fault.hint)]
    return []
