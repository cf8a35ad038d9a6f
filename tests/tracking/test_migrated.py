"""A copied database equals one that MLflow created."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.store.db import utils

from tests.tracking.migrated import copy_after_first


def dump(file: Path) -> list[Any]:
    """Tables with their columns and constraints, and the version; Alembic writes constraints in an order of chance."""
    with sqlite3.connect(file) as record:
        tables = record.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        version = record.execute("SELECT version_num FROM alembic_version").fetchall()
    return [*((kind, name, lines_of(sql or "")) for kind, name, sql in tables), version]


def lines_of(sql: str) -> list[str]:
    return sorted(line.strip(" \t,") for line in sql.splitlines())


def test_a_copied_database_has_the_tables_of_a_new_one_and_no_other_runs(tmp_path: Path) -> None:
    copy_after_first()
    for name in "ab":
        client = MlflowClient(f"sqlite:///{tmp_path}/{name}.db")
        client.create_run(client.create_experiment(name))
        assert {experiment.name for experiment in client.search_experiments()} == {"Default", name}
    engine = sa.create_engine(f"sqlite:///{tmp_path}/made.db")
    utils.InitialBase.metadata.create_all(engine)
    utils._upgrade_db(engine)
    engine.dispose()
    assert dump(tmp_path / "b.db") == dump(tmp_path / "made.db")
