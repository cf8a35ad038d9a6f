"""The service from first to last, in small: `python -m benchmarks.whole_service` does the whole."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import whole_service as whole
from services.cli.main import main
from services.local_runner import MARK
from tests.leaks import leaks, under
from tests.tracking.migrated import new_record

# Made up at run time: a run keeps the diff of an uncommitted tree, this file's too.
HIDDEN = {name: secrets.token_hex(16) for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")}


class PersonHere(whole.Person):
    """Runs commands in this process, which has the imports already."""

    def call(self, *words: str, shown: bool) -> tuple[int, list[str], str]:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["attn", *words])
            with pytest.raises(SystemExit) as ended:
                main()
        out.seek(0)
        return int(ended.value.code or 0), out.readlines(), err.getvalue()


@pytest.mark.slow
def test_the_service_from_first_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HIDDEN.items():
        monkeypatch.setenv(name, value)
    new_record(tmp_path / "runs")
    with whole.serving(tmp_path / "runs", "--slots", "2", person=PersonHere) as person:
        whole.submit_sweep(person, "sweep", sigma=[0.2, 0.35], omega=[10], parallel=1)
        whole.submit_twice(person, "gain")
        whole.cancel_in_mid_epoch(person, "gain")
        assert not processes_of("gain")
        whole.go_on(person, "gain")
        whole.follow(person, "gain")
        whole.follow_sweep(person, "sweep", 2)
        # The first trial has the recipe's own values, and nobody disturbed it.
        whole.same_weights(person.run("sweep") / "sweep-0000", person.run("gain"))
        whole.check_record(person, "sweep", 2)
        whole.fetch_and_predict(person, tmp_path, whole.photograph(tmp_path))
        paths = ("/jobs", "/jobs/gain/log", "/jobs/sweep/log", "/runs", "/runs/gain", "/runs/sweep", "/metrics")
        answers = [(path, str(person.server.call("GET", path)).encode()) for path in paths]
    assert not processes_of("gain")
    assert not processes_of("sweep")
    assert leaks(HIDDEN, [*answers, *under(tmp_path)]) == []


def processes_of(job: str) -> list[int]:
    """Processes that a job of a service here has left."""
    results: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK, "").endswith(f":{job}"):
                results.append(process.pid)
        except psutil.Error:
            continue
    return results
