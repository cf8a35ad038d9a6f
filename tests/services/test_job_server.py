"""When a job server counts as away."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from services import job_server
from services.job_server import JobServer, LostContactError


class Clock:
    """A time that only calls let pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("calls", "lost_for"),
    [
        ([10.0], 0.0),  # one slow answer is none yet
        ([10.0, 10.0], 20.0),  # asked again after as long as the first took
        ([0.0] * 6, 5.0),  # refused, and asked again every second
    ],
)
def test_it_is_away_for_as_long_as_calls_failed(
    monkeypatch: pytest.MonkeyPatch, calls: list[float], lost_for: float
) -> None:
    clock, taken = Clock(), iter(calls)

    def fail(*arguments: Any, **named: Any) -> None:
        clock.now += next(taken)
        raise requests.ConnectTimeout

    monkeypatch.setattr(job_server, "time", clock)
    monkeypatch.setattr(requests, "request", fail)
    server = JobServer("http://127.0.0.1:9")
    for _ in calls:
        with pytest.raises(LostContactError):
            server.job("j")
        clock.now = server.retry_at
    assert server.lost_for == lost_for
