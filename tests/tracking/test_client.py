"""Timeouts of MLflow requests."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from attn.tracking.mlflow_client import DEFAULT_TIMEOUTS, SHORT_TIMEOUTS, connect, exclusive_setup, short_timeouts


@pytest.mark.parametrize("own", [None, "77"])
def test_short_timeouts_end_with_the_block(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in DEFAULT_TIMEOUTS:
        monkeypatch.setenv(name, "0")  # so that the test's end puts all of them back
        monkeypatch.delenv(name) if own is None else monkeypatch.setenv(name, own)
    with short_timeouts():
        connect("http://127.0.0.1:9")
        assert {name: os.environ[name] for name in SHORT_TIMEOUTS} == SHORT_TIMEOUTS
    assert {name: os.environ.get(name) for name in DEFAULT_TIMEOUTS} == (
        DEFAULT_TIMEOUTS if own is None else dict.fromkeys(DEFAULT_TIMEOUTS, own)
    )


def test_only_one_process_at_a_time_sets_up_a_file(tmp_path: Path) -> None:
    uri, entered = f"sqlite:///{tmp_path}/mlflow.db", threading.Event()

    def enter() -> None:
        with exclusive_setup(uri):
            entered.set()

    second = threading.Thread(target=enter)
    with exclusive_setup(uri):
        second.start()
        assert not entered.wait(0.2)
    second.join(30)
    assert entered.is_set()
