"""The jobs service while a run trains: how fast it answers many clients, and what they cost the training.

    python -m benchmarks.service service.json                     # --clients 100 --every 1 --seconds 15 --rounds 6

Starts `attn serve`, submits a run of two workers on generated scenes, and while it trains lets clients ask and not ask
in turns. Each client has a connection of its own and asks every second, as `attn status --wait` does; of four, two
ask for the status, one for the log from where it stands, one follows the log as a stream. A step's time is taken from
the run's own progress, epochs' ends left out; the slowdown is the ratio of a phase with clients to the mean of the two
without beside it. The clients run on the same machine: what they and the service take of it is told apart, in cores.
`--cost` measures an answer's processor time alone, without a training.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from tests.services.server import Server

JOB = "measured"
RUN = ["data.count=1280", "training.epochs=500", "training.batch_size=16", "validation.split=null",
       "tracking.preview_images=0", "method.warmup_epochs=0"]  # fmt: skip
TOKEN = "ATTN_SERVICE_TOKEN"
KINDS = ("status", "status", "log", "follow")


@dataclass(frozen=True)
class Phase:
    """Some seconds of training, with clients or without.

    Attributes:
        step: Mean seconds of a training step.
        service, clients: Cores that they took.
        asked: By endpoint, seconds of each answer.
    """

    busy: bool
    step: float
    service: float
    clients: float
    asked: dict[str, list[float]]


def main(file: str | None, *, count: int, every: float, seconds: float, rounds: int) -> None:
    """Measure, print the tables, and write all figures into a file."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="attn-service-") as folder:
        root = Path(folder, "runs")
        server = Server(root)
        try:
            body = {"id": JOB, "kind": "train", "target": "scenes_gain", "overrides": RUN}
            assert server.call("POST", "/jobs", body)[0] == 201
            progress = Progress(root / JOB / "progress.json")
            progress.wait(10)
            phases: list[Phase] = []
            for number in range(2 * rounds + 1):
                phases.append(_phase(server, progress, number % 2 == 1, count, every, seconds))
                print(f"phase {number + 1} of {2 * rounds + 1}: {_line(phases[-1])}", file=sys.stderr, flush=True)
        finally:  # the job would go on without the service
            server.call("POST", f"/jobs/{JOB}/cancel?now=true")
            server.until(JOB, "cancelled", "failed", "done")
            server.stop()
    result = _result(phases)
    print(_table(result))
    if file is not None:
        whole = {"clients": count, "every": every, "seconds": seconds, **result, "phases": [_plain(p) for p in phases]}
        Path(file).write_text(json.dumps(whole, indent=1), encoding="utf-8")


def cost(file: str | None, *, count: int, every: float, seconds: float) -> None:
    """What an answer costs the service, while nothing trains: of processor time, which hardly depends on other work."""
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="attn-service-") as folder:
        server = Server(Path(folder, "runs"))
        try:
            assert server.call("POST", "/jobs", {"id": JOB, "kind": "evaluate", "target": "absent"})[0] == 201
            server.until(JOB, "failed")
            metrics = {f"val/score{number}": 0.5 for number in range(8)}
            state = {"id": JOB, "state": "running", "epoch": 3, "step": 100, "metrics": metrics}
            Path(folder, "runs", JOB).mkdir(exist_ok=True)
            Path(folder, "runs", JOB, "run.json").write_text(json.dumps(state))
            process = psutil.Process(server.process.pid)
            for kind in ("status", "log"):
                asking, before = _asking(server, count, every, seconds, kind), process.cpu_times()
                answer = json.loads(asking.communicate()[0])
                after, answers = process.cpu_times(), len(answer["asked"][kind])
                used = after.user + after.system - before.user - before.system
                rows[kind] = {
                    "answers": answers,
                    "ms": 1000 * used / answers,
                    "client_ms": 1000 * answer["cpu"] / answers,
                }
        finally:
            server.kill()
    print("| endpoint | answers | processor ms an answer | of the client |\n|---|---|---|---|")
    for kind, row in rows.items():
        print(f"| {kind} | {row['answers']} | {row['ms']:.2f} | {row['client_ms']:.2f} |")
    if file is not None:
        Path(file).write_text(json.dumps(rows, indent=1), encoding="utf-8")


class Progress:
    """Steps of a run as its folder tells them, with the time at which each was made."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.file.read_text())
        except (OSError, ValueError):
            return None

    def wait(self, step: int, seconds: float = 600) -> None:
        """Until training is past a step."""
        end = time.monotonic() + seconds
        while (self.read() or {"step": 0})["step"] < step:
            if time.monotonic() > end:
                raise TimeoutError("the run does not train")
            time.sleep(0.5)

    def step_seconds(self, until: float) -> float:
        """Mean step from now to a time; intervals over an epoch's end are left out, and the one that has begun."""
        records: list[dict[str, Any]] = []
        begun = time.time()
        while time.monotonic() < until:
            record = self.read()
            if record and record["at"] >= begun and (not records or records[-1]["step"] != record["step"]):
                records.append(record)
            time.sleep(0.25)
        pairs = [(a, b) for a, b in itertools.pairwise(records) if a["epoch"] == b["epoch"]]
        return sum(b["at"] - a["at"] for a, b in pairs) / sum(b["step"] - a["step"] for a, b in pairs)


def _phase(server: Server, progress: Progress, busy: bool, count: int, every: float, seconds: float) -> Phase:
    asking: subprocess.Popen[str] | None = None
    if busy:
        asking = _asking(server, count, every, seconds)
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    step = progress.step_seconds(time.monotonic() + seconds)
    after = process.cpu_times()
    service = (after.user + after.system - before.user - before.system) / seconds
    if asking is None:
        return Phase(False, step, service, 0.0, {})
    answer = json.loads(asking.communicate()[0])
    return Phase(True, step, service, answer["cpu"] / seconds, answer["asked"])


def _asking(server: Server, count: int, every: float, seconds: float, *kinds: str) -> subprocess.Popen[str]:
    """Clients in a process of their own, once all are connected."""
    command = [sys.executable, "-m", "benchmarks.service", "--ask", server.url, str(count), str(every), str(seconds)]
    shown = {TOKEN: server.token} if server.token else {}
    asking = subprocess.Popen(
        [*command, *(kinds or KINDS)], stdout=subprocess.PIPE, text=True, env={**os.environ, **shown}
    )
    assert asking.stdout is not None
    asking.stdout.readline()
    return asking


def _result(phases: list[Phase]) -> dict[str, Any]:
    busy = [index for index, phase in enumerate(phases) if phase.busy]
    ratios = [2 * phases[at].step / (phases[at - 1].step + phases[at + 1].step) for at in busy]
    asked = {name: np.concatenate([phases[at].asked[name] for at in busy]) for name in phases[busy[0]].asked}
    return {
        "latency_ms": {
            name: {"answers": len(times), "p50": _ms(times, 50), "p99": _ms(times, 99), "most": _ms(times, 100)}
            for name, times in asked.items()
        },
        "step_seconds": {
            "without": statistics.median(phase.step for phase in phases if not phase.busy),
            "with": statistics.median(phases[at].step for at in busy),
        },
        "slowdown": statistics.median(ratios) - 1,
        "slowdowns": [ratio - 1 for ratio in ratios],
        "service_cores": statistics.mean(phases[at].service for at in busy),
        "service_cores_without": statistics.mean(phase.service for phase in phases if not phase.busy),
        "clients_cores": statistics.mean(phases[at].clients for at in busy),
    }


def _table(result: dict[str, Any]) -> str:
    lines = ["| endpoint | answers | p50 ms | p99 ms | longest ms |", "|---|---|---|---|---|"]
    for name, row in result["latency_ms"].items():
        lines.append(f"| {name} | {row['answers']} | {row['p50']:.1f} | {row['p99']:.1f} | {row['most']:.1f} |")
    steps, spread = result["step_seconds"], sorted(100 * value for value in result["slowdowns"])
    return "\n".join([
        *lines, "",
        "| step ms without clients | with | slowdown % (each round) | service, cores | clients, cores |",
        "|---|---|---|---|---|",
        f"| {1000 * steps['without']:.1f} | {1000 * steps['with']:.1f} | {100 * result['slowdown']:.1f} "
        f"({spread[0]:.1f} to {spread[-1]:.1f}) | {result['service_cores']:.2f} | {result['clients_cores']:.2f} |",
    ])  # fmt: skip


def _line(phase: Phase) -> str:
    answers = sum(map(len, phase.asked.values()))
    return f"{1000 * phase.step:.1f} ms a step, service {phase.service:.2f} cores, {answers} answers"


def _plain(phase: Phase) -> dict[str, Any]:
    return {name: value for name, value in vars(phase).items() if name != "asked"}


def _ms(times: np.ndarray, percent: float) -> float:
    return float(1000 * np.percentile(times, percent))


async def ask(url: str, count: int, every: float, seconds: float, kinds: list[str]) -> None:
    """The clients: says `ready` once all are connected, and at the end what they saw, as JSON."""
    address = urlsplit(url)
    streams = [await asyncio.open_connection(address.hostname, address.port) for _ in range(count)]
    print("ready", flush=True)
    begun, cpu = time.monotonic(), time.process_time()
    asked: dict[str, list[float]] = {"status": [], "log": []}

    async def client(number: int) -> None:
        kind = kinds[number % len(kinds)]
        reader, writer = streams[number]
        if kind == "follow":
            _send(writer, f"/jobs/{JOB}/log?follow=true")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + seconds):
                    while await reader.read(1 << 16):
                        pass
            return
        offset, due = 0, begun + random.random() * every
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            _send(writer, f"/jobs/{JOB}" if kind == "status" else f"/jobs/{JOB}/log?offset={offset}")
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert head.startswith("http/1.1 200"), head
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(fields["content-length"]))
            offset = int(fields.get("attn-next-offset", 0))
            asked[kind].append(time.monotonic() - due)  # from when it was to ask: a late turn counts
            due = max(due + every, time.monotonic())

    await asyncio.gather(*map(client, range(count)))
    print(json.dumps({"asked": asked, "cpu": time.process_time() - cpu}), flush=True)


def _send(writer: asyncio.StreamWriter, path: str) -> None:
    shown = f"Authorization: Bearer {os.environ[TOKEN]}\r\n" if TOKEN in os.environ else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{shown}\r\n".encode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        asyncio.run(ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), sys.argv[6:]))
    else:
        parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
        parser.add_argument("file", nargs="?", help="where all figures go, as JSON")
        parser.add_argument("--clients", type=int, default=100)
        parser.add_argument("--every", type=float, default=1.0, help="seconds between two questions of a client")
        parser.add_argument("--seconds", type=float, default=15.0, help="of a phase")
        parser.add_argument("--rounds", type=int, default=6)
        parser.add_argument("--cost", action="store_true", help="an answer's processor time alone; nothing trains")
        given = parser.parse_args()
        if given.cost:
            cost(given.file, count=given.clients, every=given.every, seconds=given.seconds)
            sys.exit()
        main(given.file, count=given.clients, every=given.every, seconds=given.seconds, rounds=given.rounds)
