"""`attn store`: what people and programs are told about a map store."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from attn import store as maps
from attn.store import MapStore
from attn.store.format.manifest import Manifest
from jobs.runs.run_folder import RunFolder
from tests.services.cli.conftest import Attn

GRID = (2, 3)
ROWS = [("a", 0), ("a", 1), ("b", 0)]


@pytest.fixture
def stored(tmp_path: Path) -> MapStore:
    """Two committed versions and one that was abandoned."""
    store = maps.create(str(tmp_path / "store"), rows=ROWS, grid=GRID, classes=["cat", "dog"], fingerprint="abc")
    session = store.begin("run-1")
    for epoch in range(2):
        writer = session.writer(0)
        writer.add_many(ROWS[:2], np.full((2, *GRID), 0.2 + epoch / 2))
        writer.add(*ROWS[2], np.ones(GRID), fallback=True)
        session.commit(epoch, [writer.seal()])
        if epoch == 0:
            session.publish()
    store.begin("run-1", from_version=1).commit(1, [])
    store.tag("model-1", 1)
    return store


def test_show(stored: MapStore, attn: Attn) -> None:
    result = attn("store", "show", stored.uri)
    assert result.status == 0
    assert result.out.splitlines()[0] == "3 rows of 2 images, grid 2×3, fusion max"
    assert [line.split()[0] for line in result.out.splitlines()[1:]] == ["version", "1", "2", "3"]
    assert "tag model-1" in result.out.splitlines()[2]
    # The first epoch, which the store counts as 0, is 1 in trainings and pictures.
    assert [line.split()[3] for line in result.out.splitlines()[2:]] == ["1", "2", "2"]
    assert " bytes" in result.out or " kB" in result.out
    assert "abandoned" in result.out.splitlines()[3]
    result = attn("store", "show", stored.uri, "--json")
    data = result.json
    assert (result.status, data["rows"], data["fingerprint"], data["classes"]) == (0, 3, "abc", ["cat", "dog"])
    first, second, third = data["versions"]
    assert (first["accepted"], first["fallback"], first["heads"], first["tags"]) == (2, 1, ["head"], ["model-1"])
    assert (second["live"], third["live"], third["parent"], third["session"]) == (False, True, 1, 2)
    assert first["coverage"] == pytest.approx(2 / 3)


def test_show_while_a_run_begins(stored: MapStore, attn: Attn, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = MapStore.newest

    def slow(store: MapStore, run: str | None = None) -> Manifest:
        if "late" not in store.runs:
            store.begin("late").commit(0, [], tentative=True)
        return newest(store, run)

    monkeypatch.setattr(MapStore, "newest", slow)
    result = attn("store", "show", stored.uri, "--json")
    assert (result.status, result.json["versions"][-1]["run"], result.json["versions"][-1]["tentative"]) == (
        0,
        "late",
        True,
    )


def test_show_an_empty_store(tmp_path: Path, attn: Attn) -> None:
    maps.create(str(tmp_path / "s"), rows=ROWS, grid=GRID)
    result = attn("store", "show", str(tmp_path / "s"))
    assert (result.status, result.out.splitlines()[-1]) == (0, "no version yet")


@pytest.mark.parametrize("command", ["show", "verify", "gc"])
def test_a_run_in_place_of_a_store(command: str, tmp_path: Path, attn: Attn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("oaa", "plain"):
        RunFolder(str(tmp_path / "runs"), run).update(kind="train", state="done")
    maps.create(str(tmp_path / "runs/oaa/store"), rows=ROWS, grid=GRID)
    for name in ("oaa", "runs/oaa"):
        done = attn("store", command, name)
        assert (done.status, f"no store.json; did you mean {tmp_path}/runs/oaa/store?" in done.err) == (1, True), (
            done.err
        )
    for name in ("plain", "nothing"):
        done = attn("store", command, name)
        assert (done.status, "store.accumulate=true, and `attn maps MODEL` writes one" in done.err) == (1, True), (
            done.err
        )


def test_verify(stored: MapStore, attn: Attn) -> None:
    result = attn("store", "verify", stored.uri)
    assert result.status == 0
    assert result.out.startswith("3 versions, 2 objects")
    assert result.out.endswith("all is well\n")
    key = stored.at().manifest.shards[0].key
    path = Path(stored.uri, key)
    path.write_bytes(path.read_bytes()[:-9])
    result = attn("store", "verify", stored.uri, "--json")
    data = result.json
    assert (result.status, data["ok"], len(data["faults"])) == (1, False, 1)
    assert f"{key}, of versions 1, 3, is damaged" in data["faults"][0]
    result = attn("store", "verify", stored.uri)
    first, last = result.out.splitlines()
    assert (result.status, key in first, last.endswith("1 fault")) == (1, True, True)


def test_gc(stored: MapStore, attn: Attn) -> None:
    result = attn("store", "gc", stored.uri)
    assert (result.status, result.out) == (0, "no version, 0 objects, 0 bytes would go; --delete removes them\n")
    long_ago = time.time() - 2 * 86400
    for path in Path(stored.uri).rglob("*"):
        os.utime(path, (long_ago, long_ago))
    result = attn("store", "gc", stored.uri, "--json")
    data = result.json
    assert (data["dry_run"], data["versions"], data["kept"]) == (True, [2], [1, 3])
    result = attn("store", "gc", stored.uri, "--delete", "--keep", "1")
    assert result.out.startswith("version 2, ")
    assert result.out.endswith("removed\n")
    assert [manifest.version for manifest, _ in stored.history()] == [1, 3]
    assert attn("store", "verify", stored.uri).status == 0


def test_export(stored: MapStore, tmp_path: Path, attn: Attn, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    result = attn("store", "export", stored.uri, str(target), "--version", "2", "--json")
    assert (result.status, result.json) == (0, {"maps": 3, "version": 2, "format": "png", "target": str(target)})
    assert {path.name for path in target.iterdir()} == {"a_0.png", "a_1.png", "b_0.png", "classes.json"}
    monkeypatch.chdir(tmp_path)
    result = attn("store", "export", stored.uri, "m", "--format", "npz")
    said = f"3 maps of version 3 in the file {tmp_path}/m\n"
    assert (result.status, result.out) == (0, said), "the whole path, by the name as given"
    result = attn("store", "export", stored.uri, "m.npz", "--format", "npz")
    assert result.out.endswith(f" in the file {tmp_path}/m.npz\n")
    assert attn("store", "export", stored.uri, "o").out.endswith(f" in the folder {tmp_path}/o\n")
    with np.load(tmp_path / "m.npz") as file:
        assert file["maps"].max() == 255


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["show", "nowhere"], "store", "holds no map store"),
        (["verify", "gs://x"], "store", "is not a location of a store"),
        (["export", "STORE", "out", "--version", "9"], "store.version", "no version 9"),
        (["export", "STORE", "out", "--format", "tar"], "store", "use one of png, npz, parquet"),
    ],
)
def test_mistakes_are_said(stored: MapStore, attn: Attn, arguments: list[str], code: str, text: str) -> None:
    result = attn("store", *(stored.uri if word == "STORE" else word for word in arguments), "--json")
    assert result.status == 1
    assert text in result.err
    assert "Traceback" not in result.err
    assert result.json["error"]["code"] == code
