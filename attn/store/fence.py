"""Fences and heads: which session of a run may commit, and which version readers shall see.

Each session takes the next fence of its run (`fence/<run>/<number>.json`, created exclusively), and from then on older
sessions are out: they look before they commit, and the head, which they would have to move, carries the newer fence.
"""

from __future__ import annotations

__all__ = ["Fence", "Head", "check_fence", "create_fence", "newest_fence", "read_head", "take_fence", "write_head"]

import dataclasses
import secrets
import time
from dataclasses import dataclass

from attn.store.backends import Backend
from attn.store.errors import FencedError, StoreError
from attn.store.records import pack, unpack

_TRIES = 64


@dataclass(frozen=True)
class Fence:
    """One session's right to write a run.

    Attributes:
        from_version: The version that it continues.
        floor: Versions of this session have greater numbers.
    """

    run: str
    number: int
    attempt: str
    from_version: int
    floor: int
    created: float


@dataclass(frozen=True)
class Head:
    """The version of a run that the newest durable checkpoint names."""

    run: str
    version: int
    manifest_sha256: str
    fence: int
    nonce: str


def _fence_key(run: str, number: int) -> str:
    return f"fence/{run}/{number:06d}.json"


def _head_key(run: str) -> str:
    return f"heads/{run}.json"


def take_fence(backend: Backend, run: str, from_version: int, floor: int) -> Fence:
    """Shut older sessions of a run out."""
    taken, head = backend.list(f"fence/{run}/"), read_head(backend, run)
    number = max(_number(taken[-1].key) if taken else 0, head[0].fence if head else 0) + 1
    for candidate in range(number, number + _TRIES):
        if fence := create_fence(backend, run, candidate, from_version, floor):
            return fence
    raise StoreError(f"{backend.uri}: {_TRIES} other sessions of run {run} have begun meanwhile; begin one at a time")


def create_fence(backend: Backend, run: str, number: int, from_version: int, floor: int) -> Fence | None:
    """Take one fence; None where it is taken."""
    fence = Fence(run, number, f"{number:06d}-{secrets.token_hex(8)}", from_version, floor, time.time())
    return fence if backend.create(_fence_key(run, number), pack(dataclasses.asdict(fence))) else None


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].partition(".")[0])


def newest_fence(backend: Backend, run: str) -> Fence | None:
    """The fence of the session that may write a run."""
    taken = backend.list(f"fence/{run}/")
    if not taken:
        return None
    key = taken[-1].key
    return Fence(**unpack(backend.read(key), f"{backend.uri}: {key}"))


def check_fence(backend: Backend, run: str, number: int) -> None:
    """Raise unless a fence is the newest of its run.

    Raises:
        FencedError: A session has begun since.
    """
    newer = backend.list(f"fence/{run}/", after=_fence_key(run, number))
    if newer:
        raise FencedError(
            f"{backend.uri}: run {run} was begun again (session {_number(newer[-1].key)}) after this session "
            f"({number}), which has no say any more: end it"
        )


def read_head(backend: Backend, run: str) -> tuple[Head, str] | None:
    """A run's head and the tag for replacing it."""
    found = backend.load(_head_key(run))
    if found is None:
        return None
    data, tag = found
    return Head(**unpack(data, f"{backend.uri}: {_head_key(run)}")), tag


def write_head(backend: Backend, run: str, version: int, manifest_sha256: str, fence: int) -> None:
    """Have a run's head name a version, unless a newer fence has written it.

    Raises:
        FencedError: One has.
        StoreError: Others change it all the time.
    """
    for _ in range(_TRIES):
        head = Head(run, version, manifest_sha256, fence, secrets.token_hex(16))
        data = pack(dataclasses.asdict(head))
        found = read_head(backend, run)
        if found is None:
            if backend.create(_head_key(run), data):
                return
            continue
        if found[0].fence > fence:
            raise FencedError(
                f"{backend.uri}: the head of run {run} belongs to session {found[0].fence}, this is session {fence}; "
                "it has no say any more: end it"
            )
        if backend.replace(_head_key(run), data, found[1]):
            return
    raise StoreError(f"{backend.uri}: the head of run {run} changes faster than it can be written; try again")
