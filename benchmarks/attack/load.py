"""A service under load: how it answers, whether `/healthz` still does, and what memory it takes meanwhile."""

from __future__ import annotations

__all__ = ["Figures", "attack", "table"]

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from services.local_runner import MARK
from tests.services.server import Server

SUBMITS, CLIENTS = 1500, 32
SLOW, SLOW_SECONDS = 300, 20.0
BODIES, BODY_CLIENTS, BODY_BYTES = 32, 8, 50 << 20
LISTS, LIST_CLIENTS = 80, 8
PULSE_SECONDS = 0.1
HUNG_SECONDS = 120.0
"""A request that takes longer counts as hung, and as the status `none`."""


@dataclass
class Figures:
    """What came of one kind of load.

    Attributes:
        answers: Seconds of each answer to the load itself.
        health: Seconds of each answer to `/healthz`, on a connection of its own, asked for beside the load.
        memory: The most that the service's process had, in bytes.
    """

    name: str
    statuses: Counter[str] = field(default_factory=Counter[str])
    answers: list[float] = field(default_factory=list[float])
    health: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    memory: int = 0


class Target:
    """The service as its clients see it."""

    def __init__(self, server: Server) -> None:
        address = urlsplit(server.url)
        self.host, self.port = address.hostname or "", address.port or 0
        self.process = psutil.Process(server.process.pid)
        self.token = f"Authorization: Bearer {server.token}\r\n"

    async def ask(self, method: str, path: str, body: bytes = b"", *, figures: Figures | None = None) -> bytes:
        """One request on a connection of its own; its body's answer, empty where there is none."""
        begun = time.perf_counter()
        status, answer = "none", b""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(HUNG_SECONDS):
                status, answer = await self._exchange(method, path, body)
        if figures is not None:
            figures.statuses[status] += 1
            figures.answers.append(time.perf_counter() - begun)
        return answer

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[str, bytes]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{self.token}"
            kind = "Content-Type: application/json\r\n" if body else ""
            writer.write(f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode())
            for at in range(0, len(body), 1 << 20):
                writer.write(body[at : at + (1 << 20)])
                await writer.drain()
            answered = await reader.read()
            first, _, rest = answered.partition(b"\r\n\r\n")
            return (first.split()[1].decode(), rest) if first else ("none", b"")
        finally:
            writer.close()

    async def pulse(self, figures: Figures) -> None:
        """Ask for `/healthz` again and again, and look at the memory, until cancelled."""
        while True:
            health = Figures("")
            await self.ask("GET", "/healthz", figures=health)
            figures.health += health.answers
            figures.statuses.update(f"healthz {status}" for status in health.statuses if status != "200")
            figures.memory = max(figures.memory, self.process.memory_info().rss)
            await asyncio.sleep(PULSE_SECONDS)


def attack(only: list[str] | None = None) -> list[Figures]:
    """Every kind of load, or some, against `attn serve` on this machine, with a job that keeps its only slot."""
    with tempfile.TemporaryDirectory(prefix="attn-attack-") as folder:
        server = Server(Path(folder, "runs"), "--max-queued", str(SUBMITS))
        try:
            with _occupied(server):
                return asyncio.run(_attack(Target(server), only))
        finally:
            server.kill()


async def _attack(target: Target, only: list[str] | None) -> list[Figures]:
    loads: dict[str, Callable[[Target, Figures], Awaitable[None]]] = {
        "nothing": _nothing,
        f"{SUBMITS} submits by {CLIENTS} clients": _submits,
        f"{LISTS} pages of 100 jobs by {LIST_CLIENTS} clients": _lists,
        "all pages of 500, one after the other": _all_pages,
        f"{SLOW} connections, a byte of a header a second each": _slow,
        f"{BODIES} bodies of {BODY_BYTES >> 20} MB by {BODY_CLIENTS} clients": _bodies,
    }
    done: list[Figures] = []
    for name, load in loads.items():
        if only and not any(word in name for word in only):
            continue
        figures = Figures(name)
        async with _beside(target.pulse(figures)):
            begun = time.perf_counter()
            await load(target, figures)
            figures.seconds = time.perf_counter() - begun
        done.append(figures)
        print(_row(figures), flush=True)
    return done


async def _nothing(target: Target, figures: Figures) -> None:
    await asyncio.sleep(5)


async def _submits(target: Target, figures: Figures) -> None:
    async def submit(number: int) -> None:
        body = {"id": f"j{number:04d}", "kind": "evaluate", "target": "absent", "priority": number % 3}
        await target.ask("POST", "/jobs", json.dumps(body).encode(), figures=figures)

    await _by(CLIENTS, SUBMITS, submit)


async def _lists(target: Target, figures: Figures) -> None:
    async def ask(number: int) -> None:  # each another question, so that none is answered by another's answer
        await target.ask("GET", f"/jobs?limit=100&client={number}", figures=figures)

    await _by(LIST_CLIENTS, LISTS, ask)


async def _all_pages(target: Target, figures: Figures) -> None:
    cursor, seen = "", set[str]()
    while True:
        page = json.loads(await target.ask("GET", f"/jobs?limit=500{cursor}", figures=figures))
        seen.update(job["id"] for job in page["jobs"])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    figures.name += f" ({len(seen)} jobs)"


async def _slow(target: Target, figures: Figures) -> None:
    async def drip() -> None:
        end = time.perf_counter() + SLOW_SECONDS
        while time.perf_counter() < end:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(target.host, target.port)
                writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
                while time.perf_counter() < end and not reader.at_eof():
                    writer.write(b"a")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        first = await asyncio.wait_for(reader.read(4096), 1.0)
                        figures.statuses[first.split()[1].decode() if first else "ended"] += 1
                        break
                writer.close()

    await asyncio.gather(*(drip() for _ in range(SLOW)))


async def _bodies(target: Target, figures: Figures) -> None:
    body = bytes(BODY_BYTES)

    async def send(number: int) -> None:
        await target.ask("POST", "/jobs", body, figures=figures)

    await _by(BODY_CLIENTS, BODIES, send)


async def _by(clients: int, count: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Do something so many times, by so many clients at once."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(client() for _ in range(clients)))


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def _occupied(server: Server) -> Iterator[None]:
    """Keep the service's slot with a driver that is stopped: what is submitted waits."""
    assert server.call("POST", "/jobs", {"id": "first", "kind": "evaluate", "target": "absent"})[0] == 201
    server.until("first", "running")
    driver = next(process for process in psutil.process_iter() if _is_driver(process, server))
    driver.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        driver.kill()


def _is_driver(process: psutil.Process, server: Server) -> bool:
    try:
        mark = process.environ().get(MARK, "")
    except psutil.Error:
        return False
    return process.pid != os.getpid() and mark.startswith(str(server.root)) and mark.endswith(":first")


def table(rows: list[Figures]) -> str:
    """Markdown."""
    head = "| load | answers | p50 ms | p99 ms | seconds | `/healthz` p50 ms | p99 ms | longest ms | memory MiB |"
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *map(_row, rows)])


def _row(one: Figures) -> str:
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(one.statuses.items())) or "-"
    cells = [one.name, statuses, _ms(one.answers, 50), _ms(one.answers, 99), f"{one.seconds:.1f}"]
    cells += [_ms(one.health, 50), _ms(one.health, 99), _ms(one.health, 100), f"{one.memory / (1 << 20):.0f}"]
    return "| " + " | ".join(cells) + " |"


def _ms(times: list[float], percent: float) -> str:
    return f"{1000 * np.percentile(times, percent):.1f}" if times else "-"
