"""The ports that tests give to servers stay free until those servers take them."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests import ports


def test_a_port_is_one_that_no_outgoing_connection_gets() -> None:
    given = ports.free_ports(5)
    assert len(set(given)) == 5
    assert not set(given) & set(ports.free_ports(5))
    end = int(ports.EPHEMERAL.read_text().split()[0]) if ports.EPHEMERAL.is_file() else 49_152  # as IANA has it
    assert all(ports.BELOW <= port < end for port in given)


def test_another_process_is_not_given_a_port_of_this_one() -> None:
    port = ports.free_port()
    code = f"from tests import ports; print(ports._is_free({port}), ports._claim({port}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    claimed = sys.platform != "linux"  # elsewhere there are no names that end with their process
    assert done.stdout.split() == ["True", str(claimed)]


def test_a_port_that_a_server_has_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not ports._is_free(server.getsockname()[1])
