"""A run is known from the moment that its command has accepted it, and leaves nothing if it does not begin."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attn.errors import AttnError, DataError, RunError
from attn.process_identity import process_identity
from attn.runs.recipes import load_run
from attn.runs.table import job_of
from jobs.runs.lifecycle import begin_or_continue
from jobs.runs.listing import find_run
from jobs.runs.run_folder import NoSuchRunError, RunFolder
from jobs.runs.starting import start_of, starting
from services.cli.status_page import page_of_job

DATA = ("data.count=8", "data.size=32", "input.size=32", "training.epochs=1")
KINDS = {
    "train": ("scenes_grad_cam", DATA),
    "segment": ("segment_scenes", ("labels.maps={source: store, uri: nowhere}",)),
    "pipeline": ("grad_cam_segment_scenes", ()),
    "sweep": ("sweep_scenes_gain", ()),
}


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def put(folder: RunFolder, process: subprocess.Popen[bytes], **changes: Any) -> None:
    """The note of a run that another process is starting."""
    driven = {"pid": process.pid, "process": process_identity(process.pid), "host": platform.node()}
    state = {"id": folder.run_id, "kind": "train", "state": "starting", "started": time.time(), **driven, **changes}
    folder.write("starting.json", json.dumps(state))


def test_status_and_ls_know_it(attn: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with starting(RunFolder(str(root), "a"), "train"):
        seen = attn("status", "a", "--root", str(root), "--json")
        assert (seen.status, seen.json["state"], seen.json["kind"]) == (0, "starting", "train")
        listed = attn("ls", "--root", str(root), "--json", "--state", "starting").json["runs"]
        assert [run["id"] for run in listed] == ["a"]
    gone = attn("status", "a", "--root", str(root))
    assert (gone.status, "no run 'a'" in gone.err) == (1, True)
    assert list(tmp_path.iterdir()) == [], "nothing is left of a run that has not begun"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_while_it_is_checked_and_recorded(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str | None] = []
    recipe, overrides = KINDS[kind]

    def look(*_: Any, **__: Any) -> None:
        seen.append(find_run(RunFolder(str(tmp_path), "a")).state)
        raise DataError("of the test")

    for place in ("jobs.training.classifier.validate", "jobs.training.segmenter.validate",
                  "jobs.stages.data.PipelineData.check", "jobs.runs.lifecycle.create_run"):  # fmt: skip
        monkeypatch.setattr(place, look)
    config = load_run(recipe, kind, [*overrides, f"root={tmp_path}"])
    with pytest.raises(DataError, match="of the test"):
        job_of(kind).run(config, run_id="a")
    assert (seen, list(tmp_path.iterdir())) == (["starting"], [])


def test_a_run_that_has_begun_has_its_own_state(tmp_path: Path) -> None:
    config = load_run("scenes_grad_cam", "train", [f"root={tmp_path}", "tracking.enabled=false"])
    folder = RunFolder(str(tmp_path), "a")
    with begin_or_continue("train", config, folder, recorded=config):
        assert (folder.state().state, folder.exists("starting.json")) == ("running", False)
    assert folder.state().state == "done"
    with starting(folder, "train"):
        assert find_run(folder).state == "done", "until it begins anew"


def test_no_two_processes_start_a_run_of_one_name(other: subprocess.Popen[bytes], tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "a")
    put(folder, other)
    refused = pytest.raises(RunError, match=rf"being started by process {other.pid}.*choose another --run-id")
    with refused, starting(folder, "train"):
        pass
    other.kill()
    other.wait()
    assert start_of(folder) is None, "its process is gone"
    with pytest.raises(NoSuchRunError):
        find_run(folder)
    with starting(folder, "train"):
        assert find_run(folder).state == "starting"


def test_of_another_machine_it_is_believed_for_minutes(other: subprocess.Popen[bytes], tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "a")
    put(folder, other, host="elsewhere")
    assert find_run(folder).state == "starting"
    put(folder, other, host="elsewhere", started=time.time() - 3600)
    assert start_of(folder) is None
    folder.write("starting.json", "{")
    assert start_of(folder) is None, "a damaged note says nothing"


def test_a_start_can_be_cancelled(attn: Any, other: subprocess.Popen[bytes], tmp_path: Path) -> None:
    put(RunFolder(str(tmp_path), "a"), other)
    done = attn("cancel", "a", "--root", str(tmp_path))
    assert (done.status, "starting, cancelling" in done.out) == (0, True), done
    assert other.wait(10) != 0


def test_a_job_that_has_no_run_yet_is_starting() -> None:
    job = {"id": "a", "kind": "train", "state": "running", "run": None}
    assert page_of_job(job).state == "starting"
    assert page_of_job({**job, "cancelling": True}).state == "starting, cancelling"
    assert page_of_job({**job, "run": {"what": "gain"}}).state == "running"
    assert page_of_job({**job, "broken": "run.json is damaged"}).state == "running"
    assert page_of_job({**job, "state": "queued"}).state == "queued"


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(AttnError, match="cannot be written"), starting(RunFolder(f"{tmp_path}/runs", "a"), "train"):
        pass
