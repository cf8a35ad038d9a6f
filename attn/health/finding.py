"""One thing that was looked at."""

from __future__ import annotations

__all__ = ["Finding", "Status"]

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What, in a word or two.
        text: What was found.
        fix: How to mend it, where it is not well.
    """

    check: str
    status: Status
    text: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
