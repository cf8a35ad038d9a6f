"""File systems of a test's own, in namespaces that a user may make without root where the kernel allows it."""

from __future__ import annotations

__all__ = ["mount_is_refused"]


def mount_is_refused(said: str) -> bool:
    """Whether `unshare` or `mount` said, in English, that this user may make no namespace or mount nothing in it."""
    return said.startswith("unshare: ") or (said.startswith("mount: ") and "permission denied" in said)
