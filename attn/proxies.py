"""Proxies are for other machines: servers of this one are reached directly, whatever the environment says."""

from __future__ import annotations

__all__ = ["is_loopback", "spare_loopback"]

import os
from ipaddress import IPv6Address, ip_address

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
NOT_FOR = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0", "[::]")
"""As addresses have it, also those of a server that listens everywhere; some clients ask without the brackets."""


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL names it, is this machine, so that nobody else sees what is sent there."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def spare_loopback() -> None:
    """Have no client of this process, nor of those that it starts, ask a proxy for a server of this machine.

    The jobs service, an MLflow or S3 server on loopback and Ray's dashboard are asked by clients of four libraries; all
    of them read `no_proxy`, in either spelling, which is added to where there is a proxy.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    given = [host.strip() for name in NOT_FOR for host in os.environ.get(name, "").split(",")]
    hosts = list(dict.fromkeys(host for host in given if host))
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)
