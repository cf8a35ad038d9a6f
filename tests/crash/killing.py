"""Training workers that die in the middle of an epoch.

A worker is killed as soon as its checkpoint is written: the store's version is committed, Ray has not heard of it.
"""

from __future__ import annotations

__all__ = ["workers_killed_in_mid_epoch"]

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil


@contextlib.contextmanager
def workers_killed_in_mid_epoch(folder: Path, *positions: tuple[int, int]) -> Iterator[list[int]]:
    """Wait for a checkpoint (epoch from 0, next batch) within an epoch, then SIGKILL one training worker; and again."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        for number, (epoch, batch) in enumerate(positions):
            name = f"epoch-{epoch:04d}-batch-{batch:06d}"
            while not (folder / "checkpoints" / name / "manifest-00000.json").exists():
                if over.wait(0.005):
                    return
            processes = psutil.Process().children(recursive=True)
            workers = sorted(process.pid for process in processes if "RayTrainWorker" in _command(process))
            killed.append(workers[number % len(workers)])
            os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _command(process: psutil.Process) -> str:
    """A process's command line; empty of one that has ended by now."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
