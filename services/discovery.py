"""The state folder of a root's service, and how the command line finds the service."""

from __future__ import annotations

__all__ = ["ADDRESS_FILE", "TOKEN_FILE", "Address", "absolute_root", "find_service", "state_dir_of", "same_server"]

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attn.errors import ConfigError, RunError
from attn.parsing import load_json
from attn.proxies import is_loopback
from services.calls import ContactLostError, checked_url

ADDRESS_FILE = "service.json"
TOKEN_FILE = "token"


@dataclass(frozen=True)
class Address:
    """A service's URL and the token to send to it."""

    url: str
    token: str | None = None


def absolute_root(root: str) -> str:
    return root.rstrip("/") if root.startswith("s3://") else os.path.abspath(os.path.expanduser(root))


def state_dir_of(root: str) -> str:
    """The service's state folder on this machine: under a local root, else in the user's own state folder."""
    root = absolute_root(root)
    if not root.startswith("s3://"):
        return f"{root}/.service"
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return os.path.expanduser(f"~/.local/state/attn/{name}")


def find_service(root: str) -> Address | None:
    """Find the local service of a root by its address file, and the token that it created for its user.

    Returns:
        None if there is no valid address file.

    Raises:
        ContactLostError: The service has ended without removing its file. The token is then not sent to whatever
            listens at its address now.
        RunError: The service belongs to another user.
    """
    state_dir = Path(state_dir_of(root))
    try:
        owner = (state_dir / ADDRESS_FILE).stat().st_uid
        written = load_json((state_dir / ADDRESS_FILE).read_text(encoding="utf-8"))
        url = checked_url(str(written["url"]))
        token = _token(state_dir) if owner == os.geteuid() and written.get("own_token") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        return None
    if owner != os.geteuid():
        raise RunError(
            f"the service of {root} belongs to user {owner}, so its address file is not trusted: give --service URL, "
            "and set ATTN_SERVICE_TOKEN to a token from that user"
        )
    if not _is_up(written):
        if not is_loopback(urlsplit(url).hostname or ""):  # it may run on another machine that shares this disk
            return Address(url)
        raise ContactLostError(f"the service of {root} has ended: start it with `attn serve --root {root}`")
    return Address(url, token)


def same_server(one: str, other: str) -> bool:
    """Return whether two URLs name the same server; all loopback names count as one."""
    a, b = urlsplit(one), urlsplit(other)
    hosts = a.hostname or "", b.hostname or ""
    return (a.scheme, a.port, a.path) == (b.scheme, b.port, b.path) and (
        hosts[0] == hosts[1] or all(is_loopback(host) for host in hosts)
    )


def _token(state_dir: Path) -> str:
    return (state_dir / TOKEN_FILE).read_text(encoding="ascii").strip()


def _is_up(written: dict[str, Any]) -> bool:
    """Return whether the process that wrote an address file still runs; earlier versions did not record the process."""
    from attn.process_identity import is_running

    return "process" not in written or is_running(written.get("pid"), written["process"])
