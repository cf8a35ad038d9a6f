"""The interface of a tracker."""

from __future__ import annotations

__all__ = ["NullTracker", "Tracker"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Tracker(Protocol):
    """Records one run. Every method may raise TrackingError; a run may continue without its record."""

    @property
    def run_id(self) -> str | None:
        """The record's id; None if there is no record."""
        ...

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None:
        """Record finite numbers, possibly only at the next flush.

        Raises:
            ValueError: A metric is NaN, infinite or not a number.
        """
        ...

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Record one step of a picture that changes during the run: uint8 (H, W, 3), RGB."""
        ...

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
        """Record a picture as an artifact: uint8 (H, W, 3), RGB; the path ends in .png."""
        ...

    def log_text(self, path: str, text: str) -> None:
        """Record a text as an artifact."""
        ...

    def log_files(self, local: Path, path: str = "") -> None:
        """Record a file, or all files of a folder, as artifacts below `path`."""
        ...

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        ...

    def flush(self) -> None:
        """Send waiting metrics; if that fails, they wait for the next flush."""
        ...

    def terminate(self, state: str) -> None:
        """Flush and close the record: `done`, `failed` or `cancelled`."""
        ...


class NullTracker:
    """Records nothing: for runs without tracking, and for all workers but the first."""

    run_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None: ...

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int) -> None: ...

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None: ...

    def log_text(self, path: str, text: str) -> None: ...

    def log_files(self, local: Path, path: str = "") -> None: ...

    def set_tags(self, tags: Mapping[str, Any]) -> None: ...

    def flush(self) -> None: ...

    def terminate(self, state: str) -> None: ...
