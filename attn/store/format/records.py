"""Records: small JSON objects with a schema and their own SHA-256, which detects flipped bits.

The hash only shows that a record is complete, not that it makes sense: anyone who can write to a store can compute it.
So every record is also validated against its schema, a frozen dataclass with fields of the types below.
"""

from __future__ import annotations

__all__ = [
    "MAX_RECORD_BYTES",
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
    "validate_record",
]

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from attn.store.backends.base import MAX_RECORD_BYTES
from attn.store.errors import DamagedError

if TYPE_CHECKING:
    from attn.store.backends import Backend

T = TypeVar("T")

_MAX_INT = 2**53
_SHOWN = 80

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
"""Pattern of the names of runs, tags and sessions, which become parts of keys."""

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Hex = Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=_MAX_INT)]
Number = Annotated[int, Field(ge=1, le=_MAX_INT)]
Seconds = Annotated[float, Field(ge=0, le=1e11)]

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""`__pydantic_config__` of all record dataclasses."""


def pack(record: dict[str, Any]) -> bytes:
    """Encode a record as JSON with its `sha256`."""
    return (json.dumps(record | {"sha256": _hash(record)}, sort_keys=True, indent=1) + "\n").encode()


def unpack(data: bytes, name: str) -> dict[str, Any]:
    """Decode a record and check its `sha256`, but not its schema.

    Args:
        name: Name of the object, for the message.

    Raises:
        DamagedError: It is not JSON, or its hash differs.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise DamagedError(f"{name} is damaged: it has over {MAX_RECORD_BYTES >> 20} MiB, which no record has")
    try:
        record = json.loads(data)
        result = record.pop("sha256")
        # Compare the bytes too: changed whitespace or field order is also damage.
        whole = result == _hash(record) and data == pack(record)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise DamagedError(f"{name} is damaged: it is not a JSON record with a SHA-256") from None
    if not whole:
        raise DamagedError(f"{name} is damaged: its SHA-256 does not match its content")
    return record


def validate_record(record: dict[str, Any], name: str, kind: type[T]) -> T:
    """Validate a record against its schema.

    Raises:
        DamagedError: A field is missing, unknown, of a wrong type, or out of range; the message names it.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        value = "" if first["type"] in ("missing", "json_invalid") else f" (it is {_short(first['input'])})"
        raise DamagedError(f"{name} is damaged: {where or 'the record'}: {first['msg']}{value}") from None


def parse(data: bytes, name: str, kind: type[T]) -> T:
    """Decode a record, and check its hash and schema.

    Raises:
        DamagedError: The hash differs, or the record does not fit the schema.
    """
    return validate_record(unpack(data, name), name, kind)


def read_record(backend: Backend, key: str, kind: type[T]) -> T:
    """Read a record from a store, and check its hash and schema.

    Raises:
        MissingError: There is no such record.
        DamagedError: It is damaged.
    """
    return parse(backend.read(key, 0, MAX_RECORD_BYTES + 1), f"{backend.uri}: {key}", kind)


def _hash(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@functools.cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
