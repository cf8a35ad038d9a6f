"""Free ports for servers that tests start and that cannot choose one themselves."""

from __future__ import annotations

__all__ = ["free_port", "free_ports"]

import random
import socket
import sys
from pathlib import Path

BELOW = 20_000
"""Ray gives the ports below to its workers."""

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_held: list[socket.socket] = []


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, which stay free until a server takes them.

    Port 0 would give a port of the range from which the kernel serves every outgoing connection: between its choice
    and the server's start another program's connection can take it. These lie below that range, and no other process
    of the tests is given one of them while this one lives.
    """
    end = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.is_file() else 32_768
    ports = list[int]()
    for port in random.SystemRandom().sample(range(BELOW, end), k=end - BELOW):
        if len(ports) == count:
            return ports
        if _is_free(port) and _claim(port):
            ports.append(port)
    raise AssertionError(f"fewer than {count} free ports from {BELOW} to {end - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Whether no other process of the tests has claimed this port; then it is this process's until it ends."""
    if sys.platform != "linux":  # no names that end with their process
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0attn-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _held.append(claim)
    return True
