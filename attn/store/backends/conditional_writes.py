"""Whether a place honours conditional writes, asked by trying."""

from __future__ import annotations

__all__ = ["check_conditions"]

import contextlib
import secrets

from attn.store.backends import Backend
from attn.store.errors import ConditionsIgnoredError, StoreError


def check_conditions(backend: Backend) -> None:
    """Try both conditional writes on an object of no meaning.

    Raises:
        ConditionsIgnoredError: The place ignores one of them; two writers could overwrite each other's commits.
    """
    key = f"probe/{secrets.token_hex(16)}"
    first, second, third, fourth = (secrets.token_bytes(16) for _ in range(4))
    try:
        made = backend.create(key, first)
        again = backend.create(key, second)
        found = backend.load(key)
        if not made or again or found is None or found[0] != first:
            raise _ignored(backend, "overwrites an object that was to be created only if absent (If-None-Match)")
        replaced = backend.replace(key, third, found[1])
        if not replaced:
            raise _ignored(backend, "refuses to replace an object that has not changed (If-Match)")
        stale = backend.replace(key, fourth, found[1])
        if stale or backend.read(key) != third:
            raise _ignored(backend, "replaces an object that has changed since (If-Match)")
    finally:
        with contextlib.suppress(StoreError):  # what went wrong before says more; `gc` takes it away
            backend.delete(key)


def _ignored(backend: Backend, what: str) -> ConditionsIgnoredError:
    return ConditionsIgnoredError(
        f"{backend.uri}: the object store {what}, so two writers could overwrite each other; use one with conditional "
        "writes (Amazon S3, MinIO, R2, Ceph without bucket versioning), or a folder"
    )
