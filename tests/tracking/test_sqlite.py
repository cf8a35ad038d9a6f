"""For any folder name, the database and artifacts are inside the folder, and nothing is outside of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import make_url

from attn.config.base import Config
from attn.config.resolve import resolve
from attn.errors import ConfigError
from attn.store.backends import connect
from attn.tracking import TrackingConfig, attach, create_run
from attn.tracking.address import artifact_folder, tracking_uri
from attn.tracking.sqlite import sqlite_file, sqlite_uri

NAMES = ["job%2Fmain", "what?x=1", "a#b", "two words", "größe", "a;b&c=d", "me:you@home", "100%", "runs"]


class Run(Config):
    seed: int = 3


@pytest.mark.parametrize("name", NAMES)
def test_sqlalchemy_opens_the_file_that_is_meant(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    uri = tracking_uri(TrackingConfig(), str(file.parent))
    assert make_url(uri).database == str(file)
    assert not make_url(uri).query
    assert sqlite_file(uri) == file
    assert artifact_folder(uri) == file.parent / "mlflow-artifacts"


def test_a_record_is_in_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name in NAMES:
        root = tmp_path / name
        root.mkdir()
        if (result := tmp_path / NAMES[0] / "empty.db").exists():
            shutil.copy(result, root / "mlflow.db")  # to set a database up takes seconds
        else:
            create_run(TrackingConfig(experiment="none"), str(root), "none", Run())
            shutil.copy(root / "mlflow.db", result)
        run_id = create_run(TrackingConfig(), str(root), "a", Run())
        attach(TrackingConfig(), str(root), run_id).log_text("more/note.txt", "hello")
        assert [path.read_text() for path in (root / "mlflow-artifacts").rglob("note.txt")] == ["hello"]
        assert (root / "mlflow.db.lock").exists()
    assert sorted(os.listdir(tmp_path)) == sorted([*NAMES, "elsewhere"])
    assert not list(elsewhere.iterdir())


def test_a_given_file_means_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert TrackingConfig(uri="sqlite:///here/a.db").uri == f"sqlite:///{tmp_path}/here/a.db"
    assert TrackingConfig(uri="sqlite:////tmp/a%2520b.db").uri == "sqlite:///%2Ftmp%2Fa%2520b.db"
    assert TrackingConfig(uri=sqlite_uri("/tmp/what?.db")).uri == sqlite_uri("/tmp/what?.db")
    assert TrackingConfig(uri="sqlite:////tmp/a.db?timeout=5").uri == "sqlite:////tmp/a.db?timeout=5"
    for nowhere in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        with pytest.raises(ConfigError, match="is a database in memory"):
            resolve(TrackingConfig, f"uri: '{nowhere}'", "file.yaml", [])


def test_the_uri_of_a_folder_is_decoded(tmp_path: Path) -> None:
    for name in NAMES:
        assert connect((tmp_path / name).as_uri()).uri == str(tmp_path / name)
        assert connect(str(tmp_path / name)).uri == str(tmp_path / name)
