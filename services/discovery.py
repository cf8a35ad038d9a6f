"""Where the service of a root keeps what is its own, and how the command line finds it."""

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
    """Where a service listens, and the token that it is shown."""

    url: str
    token: str | None = None


def absolute_root(root: str) -> str:
    return root.rstrip("/") if root.startswith("s3://") else os.path.abspath(os.path.expanduser(root))


def state_dir_of(root: str) -> str:
    """A folder of this machine: under a local root, or in the user's own state folder."""
    root = absolute_root(root)
    if not root.startswith("s3://"):
        return f"{root}/.service"
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return os.path.expanduser(f"~/.local/state/attn/{name}")


def find_service(root: str) -> Address | None:
    """The local service of a root by the file that it leaves there, with the token that it made for its user.

    Raises:
        ContactLostError: The service that left the file runs no more: whoever listens there is not told a token.
        RunError: It is another user's.
    """
    state_dir = Path(state_dir_of(root))
    try:
        owner = (state_dir / ADDRESS_FILE).stat().st_uid
        told = load_json((state_dir / ADDRESS_FILE).read_text(encoding="utf-8"))
        url = checked_url(str(told["url"]))
        token = _token(state_dir) if owner == os.geteuid() and told.get("own_token") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        return None
    if owner != os.geteuid():
        raise RunError(
            f"the service of {root} is that of user {owner}, and its file might lead anywhere: give --service URL, and "
            "set ATTN_SERVICE_TOKEN to a token that they gave you"
        )
    if not _is_up(told):
        if not is_loopback(urlsplit(url).hostname or ""):  # it may run on another machine that has this disk, too
            return Address(url)
        raise ContactLostError(f"the service of {root} ended without a word: start it by `attn serve --root {root}`")
    return Address(url, token)


def same_server(one: str, other: str) -> bool:
    """Whether two URLs name one server, by whichever name of this machine."""
    a, b = urlsplit(one), urlsplit(other)
    hosts = a.hostname or "", b.hostname or ""
    return (a.scheme, a.port, a.path) == (b.scheme, b.port, b.path) and (
        hosts[0] == hosts[1] or all(is_loopback(host) for host in hosts)
    )


def _token(state_dir: Path) -> str:
    return (state_dir / TOKEN_FILE).read_text(encoding="ascii").strip()


def _is_up(told: dict[str, Any]) -> bool:
    """Whether the process that wrote an address runs; an earlier version did not say which that is."""
    from jobs.runs.process_identity import is_running

    return "process" not in told or is_running(told.get("pid"), told["process"])
