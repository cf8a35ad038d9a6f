"""The token that a service creates for its own user, as Jupyter does; other users of the machine cannot read it."""

from __future__ import annotations

__all__ = ["claim_state_dir", "own_token"]

import os
import re
import secrets
import stat
from pathlib import Path

from attn.errors import RunError

VALID = re.compile(r"[A-Za-z0-9_-]{32,200}")
ELSEWHERE = "give --tokens FILE, or --no-token where no other user works on this machine"


def claim_state_dir(state_dir: Path) -> None:
    """Create the service's state folder with mode 0700.

    Raises:
        RunError: The folder belongs to another user, or cannot be created.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        result = state_dir.stat()
        if result.st_uid != os.geteuid():
            raise RunError(f"{state_dir} belongs to user {result.st_uid}: start the service as that user, or remove it")
        if stat.S_IMODE(result.st_mode) & 0o077:
            state_dir.chmod(0o700)
    except OSError as error:
        raise RunError(
            f"the service's folder {state_dir} cannot be used: {error.strerror}; choose another --root"
        ) from None


def own_token(file: Path) -> str:
    """Read the token from a file, which is created if it does not exist. The next service uses the same token.

    Raises:
        RunError: The file cannot be written, belongs to another user, can be read by others, or contains no token.
    """
    try:
        if not os.path.lexists(file):
            _make(file)
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            result, text = os.fstat(descriptor), stream.read(1000).decode("ascii", "replace").strip()
    except OSError as error:
        raise RunError(f"the service's token file {file} cannot be used: {error.strerror}; {ELSEWHERE}") from None
    if not stat.S_ISREG(result.st_mode) or result.st_uid != os.geteuid() or stat.S_IMODE(result.st_mode) & 0o077:
        raise RunError(
            f"{file} belongs to another user or can be read by others: remove it, and a new one is created; or "
            f"{ELSEWHERE}"
        )
    if not VALID.fullmatch(text):
        raise RunError(f"{file} contains no valid token: remove it, and a new one is created")
    return text


def _make(file: Path) -> None:
    """Write a new token atomically."""
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
