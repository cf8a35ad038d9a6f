"""Proxies are for other machines: servers of this one are reached directly, whatever the environment says."""

from __future__ import annotations

__all__ = ["spare_loopback"]

import os

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0", "[::]")
"""As addresses have it, also those of a server that listens everywhere; some clients ask without the brackets."""


def spare_loopback() -> None:
    """Have no client of this process, nor of those that it starts, ask a proxy for a server of this machine.

    The jobs service, an MLflow or S3 server on loopback and Ray's dashboard are asked by clients of four libraries; all
    of them read `no_proxy`, which is added to where there is a proxy.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)
