"""After the loss of the machine that drove a run, others say that it is interrupted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.runs import heartbeat as beats
from jobs.runs.heartbeat import ALIVE, heartbeat
from jobs.runs.listing import list_entries
from jobs.runs.run_folder import RunFolder


def test_a_process_is_heard_of_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    folder = RunFolder(str(tmp_path), "r")
    begun = time.time()
    with heartbeat(folder):
        while not folder.exists(ALIVE):
            time.sleep(0.01)
    assert begun <= folder.read_json(ALIVE)["at"] <= time.time()


@pytest.mark.parametrize(
    ("host", "ages", "alive", "expected"),
    [
        ("another", {"started": 9000}, {"at": 700}, "interrupted"),
        ("another", {"started": 9000}, {"at": 30}, "running"),
        ("another", {"started": 9000, "resumed": 20}, {"at": 700}, "running"),  # it has not reported yet
        ("another", {"started": 9000}, None, "running"),  # an earlier version never does
        ("another", {"started": 9000}, {"at": "x"}, "running"),
        ("another", {"started": 9000, "state": "done"}, {"at": 700}, "done"),
    ],
)
def test_a_run_of_a_lost_machine_is_interrupted(
    tmp_path: Path, host: str, ages: dict[str, Any], alive: dict[str, Any] | None, expected: str
) -> None:
    folder, now = RunFolder(str(tmp_path), "r"), time.time()
    times = {name: now - age for name, age in ages.items() if name != "state"}
    folder.begin(kind="train", state=ages.get("state", "running"), host=host, pid=1, process="p", **times)
    if alive is not None:
        at = alive["at"]
        folder.write(ALIVE, json.dumps({"at": now - at if isinstance(at, int) else at}))
    (entry,) = list_entries(str(tmp_path))
    assert entry.shown_state == expected
    assert entry.to_json()["state"] == expected
