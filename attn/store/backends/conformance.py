"""The conformance suite of storage backends. A new backend must pass it.

Each check is a function of an empty backend; `check` runs all of them. With pytest:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check, tmp_path): check(LocalBackend(str(tmp_path)))

A check raises AssertionError with the found and the expected value. Races run in threads on pickled copies of the
backend, like those of tasks and workers in other processes.
"""

from __future__ import annotations

__all__ = ["CHECKS", "Check", "check"]

import os
import pickle
import secrets
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise, product
from typing import TypeVar

from attn.store.backends.base import Backend, Entry
from attn.store.errors import DamagedError, MissingError

Check = Callable[[Backend], None]
T = TypeVar("T")

WRITERS = 12
ROUNDS = 6
BIG_BYTES = 24 * 2**20
MANY = 1050
"""More than one page of an S3 listing."""

CLOCK_SECONDS = 5.0

UNUSUAL_NAMES = (
    "run with spaces/x y.arrow",
    "a+b&c=d/100%.json",
    "per%20cent/%2e",
    "question?/hash#.json",
    "ümläut/日本語.json",
    "quote'\"/back`tick",
    "(paren)/[bracket]!~*,;:@$",
    "_under/-dash/x..y",
    f"long/{'n' * 200}",
    f"deep/{'/'.join('abcdefghij')}",
)


OUTSIDE = ("../out", "a/../../out", "/etc/passwd", "", ".", "a//b", "a/", "a\\..\\b", "a\0b", "a\nb", "a/" * 600 + "b")


def check(make: Callable[[], Backend]) -> None:
    """Run every check on a new backend.

    Args:
        make: Creates an empty backend.

    Raises:
        AssertionError: Lists every check that failed, and why.
    """
    faults: list[str] = []
    for each in CHECKS:
        try:
            each(make())
        except AssertionError as fault:
            faults.append(f"{each.__name__}: {fault}")
        except Exception as fault:  # a bad backend may do anything
            faults.append(f"{each.__name__}: {type(fault).__name__}: {fault}")
    if faults:
        raise AssertionError(f"{len(faults)} of {len(CHECKS)} checks failed:\n" + "\n".join(faults))


def create_is_exclusive(backend: Backend) -> None:
    """The second create returns False and changes nothing; repeating the first with the same bytes returns True."""
    _expect(backend.create("v/1", b"first"), True, "create of a new object")
    _expect(backend.create("v/1", b"second"), False, "create of an existing object")
    _expect(backend.read("v/1"), b"first", "content after a refused create")
    _expect(backend.create("v/1", b"first"), True, "create repeated with its own content, as after a lost answer")
    _expect(backend.create("v/2", b"first"), True, "create of another object")


def exactly_one_creates(backend: Backend) -> None:
    """Of many concurrent creates of one object exactly one wins, and its content stays."""
    for turn in range(ROUNDS):
        contents = [secrets.token_bytes(64 + 4096 * (writer % 2)) for writer in range(WRITERS)]
        jobs = [partial(_create, key=f"race/{turn}", data=data) for data in contents]
        won = _run_concurrently(jobs, backend)
        _expect(won.count(True), 1, f"winners among {WRITERS} that create at once")
        _expect(backend.read(f"race/{turn}"), contents[won.index(True)], "content after the race")


def conditional_replace(backend: Backend) -> None:
    """An object is replaced only with the tag of its present content."""
    backend.create("head", b"1")
    first = _load(backend, "head")
    _expect(backend.replace("head", b"2", first[1]), True, "replace with the present tag")
    second = _load(backend, "head")
    _expect(second[0], b"2", "content after a replace")
    _expect(second[1] != first[1], True, "the tag changes with the content")
    _expect(backend.replace("head", b"3", first[1]), False, "replace with an old tag")
    _expect(_load(backend, "head"), second, "content and tag after a refused replace")
    backend.delete("head")
    _expect(backend.replace("head", b"4", second[1]), False, "replace of an object that was deleted")
    _expect(backend.load("head"), None, "a refused replace creates nothing")


def counts_under_contention(backend: Backend) -> None:
    """A counter that several threads increment by load and replace, with retries, loses no increment."""
    backend.create("counter", _number(0))
    workers, each = 4, 5

    def increase(mine: Backend) -> int:
        refused = 0
        for _ in range(each):
            while True:
                data, tag = _load(mine, "counter")
                if mine.replace("counter", _number(int(data.split()[0]) + 1), tag):
                    break
                refused += 1
        return refused

    refused = _run_concurrently([increase] * workers, backend)
    _expect(int(_load(backend, "counter")[0].split()[0]), workers * each, f"the count ({sum(refused)} were refused)")


def shows_only_whole_objects(backend: Backend) -> None:
    """A reader never sees a partly written or partly replaced object."""
    size, turns = 2**20, 6
    backend.create("changing", bytes([255]) * size)
    done = threading.Event()

    def write(mine: Backend) -> list[str]:
        try:
            for turn in range(turns):
                mine.write(f"new/{turn}", bytes([turn]) * size)
                mine.create(f"first/{turn}", bytes([turn]) * size)
                mine.replace("changing", bytes([turn]) * size, _load(mine, "changing")[1])
        finally:
            done.set()
        return []

    def watch(mine: Backend) -> list[str]:
        faults: list[str] = []
        while True:
            last = done.is_set()
            listed = [*mine.list("new/"), *mine.list("first/")]
            faults += [f"{entry.key} is listed with {entry.size} bytes" for entry in listed if entry.size != size]
            for key in ["changing", *(f"{kind}/{turn}" for kind in ("new", "first") for turn in range(turns))]:
                data = _read_or_none(mine, key)
                if data is not None and data != data[:1] * size:
                    faults.append(f"{key} was seen with {len(data)} bytes of {len(set(data))} contents")
            if last:
                return faults

    faults = [fault for item in _run_concurrently([write, watch, watch], backend) for fault in item]
    _expect(faults, [], "torn objects")


def reads_ranges(backend: Backend) -> None:
    """Byte ranges are half-open and end at the object's end."""
    data = secrets.token_bytes(10_000)
    backend.write("r", data)
    for start, stop in ((0, None), (0, 10_000), (0, 1), (1, 2), (17, 4242), (9_999, 10_000), (9_990, None), (5, 5)):
        _expect(backend.read("r", start, stop), data[start:stop], f"bytes [{start}, {stop})")
    for start, stop in ((9_990, 20_000), (10_000, None), (10_000, 10_001), (20_000, 20_005), (20_000, None)):
        _expect(backend.read("r", start, stop), data[start:stop], f"bytes [{start}, {stop}) of 10000")


def lists(backend: Backend) -> None:
    """Listings are sorted, have sizes, respect folder and `after`, and show writes and deletes at once."""
    _expect(backend.list(""), [], "listing of an empty backend")
    _expect(backend.list("nowhere/"), [], "listing of a missing folder")
    keys = ["a/1", "a/10", "a/2", "a/b/c", "a/b/d/e", "a-b/1", "ab/1", "z"]
    for size, key in enumerate(keys):
        backend.write(key, b"x" * size)
        _expect(key in _names(backend.list("")), True, f"{key} is listed as soon as it is written")
    sizes = dict(zip(keys, range(8), strict=True))
    _expect({entry.key: entry.size for entry in backend.list("")}, sizes, "sizes in a listing")
    _expect({key: backend.size(key) for key in keys}, sizes, "sizes one by one")
    for folder in ("", "a/", "a/b/", "ab/"):
        expected = sorted(key for key in keys if key.startswith(folder))
        _expect(_names(backend.list(folder)), expected, f"names below {folder!r}")
    for after in ("a/1", "a/15", "a/b/c", "zz"):
        expected = sorted(key for key in keys if key.startswith("a/") and key > after)
        _expect(_names(backend.list("a/", after)), expected, f"names below 'a/' after {after!r}")
    backend.delete("a/10")
    _expect("a/10" in _names(backend.list("a/")), False, "a deleted object is listed")


def lists_thousands(backend: Backend) -> None:
    """A listing is complete, even if it takes several pages."""
    keys = [f"many/{number:06d}" for number in range(MANY)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: backend.write(key, b"1"), keys))
    _expect(_names(backend.list("many/")) == keys, True, f"a listing of {MANY} is complete and in order")
    _expect(_names(backend.list("many/", keys[MANY - 3])), keys[-2:], "the last two")


def deletes(backend: Backend) -> None:
    """A deleted object is gone, can be deleted again, and its name can be used again."""
    backend.create("d/1", b"old")
    backend.write("d/2", b"other")
    backend.delete("d/1")
    backend.delete("d/1")
    backend.delete("never/was")
    _expect(_read_or_none(backend, "d/1"), None, "a deleted object")
    _expect(backend.read("d/2"), b"other", "the object beside it")
    _expect(backend.create("d/1", b"new"), True, "create of an object that was deleted")
    _expect(backend.read("d/1"), b"new", "its content")


def answers_for_missing_objects(backend: Backend) -> None:
    """For a missing object `read` raises `MissingError`, `load` and `size` return None, and `replace` returns False."""
    for start, stop in ((0, None), (5, 10)):
        message = _error_of(MissingError, partial(backend.read, "no/such", start, stop))
        _expect("no/such" in message, True, f"the error names the object ({message})")
    _expect(backend.load("no/such"), None, "load of a missing object")
    _expect(backend.size("no/such"), None, "size of a missing object")
    _expect(backend.replace("no/such", b"1", "tag"), False, "replace of a missing object")
    _expect(backend.list(""), [], "reading creates nothing")


def reaches_nothing_outside(backend: Backend) -> None:
    """Every method refuses names that are absolute, lead outside of the store, or are invalid."""
    given = {"read": 0, "size": 0, "write": 1, "create": 1, "load": 0, "replace": 2, "delete": 0}
    for key, name in product(OUTSIDE, given):
        message = _error_of(DamagedError, partial(getattr(backend, name), key, *(b"1", "tag")[: given[name]]))
        _expect("not a valid object name" in message, True, f"{name} of {key!r} says why ({message})")
    _expect(backend.list(""), [], "objects afterwards")


def holds_big_objects(backend: Backend) -> None:
    """A large object and ranges of it read back byte for byte."""
    block = secrets.token_bytes(2**20 + 7)
    data = (block * (BIG_BYTES // len(block) + 1))[:BIG_BYTES]
    backend.write("big", data)
    _expect(backend.read("big") == data, True, "a big object reads back unchanged")
    _expect([entry.size for entry in backend.list("")], [BIG_BYTES], "its size")
    for start in (0, 8 * 2**20 - 3, BIG_BYTES - 70_000):
        _expect(backend.read("big", start, start + 70_000) == data[start : start + 70_000], True, f"70 kB at {start}")
    _expect(backend.create("big2", data), True, "create of a big object")
    _expect(backend.create("big2", data[:-1]), False, "create of an existing big object")


def holds_empty_objects(backend: Backend) -> None:
    """An object of zero bytes can be written, read, listed and not created again."""
    backend.write("empty", b"")
    _expect(backend.read("empty"), b"", "content")
    _expect(backend.read("empty", 0, 10), b"", "a range of it")
    _expect(_load(backend, "empty")[0], b"", "loaded")
    _expect(backend.create("empty", b"1"), False, "create of an existing empty object")
    _expect([entry.size for entry in backend.list("")], [0], "its size in a listing")


def accepts_unusual_names(backend: Backend) -> None:
    """Names with spaces, URL metacharacters and non-Latin scripts are kept unchanged."""
    for key in UNUSUAL_NAMES:
        backend.write(key, key.encode())
    for key in UNUSUAL_NAMES:
        _expect(backend.read(key), key.encode(), f"content of {key!r}")
        folder = key.rpartition("/")[0] + "/"
        _expect(key in _names(backend.list(folder)), True, f"{key!r} is listed in its folder")
    _expect(set(_names(backend.list(""))), set(UNUSUAL_NAMES), "the listing of all")
    ordered = _names(backend.list(""))
    _expect(all(first < second for first, second in pairwise(ordered)), True, f"{ordered} is in order")
    for key in UNUSUAL_NAMES:
        backend.delete(key)
    _expect(backend.list(""), [], "the listing after all are deleted")


def dates_by_its_own_clock(backend: Backend) -> None:
    """An object's modification time and `now` are on the same clock, whatever this machine's clock says."""
    before = backend.now()
    backend.write("dated", b"1")
    after = backend.now()
    (entry,) = backend.list("")
    close = before - CLOCK_SECONDS <= entry.modified <= after + CLOCK_SECONDS
    _expect(close, True, f"an object written between {before} and {after} is dated {entry.modified}; near")


def leaves_nothing_behind(backend: Backend) -> None:
    """Successful and refused writes leave no temporary files and no other objects."""
    backend.create("k/1", b"1")
    backend.create("k/1", b"2")
    backend.write("k/2", b"3")
    _, tag = _load(backend, "k/1")
    backend.replace("k/1", b"4", "stale")
    backend.replace("k/1", b"5", tag)
    backend.now()
    _expect(_names(backend.list("")), ["k/1", "k/2"], "names")
    _expect(_names(backend.leftovers()), [], "leftovers")


def survives_pickling(backend: Backend) -> None:
    """A pickled copy, as Ray sends it, accesses the same objects."""
    copy = pickle.loads(pickle.dumps(backend))
    backend.write("t/1", b"1")
    _expect(copy.read("t/1"), b"1", "the original's object, read by the copy")
    _expect(copy.create("t/1", b"2"), False, "create by the copy of what the original wrote")
    copy.write("t/2", b"2")
    _expect(_names(backend.list("t/")), ["t/1", "t/2"], "names")
    _expect(copy.uri, backend.uri, "the copy's URI")


def has_a_uri_and_a_path(backend: Backend) -> None:
    """The URI has no secrets, and `path`, if there is one, is the object's file."""
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY") or None
    for text in (backend.uri, repr(backend), str(backend)):
        # A test server's short key may occur in the URI by chance.
        leaked = secret is not None and len(secret) > 8 and secret in text
        _expect(leaked, False, "the secret key in the backend's text")
    _expect(bool(backend.uri), True, "a URI")
    backend.write("f/1", b"content")
    path = backend.path("f/1")
    if path is not None:
        _expect(path.read_bytes(), b"content", f"the file {path}")


CHECKS: tuple[Check, ...] = (
    create_is_exclusive,
    exactly_one_creates,
    conditional_replace,
    counts_under_contention,
    shows_only_whole_objects,
    reads_ranges,
    lists,
    lists_thousands,
    deletes,
    answers_for_missing_objects,
    reaches_nothing_outside,
    holds_big_objects,
    holds_empty_objects,
    accepts_unusual_names,
    dates_by_its_own_clock,
    leaves_nothing_behind,
    survives_pickling,
    has_a_uri_and_a_path,
)


def _expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def _error_of(kind: type[Exception], use: Callable[[], object]) -> str:
    try:
        result = use()
    except kind as error:
        return str(error)
    raise AssertionError(f"{use} gave {result!r}, expected {kind.__name__}")


def _run_concurrently(jobs: Iterable[Callable[[Backend], T]], backend: Backend) -> list[T]:
    """Run jobs at the same time, each in a thread with a pickled copy of the backend."""
    waiting = list(jobs)
    barrier = threading.Barrier(len(waiting))

    def run(job: Callable[[Backend], T], mine: Backend) -> T:
        barrier.wait()
        return job(mine)

    with ThreadPoolExecutor(len(waiting)) as pool:
        futures = [pool.submit(run, job, pickle.loads(pickle.dumps(backend))) for job in waiting]
        return [future.result() for future in futures]


def _create(backend: Backend, key: str, data: bytes) -> bool:
    return backend.create(key, data)


def _number(value: int) -> bytes:
    """A number with a nonce, as bytes."""
    return f"{value} {secrets.token_hex(8)}".encode()


def _load(backend: Backend, key: str) -> tuple[bytes, str]:
    result = backend.load(key)
    if result is None:
        raise AssertionError(f"load of {key!r}, which was written, gave None")
    return result


def _read_or_none(backend: Backend, key: str) -> bytes | None:
    try:
        return backend.read(key)
    except MissingError:
        return None


def _names(entries: Iterable[Entry]) -> list[str]:
    return [entry.key for entry in entries]
