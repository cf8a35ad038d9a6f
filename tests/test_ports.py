"""The ports that tests give to servers stay free until those servers take them."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ports


def test_a_port_is_one_that_no_outgoing_connection_gets() -> None:
    given = ports.free_ports(5)
    assert len(set(given)) == 5
    assert not set(given) & set(ports.free_ports(5))
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(ports.BELOW <= port < end for port in given)


@pytest.mark.skipif(sys.platform != "linux", reason="claims a name that only Linux knows")
def test_another_process_is_not_given_a_port_of_this_one() -> None:
    port = ports.free_port()
    code = f"from tests import ports; print(ports._is_free({port}), ports._claim({port}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_port_that_a_server_has_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not ports._is_free(server.getsockname()[1])
