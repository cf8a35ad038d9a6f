"""A Ray cluster of one node with its job server, as processes of its own on free ports of this machine."""

from __future__ import annotations

__all__ = ["ACCESS", "TOKEN", "Cluster"]

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.environment import without_ray
from tests.ports import free_ports

MARK = "ATTN_TEST_CLUSTER"
TOKEN = "only-for-a-cluster-of-the-tests"
ACCESS = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
"""What the environment of its callers must hold."""

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
JOBS = "/api/jobs/"


class Cluster:
    """`ray start --head`, with a token that callers must know."""

    def __init__(self) -> None:
        # Sockets have short names: pytest's folders are too deep for them.
        self.folder = tempfile.mkdtemp(prefix="attn-ray-")
        port, dashboard, agent, client = free_ports(4)
        self.url, self.address = f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}"
        bin_folder = str(Path(sys.executable).parent)
        environment = without_ray()
        environment |= ACCESS | {
            MARK: self.folder,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "150",  # a busy machine takes longer than the half minute that Ray gives it
        }
        options = {
            "node-ip-address": "127.0.0.1", "port": port, "dashboard-host": "127.0.0.1", "dashboard-port": dashboard,
            "dashboard-agent-listen-port": agent, "ray-client-server-port": client, "num-cpus": 1,
            "object-store-memory": 100_000_000, "temp-dir": self.folder,
        }  # fmt: skip
        command = [f"{bin_folder}/ray", "start", "--head", "--block", *(f"--{k}={v}" for k, v in options.items())]
        with open(f"{self.folder}/start.log", "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait(self, seconds: float = 600) -> None:
        """Until it is up, and its job server answers."""
        end = time.monotonic() + seconds
        while True:
            said = Path(self.folder, "start.log").read_text()
            with contextlib.suppress(requests.RequestException):
                if "Ray runtime started" in said and requests.get(self.url + JOBS, headers=HEADERS, timeout=5).ok:
                    return
            assert self.process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.3)

    def jobs(self, name: str = "") -> list[dict[str, Any]]:
        """The submitted jobs whose names hold this, as everyone sees them who has the token."""
        result = requests.get(self.url + JOBS, headers=HEADERS, timeout=30).json()
        return [job for job in result if name in (job["submission_id"] or "") and job["type"] == "SUBMISSION"]

    def kill(self) -> None:
        """End every process of it, and of what ran on it, at once; nothing is left of it.

        Ray's agents write their titles over their environments, so that they are found as children. One that outlived
        the head would use a whole core for a minute and a half, asking for it.
        """
        while owned := [process for process in psutil.process_iter() if self._owns(process)]:
            left = {*owned, *(child for process in owned for child in _descendants(process))}
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _owns(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.folder
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []
