"""The network interface by which other nodes reach this one."""

from __future__ import annotations

__all__ = ["GLOO_INTERFACE", "gloo_interface", "use_node_address"]

import os

GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"


def use_node_address() -> None:
    """Let Gloo in this process use the interface with this node's address in Ray, unless the environment names one."""
    import ray

    interface = gloo_interface(ray.util.get_node_ip_address())
    if interface is not None:
        os.environ.setdefault(GLOO_INTERFACE, interface)


def gloo_interface(address: str) -> str | None:
    """The network interface that has an address; None if none has, as where nodes are reached through a translation."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):
            return name
    return None
