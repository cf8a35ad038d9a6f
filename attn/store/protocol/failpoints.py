"""Failpoints: named points of the protocol at which tests kill the process.

`hit(name)` does nothing unless a handler is installed; only tests install one.
"""

from __future__ import annotations

__all__ = ["POINTS", "install", "hit"]

from collections.abc import Callable

POINTS = (
    "write.part",  # local disk: the bytes are written under a temporary name
    "write.linked",  # local disk: the file has its final name; the folder is not synced yet
    "begin.leased",
    "begin.fenced",  # the fence is written, the head does not carry it yet
    "begin.head",  # the head carries the fence
    "seal.encoded",
    "seal.written",  # a delta object is durable, but nothing refers to it
    "merge.read",
    "merge.written",  # one shard's new base object is durable
    "commit.merged",  # all new base objects are durable
    "commit.covered",  # the coverage check passed
    "commit.claimed",  # the version number is taken
    "commit.manifest",  # the manifest is written: the version exists, but no checkpoint names it
    "publish.moved",  # the head names the version
    "fork.leased",
    "gc.marked",
    "gc.tombstones",  # the versions to remove have tombstones
    "gc.manifest",  # one manifest is removed
    "gc.object",  # one object is removed
)

_handler: Callable[[str], None] | None = None


def hit(name: str) -> None:
    """Call the handler, if there is one, with the name of a failpoint."""
    if _handler is not None:
        _handler(name)


def install(handler: Callable[[str], None] | None) -> None:
    """Install the handler that `hit` calls; None removes it."""
    global _handler
    _handler = handler
