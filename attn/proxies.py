"""Connects to servers on this machine directly, even if the environment names a proxy."""

from __future__ import annotations

__all__ = ["is_loopback", "bypass_proxies_for_loopback"]

import os
from ipaddress import IPv6Address, ip_address

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0", "[::]")
"""Loopback hosts as they occur in addresses, including wildcard addresses; some clients omit the brackets."""


def is_loopback(host: str) -> bool:
    """Return whether a URL's host is this machine, so that what is sent there does not leave it."""
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


def bypass_proxies_for_loopback() -> None:
    """Add this machine to `no_proxy` if a proxy is set, for this process and its children.

    The clients of the jobs service, MLflow, S3 and Ray's dashboard come from four libraries, which all read `no_proxy`
    in one of its spellings.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    given = [host.strip() for name in NO_PROXY_VARIABLES for host in os.environ.get(name, "").split(",")]
    hosts = list(dict.fromkeys(host for host in given if host))
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)
