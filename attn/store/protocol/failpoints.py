"""Labelled points of the protocol, at which tests end the process.

`reach(name)` does nothing unless a handler was installed; only a launcher of tests installs one.
"""

from __future__ import annotations

__all__ = ["POINTS", "install", "hit"]

from collections.abc import Callable

POINTS = (
    "write.part",  # local disk: the bytes lie under a temporary name
    "write.linked",  # local disk: they have their name; the folder is not yet synced
    "begin.leased",
    "begin.fenced",  # the fence stands, the head does not know it yet
    "begin.head",  # the head carries the fence
    "seal.encoded",
    "seal.written",  # a delta object is durable, nobody knows of it
    "merge.read",
    "merge.written",  # one shard's new base object is durable
    "commit.merged",  # all are
    "commit.covered",  # coverage is as promised
    "commit.claimed",  # the version number is taken
    "commit.manifest",  # the manifest stands: the version exists, no checkpoint names it
    "publish.moved",  # the head names the version
    "fork.leased",
    "gc.marked",
    "gc.tombstones",  # the versions that are to go are noted
    "gc.manifest",  # one manifest is gone
    "gc.object",  # one object is gone
)

_handler: Callable[[str], None] | None = None


def hit(name: str) -> None:
    """Say that the protocol has come to a point."""
    if _handler is not None:
        _handler(name)


def install(handler: Callable[[str], None] | None) -> None:
    """Have `handler` called with the name of each point that is reached; None takes it away."""
    global _handler
    _handler = handler
