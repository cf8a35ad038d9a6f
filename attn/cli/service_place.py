"""Where the service of a root keeps what is its own, and how the command line finds it."""

from __future__ import annotations

__all__ = ["ADDRESS_FILE", "absolute_root", "find_service", "home_of"]

import hashlib
import json
import os
from pathlib import Path

ADDRESS_FILE = "service.json"


def absolute_root(root: str) -> str:
    return root.rstrip("/") if root.startswith("s3://") else os.path.abspath(os.path.expanduser(root))


def home_of(root: str) -> str:
    """A folder of this machine: under a local root, or in the user's own state folder."""
    root = absolute_root(root)
    if not root.startswith("s3://"):
        return f"{root}/.service"
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return os.path.expanduser(f"~/.local/state/attn/{name}")


def find_service(root: str, given: str | None) -> str | None:
    """The URL of the service: what was given, or the local one of a root while it is up."""
    if given:
        return given.rstrip("/")
    try:
        return str(json.loads(Path(home_of(root), ADDRESS_FILE).read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError):
        return None
