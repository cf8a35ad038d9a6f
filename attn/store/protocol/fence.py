"""Fences and heads: which session of a run may commit, and which version the newest durable checkpoint names.

A session takes the next fence of its run by creating `fence/<run>/<number>.json` exclusively. From then on older
sessions cannot commit: they check for a newer fence before each commit, and they cannot move the head, which carries
the newer fence.
"""

from __future__ import annotations

__all__ = [
    "Fence",
    "Head",
    "check_fence",
    "create_fence",
    "end_session",
    "fences",
    "head_key",
    "newest_fence",
    "publish",
    "read_head",
    "take_fence",
    "write_head",
]

import dataclasses
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from attn.store.backends import Backend
from attn.store.errors import DamagedError, FencedError, StoreError
from attn.store.format.manifest import Manifest
from attn.store.format.records import STRICT, Count, Hex, Name, Number, Seconds, Sha256, pack, parse, read_record
from attn.store.protocol import failpoints

_TRIES = 64
_MAX_SESSIONS = 10**6
_NUMBER = re.compile(r"fence/[^/]+/([0-9]{6})[.]json")


@dataclass(frozen=True)
class Fence:
    """One session's right to write a run.

    Attributes:
        from_version: The version that the session continues.
        floor: All versions of this session have greater numbers.
    """

    __pydantic_config__ = STRICT

    run: Name
    number: Number
    attempt: Name
    from_version: Count
    floor: Count
    created: Seconds


@dataclass(frozen=True)
class Head:
    """The version of a run that the newest durable checkpoint names."""

    __pydantic_config__ = STRICT

    run: Name
    version: Count
    manifest_sha256: Sha256 | Literal[""]
    fence: Number
    nonce: Hex


def _fence_key(run: str, number: int) -> str:
    return f"fence/{run}/{number:06d}.json"


def head_key(run: str) -> str:
    """Name of a run's head."""
    return f"heads/{run}.json"


def take_fence(backend: Backend, run: str, from_version: int, floor: int) -> Fence:
    """Take the next fence of a run; older sessions of the run can no longer commit."""
    head = read_head(backend, run)
    number = max([*_numbers(backend, run), head[0].fence if head else 0], default=0) + 1
    if number + _TRIES > _MAX_SESSIONS:
        raise DamagedError(
            f"{backend.uri}: the records of run {run} name session {number - 1}; no run has that many sessions"
        )
    for candidate in range(number, number + _TRIES):
        if fence := create_fence(backend, run, candidate, from_version, floor):
            return fence
    raise StoreError(f"{backend.uri}: {_TRIES} other sessions of run {run} have begun meanwhile; begin one at a time")


def create_fence(backend: Backend, run: str, number: int, from_version: int, floor: int) -> Fence | None:
    """Take one fence; None if another session has taken it."""
    fence = Fence(run, number, f"{number:06d}-{secrets.token_hex(8)}", from_version, floor, time.time())
    return fence if backend.create(_fence_key(run, number), pack(dataclasses.asdict(fence))) else None


def end_session(backend: Backend, run: str, manifest: Manifest, floor: int) -> Fence:
    """Take the next fence when a session ends its run with a version, so that it can commit no more.

    Args:
        manifest: Of the version, which the session committed or, without a commit, continued.

    Raises:
        FencedError: Another session of the run has begun since.
    """
    newest = newest_fence(backend, run)
    if newest is not None:
        committed = (manifest.run, manifest.fence) == (run, newest.number)
        if committed or newest.from_version == manifest.version:
            if fence := create_fence(backend, run, newest.number + 1, manifest.version, floor):
                return fence
            newest = newest_fence(backend, run)
    session = "none" if newest is None else newest.number
    raise FencedError(
        f"{backend.uri}: run {run} was restarted as session {session}; this process, which ends the run with version "
        f"{manifest.version}, is stale and may no longer write: stop it"
    )


def _numbers(backend: Backend, run: str, after: str = "") -> list[int]:
    names = [_NUMBER.fullmatch(entry.key) for entry in backend.list(f"fence/{run}/", after=after)]
    return [int(name[1]) for name in names if name]


def newest_fence(backend: Backend, run: str) -> Fence | None:
    """The fence of a run's newest session, the one that may commit.

    Raises:
        DamagedError: The fence is damaged.
    """
    number = max(_numbers(backend, run), default=None)
    return None if number is None else _read_fence(backend, run, number)


def fences(backend: Backend, run: str) -> Iterator[Fence | DamagedError]:
    """Every fence of a run; a damaged one as its error."""
    for number in _numbers(backend, run):
        try:
            yield _read_fence(backend, run, number)
        except DamagedError as error:
            yield error


def _read_fence(backend: Backend, run: str, number: int) -> Fence:
    key = _fence_key(run, number)
    fence = read_record(backend, key, Fence)
    if (fence.run, fence.number) != (run, number) or fence.from_version > fence.floor:
        raise DamagedError(
            f"{backend.uri}: {key} is damaged: it is session {fence.number} of run {fence.run}, which continues "
            f"version {fence.from_version} with versions above {fence.floor}"
        )
    return fence


def check_fence(backend: Backend, run: str, number: int) -> None:
    """Check that a fence is the newest of its run.

    Raises:
        FencedError: A newer session has begun.
    """
    if newer := _numbers(backend, run, _fence_key(run, number)):
        raise FencedError(
            f"{backend.uri}: run {run} was restarted as session {newer[-1]}; this process (session {number}) is stale "
            "and may no longer write: stop it"
        )


def publish(backend: Backend, run: str, version: int, manifest_sha256: str, fence: int) -> None:
    """Set a run's head to a version of the newest session. A head never moves back within a session.

    Raises:
        FencedError: Another session of the run has begun.
    """
    check_fence(backend, run, fence)
    write_head(backend, run, version, manifest_sha256, fence)
    failpoints.hit("publish.moved")


def read_head(backend: Backend, run: str) -> tuple[Head, str] | None:
    """A run's head, and the tag that `Backend.replace` needs to replace it."""
    result = backend.load(head_key(run))
    if result is None:
        return None
    data, tag = result
    head = parse(data, f"{backend.uri}: {head_key(run)}", Head)
    if head.run != run or (head.version == 0) != (head.manifest_sha256 == ""):
        raise DamagedError(
            f"{backend.uri}: {head_key(run)} is damaged: it names version {head.version} of run {head.run}"
        )
    return head, tag


def write_head(backend: Backend, run: str, version: int, manifest_sha256: str, fence: int) -> None:
    """Set a run's head to a version, unless it names a later version of the same session.

    Raises:
        FencedError: The head is of a newer session.
        StoreError: Other processes kept changing the head.
    """
    for _ in range(_TRIES):
        head = Head(run, version, manifest_sha256, fence, secrets.token_hex(16))
        data = pack(dataclasses.asdict(head))
        result = read_head(backend, run)
        if result is None:
            if backend.create(head_key(run), data):
                return
            continue
        if result[0].fence > fence:
            raise FencedError(
                f"{backend.uri}: the head of run {run} belongs to session {result[0].fence}; this process (session "
                f"{fence}) is stale and may no longer write: stop it"
            )
        if result[0].fence == fence and result[0].version > version:
            return
        if backend.replace(head_key(run), data, result[1]):
            return
    raise StoreError(f"{backend.uri}: the head of run {run} changes faster than it can be written; try again")
