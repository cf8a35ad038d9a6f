"""Small JSON objects that carry their own SHA-256, so that a flipped bit is seen."""

from __future__ import annotations

__all__ = ["pack", "unpack"]

import hashlib
import json
from typing import Any

from attn.store.errors import DamagedError


def pack(record: dict[str, Any]) -> bytes:
    """A record as JSON with a `sha256` of the rest."""
    return (json.dumps(record | {"sha256": _hash(record)}, sort_keys=True, indent=1) + "\n").encode()


def unpack(data: bytes, name: str) -> dict[str, Any]:
    """The record that `pack` was given.

    Args:
        name: Of the object, for the message.

    Raises:
        DamagedError: It is not what was packed.
    """
    try:
        record = json.loads(data)
        found = record.pop("sha256")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise DamagedError(f"{name} is damaged: it is no record with a SHA-256") from None
    if found != _hash(record) or data != pack(record):  # a changed space is no matter, but it is a change
        raise DamagedError(f"{name} is damaged: its SHA-256 does not match its content")
    return record


def _hash(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
