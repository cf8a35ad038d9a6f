"""File systems and networks of a test's own, in namespaces that the kernel may let users make without root."""

from __future__ import annotations

__all__ = ["skip_if_refused"]

import re

import pytest

REFUSALS = (
    r"unshare: .*",
    r"mount: .*permission denied.*",
    r"mount .* failed: Operation not permitted",
    r"(RTNETLINK answers|Error): .*(not permitted|not supported|Unknown device type).*",
    r".*\bip: (command )?not found",
)
"""What `unshare`, `mount`, `ip` and the shell say, in English."""


def skip_if_refused(said: str) -> None:
    """Skip the test if its programs said that this user may make no namespace, or nothing in it.

    Any other failure is one of the test.
    """
    if any(re.fullmatch(refusal, line.strip()) for line in said.splitlines() for refusal in REFUSALS):
        # A full disk, little shared memory, another root or a second machine can be had without harm only in
        # namespaces. Many containers refuse them, and there the disk and the network are somebody's: a failure would
        # say nothing of the code. `.ci/run` runs where they are allowed.
        pytest.skip(f"needs the right to make namespaces, and to mount and connect in them: {said.strip()}")
