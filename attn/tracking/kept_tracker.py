"""A run's record in MLflow that waits in the run's folder while the server is away, so that the run does not."""

from __future__ import annotations

__all__ = ["KeptTracker"]

import contextlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.errors import AttnError, TrackingError
from attn.tracking.address import shown
from attn.tracking.breaker import Breaker
from attn.tracking.journal import JOURNAL, Journal
from attn.tracking.mlflow_client import hurried
from attn.tracking.mlflow_tracker import METRICS, MlflowTracker


class KeptTracker(MlflowTracker):
    """As `MlflowTracker`, but what cannot be sent is kept, and sent in order once the server is back.

    A server gets a few seconds to answer. Once it has not, it is asked again at a flush, after a pause that grows. Only
    `flush` and `terminate` raise TrackingError: once when the server goes away, and when the run ends without it.

    What the server took before its answer was lost is sent again, and is there once all the same: MLflow knows metrics
    by their time stamps, files by their names, and previews are looked for.
    """

    def __init__(self, uri: str, run_id: str, folder: str, breaker: Breaker | None = None) -> None:
        """Take up a record.

        Args:
            folder: The run's; an object store's will do.
        """
        super().__init__(uri, run_id)
        self.folder, self.journal, self.breaker = folder, Journal(folder), breaker or Breaker()
        self.fault: TrackingError | None = None
        self.last: TrackingError | None = None

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int, at: int | None = None) -> None:
        at = at or int(time.time() * 1000)
        self._send_or_keep({"do": "preview", "name": name, "step": step, "at": at}, pixels)

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
        self._send_or_keep({"do": "picture", "path": path}, pixels)

    def log_text(self, path: str, text: str) -> None:
        self._send_or_keep({"do": "text", "path": path, "text": text})

    def log_files(self, local: Path, path: str = "") -> None:
        self._send_or_keep({"do": "files", "local": str(local), "path": path})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._send_or_keep({"do": "tags", "tags": {name: str(value) for name, value in tags.items()}})

    def flush(self) -> None:
        """Send what waits, if the server is to be asked now.

        Raises:
            TrackingError: It has stopped to answer since the last flush; what is told meanwhile is kept.
        """
        while self._waiting:
            part = self._waiting[:METRICS]
            metrics = [[one.key, one.value, one.timestamp, one.step] for one in part]
            self._send_or_keep({"do": "metrics", "metrics": metrics})
            del self._waiting[: len(part)]
        if self.journal.records and self.fault is None and self.breaker.lets_through:
            self._send_all()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise TrackingError(f"{fault}. Until it answers, what is recorded is kept in {self.folder}/{JOURNAL}")

    def terminate(self, state: str) -> None:
        """Flush and close the record, whether the server is to be asked or not.

        Raises:
            TrackingError: It does not answer; says what waits, and what sends it.
        """
        with contextlib.suppress(TrackingError):  # which is said below, if it still is so
            self.flush()
        self._send_or_keep({"do": "end", "state": state, "at": int(time.time() * 1000)})
        self.send_kept()

    def send_kept(self) -> None:
        """Send what waits, whether the server is to be asked or not.

        Raises:
            TrackingError: It does not answer, or does not take all; says what waits, and what sends it.
        """
        if self.journal.records:
            self._send_all()
        lost = f"; {self.journal.lost} more could not be kept or were refused" if self.journal.lost else ""
        if waiting := len(self.journal.records):
            raise TrackingError(
                f"{self.last}. {waiting} records wait in {self.folder}/{JOURNAL}{lost}; "
                f"`attn resume {self.folder}` sends them once the server answers"
            )
        if lost:
            raise TrackingError(f"tracking at {shown(self.uri)} has all that could be kept{lost}")

    def _send_or_keep(self, record: dict[str, Any], pixels: NDArray[np.uint8] | None = None) -> None:
        """Send a record, or keep it behind those that wait."""
        if not self.journal.records and self.breaker.lets_through:
            try:
                with hurried():
                    self._send(record, pixels)
            except TrackingError as error:
                if _is_refused(error):
                    self.fault, self.journal.lost = error, self.journal.lost + 1
                    return
                self._note(error)
            else:
                self.breaker.succeeded()
                return
        self.journal.add(record, b"" if pixels is None else _png(pixels))

    def _send_all(self) -> None:
        """Send what waits, until something cannot be sent; what the server refuses for good is left out."""
        try:
            while self.journal.records:
                try:
                    with hurried():
                        self._send_kept(self.journal.records[0])
                except TrackingError as error:
                    if not _is_refused(error):
                        self._note(error)
                        return
                    self.journal.lost += 1
                except (AttnError, KeyError, TypeError, ValueError, OSError):  # a line, or a file beside it, is damaged
                    self.journal.lost += 1
                self.journal.pop()
                self.breaker.succeeded()
        finally:
            with contextlib.suppress(AttnError):  # what was sent is sent again then, and is there once all the same
                self.journal.save()

    def _note(self, error: TrackingError) -> None:
        self.last = error
        if self.breaker.failed():
            self.fault = error

    def _send_kept(self, record: dict[str, Any]) -> None:
        pixels = None if "picture" not in record else self.journal.picture(record)
        if record["do"] == "preview" and self.has_preview(str(record["name"]), int(record["step"]), int(record["at"])):
            return
        self._send(record, pixels)

    def _send(self, record: dict[str, Any], pixels: NDArray[np.uint8] | None) -> None:
        match record["do"]:
            case "metrics":
                self.send_metrics([tuple(one) for one in record["metrics"]])
            case "tags":
                super().set_tags(record["tags"])
            case "text":
                super().log_text(record["path"], record["text"])
            case "files":
                super().log_files(Path(record["local"]), record["path"])
            case "end":
                self.send_end(record["state"], record["at"])
            case "picture" if pixels is not None:
                super().log_picture(record["path"], pixels)
            case "preview" if pixels is not None:
                super().log_preview(record["name"], pixels, record["step"], record["at"])
            case _:
                raise ValueError(record["do"])


def _is_refused(error: TrackingError) -> bool:
    """Whether the server would refuse the same again, for what it says."""
    return getattr(error.__cause__, "error_code", "") in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
