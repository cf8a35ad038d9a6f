"""Makes new MLflow databases of this process copies of the first one, because creating tables takes a second."""

from __future__ import annotations

__all__ = ["copy_after_first", "new_record"]

import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from attn.tracking.sqlite import sqlite_uri

UTILS = "mlflow.store.db.utils"
_first = sqlite3.connect(":memory:", check_same_thread=False)
_one = threading.Lock()


def copy_after_first() -> None:
    """Let MLflow, where it is imported, make its tables once; it compares a copy's version with its own as before."""
    utils: Any = sys.modules.get(UTILS)
    if utils is None or utils._initialize_tables.__module__ != UTILS:
        return
    make = utils._initialize_tables

    def make_or_copy(engine: Any) -> None:
        with _one:
            result = bool(_first.execute("SELECT 1 FROM sqlite_master").fetchone())
            if engine.url.get_backend_name() != "sqlite" or not result:
                make(engine)
            if engine.url.get_backend_name() != "sqlite":
                return
            with engine.connect() as connection:
                other = connection.connection.driver_connection
                if result:
                    _first.backup(other)
                else:
                    other.backup(_first)

    utils._initialize_tables = make_or_copy


def new_record(root: Path) -> None:
    """Put an empty record into a folder of runs, so that a program that the test starts need not make its tables."""
    from mlflow import MlflowClient

    copy_after_first()
    root.mkdir(parents=True, exist_ok=True)
    MlflowClient(sqlite_uri(root / "mlflow.db")).search_experiments()
