"""What a run may tell its record, whoever keeps it."""

from __future__ import annotations

__all__ = ["NullTracker", "Tracker"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Tracker(Protocol):
    """The record of one run. Every method may raise TrackingError; a run may choose to go on without its record."""

    @property
    def run_id(self) -> str | None:
        """The id under which the record is kept, None where there is none."""
        ...

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None:
        """Keep finite numbers; they may wait for the next flush.

        Raises:
            ValueError: A metric is NaN, infinite or not a number; says which.
        """
        ...

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Keep one state of a picture that changes over the run: uint8 (H, W, 3), RGB."""
        ...

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
        """Keep a picture as an artifact: uint8 (H, W, 3), RGB; the path ends in .png."""
        ...

    def log_text(self, path: str, text: str) -> None:
        """Keep a text as an artifact."""
        ...

    def log_files(self, local: Path, path: str = "") -> None:
        """Keep a file, or all files of a folder, as artifacts under `path`."""
        ...

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        ...

    def flush(self) -> None:
        """Send what waits; it is kept for the next flush where that fails."""
        ...

    def terminate(self, state: str) -> None:
        """Flush and close the record: `done`, `failed` or `cancelled`."""
        ...


class NullTracker:
    """Keeps nothing: of a run without tracking, and of workers that leave the record to the first of them."""

    run_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None: ...

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int) -> None: ...

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None: ...

    def log_text(self, path: str, text: str) -> None: ...

    def log_files(self, local: Path, path: str = "") -> None: ...

    def set_tags(self, tags: Mapping[str, Any]) -> None: ...

    def flush(self) -> None: ...

    def terminate(self, state: str) -> None: ...
