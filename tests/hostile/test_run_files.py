"""What a run's folder holds beside `run.json`, written by anybody: one error that names the file, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attn.errors import AttnError, RunError
from attn.evaluation.score import Score
from jobs.difference import run as compare
from jobs.repro import run as repro
from jobs.runs.checkpoints import newest_checkpoint_name
from jobs.runs.provenance import read_described
from jobs.runs.run_folder import RunFolder
from tests.bundles import tiny_bundle

DEEP = b"[" * 100_000
NESTED = b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}"
JUNK = {"deep": DEEP, "nested": NESTED, "no text": b"\xff\xfe\0", "list": b"[]", "empty": b"", "digits": b"9" * 5000}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path), "a")
    folder.write("run.json", json.dumps({"id": "a", "kind": "evaluate", "state": "done"}))
    folder.write("config.yaml", "seed: 0\n")
    tiny_bundle(tmp_path / "a/model")
    return folder


def _refused(folder: RunFolder, name: str, scratch: Path) -> None:
    for work in (lambda: compare(folder.uri, folder.uri), lambda: repro(folder.uri, to=str(scratch / "out"))):
        problem = ""
        try:
            work()
        except AttnError as error:
            problem = str(error)
        assert not problem or name.rpartition("/")[2] in problem


@pytest.mark.parametrize("name", ["origin.json", "scores.json", "model/model.json", "config.yaml", "changes.patch"])
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_every_file_is_of_use_or_one_error(run: RunFolder, name: str, junk: bytes, tmp_path: Path) -> None:
    run.write(name, junk)
    _refused(run, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("origin.json", {"commit": 5}),
        ("origin.json", {"attn": []}),
        ("origin.json", {"pins": 5}),
        ("origin.json", {"pins": ["a==1\n--index-url http://127.0.0.1:9"]}),
        ("scores.json", {}),
        ("scores.json", {"scores": [1]}),
        ("scores.json", {"scores": {"a": 5}}),
    ],
)
def test_fields_of_other_types_are_refused(run: RunFolder, name: str, content: Any, tmp_path: Path) -> None:
    run.write(name, json.dumps(content))
    with pytest.raises(RunError, match=rf"{name} is damaged"):
        compare(run.uri, run.uri)
    _refused(run, name, tmp_path)


@pytest.mark.parametrize("info", [[1], 5, "x", None, {"data": [1]}])
def test_a_description_that_says_nothing_is_left_out(run: RunFolder, info: Any) -> None:
    run.write("model/model.json", json.dumps({"info": info, "sha256": [5]}))
    assert read_described(run) == (None, None)


@pytest.mark.parametrize("name", ["../../b", "/etc", "", "a/b", ["x"], 5, {}])
def test_a_checkpoint_lies_in_its_run(run: RunFolder, name: Any) -> None:
    for file, content in (
        ("committed.json", {"checkpoint": name}),
        ("checkpoint_manager_snapshot.json", {"latest_checkpoint_result": {"checkpoint_dir_name": name}}),
    ):
        (Path(run.path("checkpoints")) / "committed.json").unlink(missing_ok=True)
        run.write(f"checkpoints/{file}", json.dumps(content))
        with pytest.raises(RunError, match="names no checkpoint of the run"):
            newest_checkpoint_name(run)


@pytest.mark.parametrize(
    "text", [DEEP.decode(), "[]", "5", "{}", '{"name": 5}', '{"hash": []}'], ids=lambda text: text[:9]
)
def test_a_score_that_is_none_is_one_error(text: str) -> None:
    with pytest.raises(AttnError, match="is not a score"):
        Score.from_json(text)
