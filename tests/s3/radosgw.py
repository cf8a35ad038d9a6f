"""A real S3 server for tests: one node of Ceph (monitor, one storage daemon, gateway) on loopback, all in memory.

    python -m tests.s3.radosgw        # until Ctrl-C; prints the environment that a client needs

Starts in about two seconds and needs no systemd, no root and no network but loopback. Everything lies in one temporary
folder and in memory; the daemons die with the process that started them, even if that is killed. Debian's packages are
installed by `.ci/install-radosgw`.
"""

from __future__ import annotations

__all__ = ["Radosgw", "missing", "radosgw"]

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

PROGRAMS = ("setpriv", "monmaptool", "ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
START_SECONDS = 60
MEMORY_BYTES = 2**31


@dataclass(frozen=True)
class Radosgw:
    """A running server: its address and the keys of its one user."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 and pyarrow find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


class StartError(RuntimeError):
    """The node did not come up; the text holds the end of the daemons' logs."""


def missing() -> str | None:
    """Why a node cannot be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (.ci/install-radosgw installs them on Debian)" if absent else None


@contextlib.contextmanager
def radosgw() -> Iterator[Radosgw]:
    """A node for the time of the context.

    Raises:
        StartError: A daemon ended or did not answer in time.
    """
    folder = Path(tempfile.mkdtemp(prefix="rgw-"))
    node = _Node(folder)
    try:
        yield node.start()
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Node:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> Radosgw:
        mon_port, http_port = free_ports(2)
        identity = str(uuid.uuid4())
        mon = f"[v2:127.0.0.1:{mon_port}]"
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        (self._folder / "ceph.conf").write_text(_configuration(self._folder, identity, mon, http_port))

        self._call("monmaptool", "--create", "--fsid", identity, "--addv", "a", mon, self._path("monmap"), bare=True)
        self._call("ceph-mon", "--mkfs", "-i", "a", "--monmap", self._path("monmap"))
        self._daemon("ceph-mon", "-f", "-i", "a")
        disk = str(uuid.uuid4())
        # Waits for the monitor by itself.
        self._call("ceph", "--connect-timeout", str(START_SECONDS), "osd", "new", disk)
        self._call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "-f", "-i", "0")
        self._daemon("radosgw", "-f", "-n", "client.rgw")
        endpoint = f"http://127.0.0.1:{http_port}"
        self._wait(lambda: _answers(endpoint))

        access, secret = secrets.token_hex(10), secrets.token_hex(20)
        keys = ("--access-key", access, "--secret-key", secret)
        self._call("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=test", "--display-name=test", *keys)
        return Radosgw(endpoint, access, secret)

    def stop(self) -> None:
        # The gateway would first tell the others that it leaves; nothing here is worth the wait.
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)
        for daemon in self._daemons:
            daemon.wait()

    def _path(self, name: str) -> str:
        return str(self._folder / name)

    def _daemon(self, *command: str) -> None:
        with open(self._path(f"{command[0]}.out"), "wb") as out:
            # A session that is killed takes its daemons with it.
            bound = ["setpriv", "--pdeathsig", "KILL", command[0], "-c", self._path("ceph.conf"), *command[1:]]
            self._daemons.append(subprocess.Popen(bound, stdout=out, stderr=out, stdin=subprocess.DEVNULL))

    def _call(self, program: str, *arguments: str, bare: bool = False) -> None:
        command: Sequence[str] = (program, *(() if bare else ("-c", self._path("ceph.conf"))), *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS)
        if done.returncode:
            raise StartError(f"{' '.join(command[:6])} …: {done.stderr.strip()[-2000:]}\n{self._logs()}")

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise StartError(f"{ended or 'the gateway does not answer'}\n{self._logs()}")
            time.sleep(0.05)

    def _logs(self) -> str:
        logs = sorted(self._folder.glob("*.out")) + sorted(self._folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs)


def _configuration(folder: Path, identity: str, mon: str, http_port: int) -> str:
    everywhere = {
        "fsid": identity,
        "mon host": mon,
        "public addr": "127.0.0.1",
        "cluster addr": "127.0.0.1",
        "ms bind msgr1": "false",
        "auth cluster required": "none",
        "auth service required": "none",
        "auth client required": "none",
        "keyring": "/dev/null",
        "admin socket": "",
        "pid file": "",
        "crash dir": folder,
        "run dir": folder,
        "log file": folder / "$name.log",
        "log to stderr": "false",
        # One storage daemon holds everything once, in one placement group a pool.
        "osd pool default size": 1,
        "osd pool default min size": 1,
        "osd pool default pg num": 1,
        "osd pool default pgp num": 1,
        "osd pool default pg autoscale mode": "off",
        "osd crush chooseleaf type": 0,
        "mon allow pool size one": "true",
        "mon max pg per osd": 1000,
        # The disk that the folder lies on may be nearly full: nothing is written to it but logs.
        "mon data avail crit": 0,
        # A monitor that speaks for itself alone need not collect proposals.
        "paxos propose interval": 0.05,
        "paxos min wait": 0.01,
        "mon data": folder / "mon",
        "osd data": folder / "osd",
        "osd objectstore": "memstore",
        "memstore device bytes": MEMORY_BYTES,
    }
    gateway = {
        # By default it asks for encryption, which there is not without keys: it would wait for ever.
        "ms mon client mode": "crc",
        "rgw frontends": f"beast endpoint=127.0.0.1:{http_port} tcp_nodelay=1",
        "rgw run sync thread": "false",
    }
    sections = {"global": everywhere, "client.rgw": gateway}
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in values.items()) + "\n"
        for name, values in sections.items()
    )


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _main() -> None:
    if reason := missing():
        raise SystemExit(reason)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt), radosgw() as server:
        print("\n".join(f"export {name}={value}" for name, value in server.environment.items()), flush=True)
        signal.pause()


if __name__ == "__main__":
    _main()
