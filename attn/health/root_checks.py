"""Checks of the root of the runs: conditional writes, its clock, and a file that other machines should see."""

from __future__ import annotations

__all__ = ["check_conditional_writes", "probe_under"]

import contextlib
import secrets
import shutil
import time
from collections.abc import Generator
from pathlib import Path

from attn.config.base import is_remote
from attn.errors import AttnError
from attn.files.transfer import remove, write_bytes
from attn.health.finding import Finding
from attn.health.judge import judge_clock
from attn.store.backends import connect
from attn.store.backends.conditional_writes import check_conditions


def check_conditional_writes(root: str) -> list[Finding]:
    """Check by trial that conditional writes work below the root, which map stores need; and check the root's clock."""
    location = f"{root.rstrip('/')}/doctor-{secrets.token_hex(6)}"
    check = "conditional writes"
    created = not is_remote(root) and not Path(root).exists()
    try:
        backend = connect(location)
        check_conditions(backend)
        start = time.time()
        now = backend.now()
        end = time.time()
    except AttnError as error:
        return [Finding(check, "fail", str(error), "see the message; attn needs them for map stores only")]
    finally:
        if not is_remote(root):
            shutil.rmtree(location, ignore_errors=True)
            if created:
                with contextlib.suppress(OSError):  # another process has created files in it
                    Path(root).rmdir()
    results = [Finding(check, "ok", f"enforced under {root}")]
    if is_remote(root):
        results.append(judge_clock("the object store", now - (start + end) / 2, 1 + (end - start) / 2))
    return results


@contextlib.contextmanager
def probe_under(root: str) -> Generator[tuple[str, str]]:
    """Inside the `with` block, a file exists below the root, for other machines to read: its location and content."""
    location, content = f"{root.rstrip('/')}/.doctor-{secrets.token_hex(6)}", secrets.token_hex(16)
    write_bytes(location, content.encode())
    try:
        yield location, content
    finally:
        remove(location)
