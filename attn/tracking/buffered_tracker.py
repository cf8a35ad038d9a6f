"""An MLflow tracker that buffers in the run's folder while the server is down, so that the run can continue."""

from __future__ import annotations

__all__ = ["BufferedTracker"]

import contextlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.errors import AttnError, TrackingError
from attn.tracking.address import display_uri
from attn.tracking.breaker import CircuitBreaker
from attn.tracking.journal import JOURNAL, Journal
from attn.tracking.mlflow_client import short_timeouts
from attn.tracking.mlflow_tracker import METRICS, MISSING, MlflowTracker


class BufferedTracker(MlflowTracker):
    """Like `MlflowTracker`, but buffers what cannot be sent, and sends it in order once the server is back.

    Requests time out after a few seconds. After a failure, `flush` retries with growing pauses. Only `flush` and
    `terminate` raise TrackingError: once when the server goes down, and if it is still down at the end of the run.

    If a response was lost, the record is sent again, but stored only once: MLflow identifies metrics by their time
    stamps and files by their names, and existing previews are looked up.
    """

    def __init__(self, uri: str, run_id: str, folder: str, breaker: CircuitBreaker | None = None) -> None:
        """Open a tracker for an existing record.

        Args:
            folder: The run's folder, local or in an object store.
        """
        super().__init__(uri, run_id)
        self.folder, self.journal, self.breaker = folder, Journal(folder), breaker or CircuitBreaker()
        self.fault: TrackingError | None = None
        self.last: TrackingError | None = None

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int, at: int | None = None) -> None:
        at = at or int(time.time() * 1000)
        self._send_or_buffer({"do": "preview", "name": name, "step": step, "at": at}, pixels)

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
        self._send_or_buffer({"do": "picture", "path": path}, pixels)

    def log_text(self, path: str, text: str) -> None:
        self._send_or_buffer({"do": "text", "path": path, "text": text})

    def log_files(self, local: Path, path: str = "") -> None:
        self._send_or_buffer({"do": "files", "local": str(local), "path": path})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._send_or_buffer({"do": "tags", "tags": {name: str(value) for name, value in tags.items()}})

    def log_scores(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str], at: int) -> None:
        """Record scores in another run of the same server. Repeating it with the same time has no effect.

        Args:
            metrics: Names begin with `scores/`.
            tags: Names begin with `attn.protocol.` or `attn.evaluation.`.
            at: Time in ms.
        """
        rows = [[name, float(value), at, 0] for name, value in metrics.items()]
        self._send_or_buffer({"do": "scores", "run": run_id, "metrics": rows, "tags": dict(tags)})

    def flush(self) -> None:
        """Send buffered records, unless the circuit breaker blocks requests.

        Raises:
            TrackingError: The server stopped answering since the last flush; further records are buffered.
        """
        while self._waiting:
            part = self._waiting[:METRICS]
            metrics = [[one.key, one.value, one.timestamp, one.step] for one in part]
            self._send_or_buffer({"do": "metrics", "metrics": metrics})
            del self._waiting[: len(part)]
        if self.journal.records and self.fault is None and self.breaker.allows_request:
            self._send_all()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise TrackingError(f"{fault}. Until it answers, records are buffered in {self.folder}/{JOURNAL}")

    def terminate(self, state: str) -> None:
        """Flush and close the record, even if the circuit breaker blocks requests.

        Raises:
            TrackingError: The server does not answer; the message says how many records are buffered and how to send
                them.
        """
        with contextlib.suppress(TrackingError):  # reported below, if it persists
            self.flush()
        self._send_or_buffer({"do": "end", "state": state, "at": int(time.time() * 1000)})
        self.send_pending()

    def send_pending(self) -> None:
        """Send buffered records, even if the circuit breaker blocks requests.

        Raises:
            TrackingError: The server does not answer, or refused a record; the message says how many are buffered or
                lost.
        """
        if self.journal.records:
            self._send_all()
        lost = f"; {self.journal.lost} more could not be buffered or were refused" if self.journal.lost else ""
        if waiting := len(self.journal.records):
            raise TrackingError(
                f"{self.last}. {waiting} records are buffered in {self.folder}/{JOURNAL}{lost}; "
                f"`attn resume {self.folder}` sends them once the server answers"
            )
        if lost:
            raise TrackingError(f"tracking at {display_uri(self.uri)} has all buffered records{lost}")

    def _send_or_buffer(self, record: dict[str, Any], pixels: NDArray[np.uint8] | None = None) -> None:
        """Send a record, or append it to the buffered ones."""
        if not self.journal.records and self.breaker.allows_request:
            try:
                with short_timeouts():
                    self._send(record, pixels)
            except TrackingError as error:
                if _is_refused(error):
                    self.fault, self.journal.lost = error, self.journal.lost + 1
                    return
                self._record_failure(error)
            else:
                self.breaker.record_success()
                return
        self.journal.add(record, b"" if pixels is None else _png(pixels))

    def _send_all(self) -> None:
        """Send buffered records until one cannot be sent; drop records that the server refuses permanently."""
        try:
            while self.journal.records:
                try:
                    with short_timeouts():
                        self._send_pending_record(self.journal.records[0])
                except TrackingError as error:
                    if not _is_refused(error):
                        self._record_failure(error)
                        return
                    self.journal.lost += 1
                except (AttnError, KeyError, TypeError, ValueError, OSError):  # the record or its picture is damaged
                    self.journal.lost += 1
                self.journal.pop()
                self.breaker.record_success()
        finally:
            with contextlib.suppress(AttnError):  # else sent records are sent again, which is harmless
                self.journal.save()

    def _record_failure(self, error: TrackingError) -> None:
        self.last = error
        if self.breaker.record_failure():
            self.fault = error

    def _send_pending_record(self, record: dict[str, Any]) -> None:
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
            case "scores":
                other = MlflowTracker(self.uri, record["run"])
                other.send_metrics([tuple(one) for one in record["metrics"]])
                other.set_tags(record["tags"])
            case "end":
                self.send_end(record["state"], record["at"])
            case "picture" if pixels is not None:
                super().log_picture(record["path"], pixels)
            case "preview" if pixels is not None:
                super().log_preview(record["name"], pixels, record["step"], record["at"])
            case _:
                raise ValueError(record["do"])


def _is_refused(error: TrackingError) -> bool:
    """Return whether the server refuses the content, so that a retry is pointless."""
    return getattr(error.__cause__, "error_code", "") in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", MISSING)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
