"""A run of another machine that was not heard of for long: every command says that it is interrupted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from attn.errors import RunError
from jobs.runs.heartbeat import ALIVE
from jobs.runs.listing import entry_of, list_entries
from jobs.runs.run_folder import RunFolder
from services.cli.answering import LocalRun
from services.cli.status_page import page_of_run

GONE = "process 1 of another was not heard of for minutes"


@pytest.fixture
def silent(tmp_path: Path) -> LocalRun:
    folder, now = RunFolder(str(tmp_path), "r"), time.time()
    folder.begin(kind="train", state="running", host="another", pid=1, process="p", started=now - 9000)
    folder.write(ALIVE, json.dumps({"at": now - 700}))
    return LocalRun(folder)


def test_it_is_listed_and_cancelled_as_interrupted(silent: LocalRun) -> None:
    (listed,) = list_entries(silent.folder.root)
    page = page_of_run(silent, entry_of(silent.folder, silent.folder.state()))
    assert listed.shown_state == page.state == "interrupted"
    assert GONE in page.why
    with pytest.raises(RunError, match=f"run 'r' is interrupted: {GONE}; `attn resume .* goes on with it"):
        silent.cancel(now=False)


def test_one_that_is_heard_of_is_cancelled_where_it_runs(silent: LocalRun) -> None:
    silent.folder.write(ALIVE, json.dumps({"at": time.time() - 30}))
    with pytest.raises(RunError, match="which this machine cannot reach"):
        silent.cancel(now=True)
