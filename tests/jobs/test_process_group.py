"""How workers of a training find each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray.train
import ray.train.torch.config as torch_config

from jobs.ray_cluster.interface import GLOO_INTERFACE, gloo_interface
from jobs.ray_cluster.process_group import ProcessGroupConfig, _join
from tests.namespaces import skip_if_refused

# Two machines, whose names stand for 127.0.1.1, as Debian's installer writes it: two network name spaces with a cable.
NETWORK = """\
set -e
mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add there
echo "127.0.0.1 localhost" >/run/hosts && echo "127.0.1.1 $(hostname)" >>/run/hosts
mount --bind /run/hosts /etc/hosts
ip link add here0 type veth peer name there0 netns there
ip address add 10.77.0.1/24 dev here0 && ip link set here0 up && ip link set lo up
ip -n there address add 10.77.0.2/24 dev there0 && ip -n there link set there0 up && ip -n there link set lo up
exec "$@"
"""
PAIR = """\
import ctypes, datetime, os, socket, torch
from jobs.ray_cluster.interface import GLOO_INTERFACE, gloo_interface

assert socket.gethostbyname(socket.gethostname()) == "127.0.1.1"
rank = int(os.fork() == 0)
if rank:
    network = os.open("/run/netns/there", os.O_RDONLY)
    assert ctypes.CDLL(None, use_errno=True).setns(network, 0x40000000) == 0
os.environ[GLOO_INTERFACE] = gloo_interface(("10.77.0.1", "10.77.0.2")[rank])
os.environ |= {"MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29500"}
torch.distributed.init_process_group("gloo", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=20))
value = torch.tensor([rank + 1.0])
torch.distributed.all_reduce(value)
os.write(1, f"{value.item()}\\n".encode())
if not rank:
    os.wait()
os._exit(0)
"""


def test_machines_whose_names_are_their_own_loopback_train_together(repository: Path) -> None:
    enter = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", NETWORK, "sh"]
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONPATH": str(repository),
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }
    environment.pop("GLOO_SOCKET_IFNAME", None)
    command = [*enter, sys.executable, "-c", PAIR]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        skip_if_refused(done.stderr)
    assert done.stdout.split() == ["3.0", "3.0"], done.stderr


def test_the_interface_is_that_of_the_address() -> None:
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.address.count(".") == 3:
                assert gloo_interface(one.address) == name
    assert gloo_interface("203.0.113.9") is None, "an address of no interface"


def test_a_worker_listens_at_its_nodes_address_when_it_joins_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[Any] = []

    def join(*given: Any) -> None:
        names = (GLOO_INTERFACE, "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")
        joined.append((*given, *(os.environ[name] for name in names)))

    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setattr(torch_config, "_set_torch_distributed_env_vars", lambda: os.environ.update(LOCAL_RANK="0"))
    monkeypatch.setattr(torch_config, "_setup_torch_process_group", join)
    context = SimpleNamespace(get_world_rank=lambda: 1, get_world_size=lambda: 2)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    _join("10.77.0.1", 29500, ProcessGroupConfig(backend="gloo", timeout_s=60))
    assert joined == [("gloo", 1, 2, "env://", 60, gloo_interface("127.0.0.1"), "10.77.0.1", "29500", "0")]
