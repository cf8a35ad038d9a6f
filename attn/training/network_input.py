"""The input that a network's own weights were trained on: its normalisation and interpolation."""

from __future__ import annotations

__all__ = ["input_notices", "own_input"]

from typing import Any

from attn.data.transforms import InputConfig
from attn.models.backbone import NetworkInput, architecture

FIELDS = ("mean", "std", "interpolation")


def own_input(input: InputConfig, name: str) -> InputConfig:
    """An input whose fields that were not given are those of a network.

    Args:
        name: An architecture's.
    """
    if (trained := architecture(name).input) is None:
        return input
    own = {field: value for field, value in _values(trained).items() if field not in input.model_fields_set}
    return (
        input.model_copy(update=own) if any(getattr(input, field) != value for field, value in own.items()) else input
    )


def input_notices(input: InputConfig, name: str, prefix: str = "") -> list[str]:
    """A message if an input is not what a network's own weights were trained on.

    Args:
        prefix: Of the fields in the message.
    """
    if (trained := architecture(name).input) is None:
        return []
    other = {field: value for field, value in _values(trained).items() if getattr(input, field) != value}
    if not other:
        return []
    given = ", ".join(f"{prefix}input.{field}={_shown(getattr(input, field))}" for field in other)
    own = ", ".join(f"{field} {_shown(value)}" for field, value in other.items())
    return [f"{given}: {name} was trained with {own}; leave the fields out to have the network's own"]


def _values(trained: NetworkInput) -> dict[str, Any]:
    return {field: getattr(trained, field) for field in FIELDS}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"[{', '.join(f'{one:g}' for one in value)}]"
