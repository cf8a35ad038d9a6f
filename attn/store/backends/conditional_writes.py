"""Checks by trial that a backend enforces conditional writes."""

from __future__ import annotations

__all__ = ["check_conditions"]

import contextlib
import secrets

from attn.store.backends import Backend
from attn.store.errors import ConditionsIgnoredError, StoreError


def check_conditions(backend: Backend) -> None:
    """Try both conditional writes on a temporary object.

    Raises:
        ConditionsIgnoredError: The backend ignores one of them; two writers could overwrite each other's commits.
    """
    key = f"probe/{secrets.token_hex(16)}"
    first, second, third, fourth = (secrets.token_bytes(16) for _ in range(4))
    try:
        created = backend.create(key, first)
        again = backend.create(key, second)
        result = backend.load(key)
        if not created or again or result is None or result[0] != first:
            raise _ignored(backend, "overwrites an existing object despite If-None-Match")
        replaced = backend.replace(key, third, result[1])
        if not replaced:
            raise _ignored(backend, "refuses to replace an unchanged object with If-Match")
        stale = backend.replace(key, fourth, result[1])
        if stale or backend.read(key) != third:
            raise _ignored(backend, "replaces a changed object despite If-Match")
    finally:
        with contextlib.suppress(StoreError):  # do not hide the first error; `gc` removes the object
            backend.delete(key)


def _ignored(backend: Backend, what: str) -> ConditionsIgnoredError:
    return ConditionsIgnoredError(
        f"{backend.uri}: the object store {what}, so two writers could overwrite each other; use one with conditional "
        "writes (Amazon S3, MinIO, R2, Ceph without bucket versioning), or a folder"
    )
