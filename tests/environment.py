"""The environment for programs that tests start, which are to set up Ray by themselves."""

from __future__ import annotations

__all__ = ["without_ray"]

import os

from attn.files.s3 import CHECKSUMS


def without_ray() -> dict[str, str]:
    """This process's environment without what a Ray session of this process has put into it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name not in CHECKSUMS}
