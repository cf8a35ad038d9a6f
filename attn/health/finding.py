"""The result of one health check."""

from __future__ import annotations

__all__ = ["Finding", "Status"]

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The result of one health check.

    Attributes:
        check: Short name of the check.
        text: The result.
        fix: How to fix it, if the status is not `ok`.
    """

    check: str
    status: Status
    text: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
