"""Records: small JSON objects that carry their own SHA-256, so that a flipped bit is seen, with a schema for each kind.

A hash says that a record is what somebody wrote, not that it makes sense: who can write to a store can sign anything.
So a record is believed only once it fits the schema of its kind, a frozen dataclass whose fields are annotated with the
types below.
"""

from __future__ import annotations

__all__ = [
    "LARGEST",
    "NAME",
    "STRICT",
    "Count",
    "Hex",
    "Name",
    "Number",
    "Seconds",
    "Sha256",
    "unpack",
    "pack",
    "parse",
    "read_record",
    "typed",
]

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from attn.store.backends.base import MOST_LOADED
from attn.store.errors import DamagedError

if TYPE_CHECKING:
    from attn.store.backends import Backend

T = TypeVar("T")

LARGEST = MOST_LOADED
"""Bytes of a record; a manifest of 10,000 shards has 4 MB."""
_MOST = 2**53
_SHOWN = 80

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
"""Of runs, tags and sessions, which are parts of keys."""

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Hex = Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Number = Annotated[int, Field(ge=1, le=_MOST)]
Seconds = Annotated[float, Field(ge=0, le=1e11)]

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Of the dataclasses that are records, as `__pydantic_config__`."""


def pack(record: dict[str, Any]) -> bytes:
    """A record as JSON with a `sha256` of the rest."""
    return (json.dumps(record | {"sha256": _hash(record)}, sort_keys=True, indent=1) + "\n").encode()


def unpack(data: bytes, name: str) -> dict[str, Any]:
    """The record that `pack` was given, whatever it says.

    Args:
        name: Of the object, for the message.

    Raises:
        DamagedError: It is not what was packed.
    """
    if len(data) > LARGEST:
        raise DamagedError(f"{name} is damaged: it has over {LARGEST >> 20} MiB, which no record has")
    try:
        record = json.loads(data)
        found = record.pop("sha256")
        # Spaces, and the order of the fields, mean nothing, but that they changed says that something did.
        whole = found == _hash(record) and data == pack(record)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise DamagedError(f"{name} is damaged: it is no record with a SHA-256") from None
    if not whole:
        raise DamagedError(f"{name} is damaged: its SHA-256 does not match its content")
    return record


def typed(record: dict[str, Any], name: str, kind: type[T]) -> T:
    """A record as what it is to be.

    Raises:
        DamagedError: A field is missing, unknown, of another type, or out of range; names it.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        value = "" if first["type"] in ("missing", "json_invalid") else f" (it is {_short(first['input'])})"
        raise DamagedError(f"{name} is damaged: {where or 'the record'}: {first['msg']}{value}") from None


def parse(data: bytes, name: str, kind: type[T]) -> T:
    """The record that `pack` was given, as what it is to be.

    Raises:
        DamagedError: It is not what was packed, or does not fit the schema.
    """
    return typed(unpack(data, name), name, kind)


def read_record(backend: Backend, key: str, kind: type[T]) -> T:
    """A record out of a store.

    Raises:
        MissingError: There is none.
        DamagedError: It is damaged.
    """
    return parse(backend.read(key, 0, LARGEST + 1), f"{backend.uri}: {key}", kind)


def _hash(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@functools.cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
