"""Runs whose files a crash, a person or another program has damaged: each shows as broken, and the others show."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from attn.errors import RunError
from attn.models.bundle import _suggestion
from attn.run_state import RunState
from jobs import difference
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import RunFolder
from jobs.stages.record import StageRecord
from jobs.sweeps.estimate import _folders
from jobs.sweeps.results import read_rows
from services.api import create_app
from services.cli.main import main
from services.supervisor import Supervisor
from services.table import Job, JobTable

GOOD = {"id": "good", "kind": "train", "state": "done", "started": 5.0, "metrics": {"val/mean_ap": 0.5}}
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not valid JSON"),
    "truncated": (json.dumps(GOOD).encode()[:-9], "not valid JSON"),
    "binary": (bytes(range(256)), "not valid JSON"),
    "object": (b"{}", "id: Field required"),
    "list": (b"[]", "expected a JSON object, found an array"),
    "null": (b"null", "expected a JSON object, found null"),
    "string": (b'"run"', "expected a JSON object, found a string"),
    "nan": (b"NaN", "expected a JSON object, found a number"),
    "id": (b'{"id": 5}', "id: Input should be a valid string"),
    "metrics": (b'{"id": "x", "metrics": 5}', "metrics: Input should be a valid dictionary"),
    "metric": (b'{"id": "x", "metrics": {"a": "high"}}', "metrics.a: Input should be a valid number"),
    "state": (b'{"id": "x", "state": "\\u001b[2J"}', "state: String should match pattern"),
    "kind": (b'{"id": "x", "kind": ["train"]}', "kind: Input should be a valid string"),
    "stages": (b'{"id": "x", "stages": [1]}', "stages: Input should be a valid dictionary"),
    "stage": (b'{"id": "x", "stages": {"train": {}}}', "stages.train.run_id: Field required"),
    "epoch": (b'{"id": "x", "epoch": 1.5}', "epoch: Input should be a valid integer"),
    "digits": (b'{"id": "x", "epoch": ' + b"9" * 5000 + b"}", "not valid JSON"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deeper": (b'{"id": "x", "a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
    "half-a-pair": (b'{"id": "x", "error": "\\ud800"}', "half of a surrogate pair"),
    "half-a-pair-key": (b'{"id": "x", "\\udfff": 1}', "half of a surrogate pair"),
    "large": (b" " * ((16 << 20) + 1), "16777216 are the most"),
}


SHOWN_ONLY: list[tuple[str, object]] = [
    ("started", float("nan")),
    ("started", 1e300),
    ("started", -1e300),
    ("started", "today"),
    ("ended", [5]),
    ("seconds", "long"),
    ("error", {"text": 5}),
    ("notices", 5),
    ("notes", "one"),
    ("images", -1),
    ("overlap", {"a": 5}),
]


@pytest.mark.parametrize(("field", "wrong"), SHOWN_ONLY, ids=str)
def test_a_wrong_value_that_is_only_shown_is_left_out(
    tmp_path: Path, field: str, wrong: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is listed, continued and written as ever; nobody may write such a value."""
    folder = RunFolder(str(tmp_path), "r")
    folder.write("run.json", json.dumps({"id": "r", "kind": "train", "state": "done", "seconds": 1.5, field: wrong}))
    (run,) = list_runs(str(tmp_path))
    assert (run.state, getattr(run, field), run.to_json()[field]) == ("done", None, None)
    with TestClient(create_app(str(tmp_path), None), base_url="http://127.0.0.1") as client:
        (listed,) = client.get("/runs").json()["runs"]
        assert (listed["state"], listed.get(field)) == ("done", None)
    monkeypatch.setattr(sys, "argv", ["attn", "ls", "--root", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("r "))
    assert "done" in line
    folder.update(epoch=3)
    assert folder.read_json("run.json")[field] is None
    assert folder.state().epoch == 3
    with pytest.raises(ValueError, match=field):
        folder.update(**{field: wrong})


def test_a_state_without_a_file_has_its_fields() -> None:
    assert RunState(id="r", epoch=2).to_json() == {"id": "r", "epoch": 2}
    assert RunState(id="r").changed(epoch=3).to_json() == {"id": "r", "epoch": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a run that is well, every broken one, and folders that are no runs."""
    folder = tmp_path_factory.mktemp("broken") / "runs"
    for name, content in {
        "good": json.dumps(GOOD).encode(),
        **{name: text for name, (text, _) in BROKEN.items()},
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_bytes(content)
    (folder / "copy").mkdir()
    (folder / "copy" / "run.json").write_text(json.dumps(GOOD | {"started": 4.0}))
    (folder / "no run").mkdir()
    (folder / "mlruns").mkdir()
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "run.json")
    (folder / "folder" / "run.json").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    """A service with a job, started once, for each run."""
    table = JobTable(f"sqlite:///{root.parent}/jobs.db")
    for at, name in enumerate(("good", *BROKEN)):
        table.add(Job(id=name, kind="train", target="t", request="r", state="running", attempt=1, submitted=100.0 - at))
    supervisor = Supervisor(str(root), root.parent / "home", table)
    with TestClient(create_app(str(root), supervisor), base_url="http://127.0.0.1") as one:
        yield one
    supervisor.stop()
    table.close()


def test_a_listing_shows_each_with_what_is_wrong(root: Path, client: TestClient) -> None:
    for runs in ([run.to_json() for run in list_runs(str(root))], client.get("/runs").json()["runs"]):
        assert [run["id"] for run in runs[:2]] == ["good", "copy"], "newest first, by the folders' names"
        assert runs[0]["state"] == "done"
        assert {run["id"] for run in runs} == {"good", "copy", *BROKEN}
        for run in runs[2:]:
            assert run["state"] == "broken"
            assert BROKEN[run["id"]][1] in run["error"]
            assert f"{run['id']}/run.json is damaged" in run["error"]


def test_the_command_line_lists_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["attn", "ls", "--root", str(root)])
    with pytest.raises(SystemExit) as ended:
        main()
    _, *lines = capsys.readouterr().out.splitlines()
    assert not ended.value.code
    assert len(lines) == 2 + len(BROKEN)
    assert lines[0].split()[:3] == ["good", "train", "done"]
    for line in lines[2:]:
        assert " broken " in line
        assert BROKEN[line.split()[0]][1] in line


@pytest.mark.parametrize("name", BROKEN)
def test_one_run_alone_says_what_is_wrong(root: Path, client: TestClient, name: str) -> None:
    words = BROKEN[name][1]
    with pytest.raises(RunError) as caught:
        RunFolder(str(root), name).state()
    assert words in str(caught.value)
    with pytest.raises(RunError):
        RunFolder(str(root), name).update(state="done")
    run = client.get(f"/runs/{name}")
    assert (run.status_code, run.json()["state"]) == (200, "broken")
    assert words in run.json()["error"]
    job = client.get(f"/jobs/{name}")
    assert (job.status_code, job.json()["state"]) == (200, "running"), "the table knows that"
    assert words in job.json()["broken"]
    assert "broken" in _suggestion(name, str(root))


def test_a_list_of_jobs_shows_all(client: TestClient) -> None:
    jobs = client.get("/jobs").json()["jobs"]
    assert [job["id"] for job in jobs] == ["good", *BROKEN]
    assert jobs[0]["broken"] is None
    assert jobs[0]["metrics"] == {"val/mean_ap": 0.5}


def test_no_plan_fails_because_of_them(root: Path) -> None:
    assert {folder.run_id for folder in _folders(str(root))} == {"good", "copy", *BROKEN}


@pytest.mark.parametrize(
    "config",
    [b"a: [", b"\xff\xfe\x00", b"[1, 2]", b"a: " + b"{a: " * 500, b"a: !!binary aGVsbG8=\n", b"a: !!python/none x"],
    ids=repr,
)
def test_a_broken_config(root: Path, client: TestClient, config: bytes) -> None:
    (root / "good" / "config.yaml").write_bytes(config)
    run = client.get("/runs/good")
    (root / "good" / "config.yaml").unlink()
    assert (run.status_code, run.json()["state"], run.json()["config"]) == (200, "broken", {})
    assert "config.yaml" in run.json()["error"]


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (b'{"kind": "step", "epoch": 1, "time": 10.0, "losses": {"loss": NaN}}', True),
        (b'{"kind": "step", "time": 10.0, "seconds_left": "soon"}', False),
        (b'{"kind": "step", "time": "now"}', False),
        (b'{"kind": "step", "time": 10.0, "clock": 5}', False),
        (b'{"kind": "step", "time": 10.0, "losses": {"a": {"b": 1}}}', False),
        (b"[" * 10_000, False),
        (b"[]", False),
        (b"\xff", False),
        (b"", False),
    ],
    ids=range(9),
)
def test_broken_progress_is_left_out(root: Path, client: TestClient, progress: bytes, shown: bool) -> None:
    (root / "good" / "progress.json").write_bytes(progress)
    job = client.get(f"/jobs/good?{hash(progress)}")  # another question than before, whose answer is kept for a moment
    (root / "good" / "progress.json").unlink()
    assert job.status_code == 200
    assert (job.json()["progress"] is not None) == shown
    if shown:
        assert job.json()["progress"]["losses"] == {"loss": None}


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": 1, "outputs": {}, "seconds": 1}',
        b'{"inputs": {}, "outputs": {}, "seconds": "1"}',
    ],
    ids=repr,
)
def test_a_broken_record_of_a_stage_is_none(root: Path, record: bytes) -> None:
    (root / "good" / "stage.json").write_bytes(record)
    assert StageRecord.read(RunFolder(str(root), "good")) is None


@pytest.mark.parametrize(
    "state",
    [*(text for text, _ in BROKEN.values()), b'{"id": "s-0002", "number": 2}'],
    ids=[*BROKEN, "another trial's"],
)
def test_a_broken_trial_is_left_out_of_its_sweep(tmp_path: Path, state: bytes) -> None:
    sweep = tmp_path / "s"
    for number, text in ((1, json.dumps({"id": "x", "number": 1, "state": "done", "values": {}}).encode()), (2, state)):
        (sweep / f"s-000{number}").mkdir(parents=True)
        (sweep / f"s-000{number}" / "run.json").write_bytes(text)
    (sweep / "sweep.yaml").write_text("objective: {metric: m}\n")
    rows = read_rows(RunFolder(str(tmp_path), "s"))
    assert [row.number for row in rows] == [1]


@pytest.mark.parametrize("name", ["model/model.json", "origin.json", "scores.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"], ids=range(5))
def test_a_comparison_names_the_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    for run in "ab":
        (tmp_path / run / "model").mkdir(parents=True)
        (tmp_path / run / "run.json").write_text(json.dumps({"id": run, "kind": "evaluate", "state": "done"}))
    (tmp_path / "b" / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"b/{name} is damaged: "):
        difference.run("a", "b", root=str(tmp_path))


@pytest.mark.parametrize("named", ["good", "good/", "good//"])
def test_a_slash_behind_a_runs_name_changes_nothing(named: str, tmp_path: Path) -> None:
    assert RunFolder.of(named, str(tmp_path)).uri == RunFolder.of(f"{tmp_path}/{named}", "x").uri == f"{tmp_path}/good"
