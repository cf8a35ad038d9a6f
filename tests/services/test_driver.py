"""A job's driver hands over what was submitted, under the service's own checks; nothing is trained here."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attn.config.base import Config
from attn.data.roots import VARIABLE
from attn.sweep import SweepConfig
from attn.sweep.load import trial_config
from jobs.sweep_plan import make_plan
from services import driver

SWEEP = """
kind: sweep
base: scenes_gain
set: {data.count: 8, data.size: 32, input.size: 32, cluster.workers: 1}
space: {method.mask_threshold: [0.2, 0.35]}
search: {name: grid}
objective: {metric: seed_miou}
"""


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what a driver changes of its process: what it may read, and what SIGTERM does."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def order(folder: Path, **submission: object) -> str:
    file = folder / "order.json"
    told = {"submission": {"id": "s", **submission}, "root": str(folder / "runs"), "data_roots": []}
    file.write_text(json.dumps(told))
    return str(file)


def test_a_sweep_looks_at_its_trials_before_it_gives_them_a_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def run(config: SweepConfig, base: str, **options: object) -> dict[str, Any]:
        seen.extend([make_plan(config, base), trial_config(base, {}, f"root={config.root}/s")])
        return {}

    monkeypatch.setattr("jobs.sweep.run", run)
    status = driver.main(order(tmp_path, kind="sweep", config=SWEEP))
    assert (status, capfd.readouterr().err) == (0, "")
    assert isinstance(seen[1], Config)
    assert vars(seen[1])["root"] == f"{tmp_path}/runs/s"


@pytest.mark.parametrize("root", ["/elsewhere/runs", "s3://elsewhere/runs", "runs/../../x"])
def test_no_trial_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], root: str
) -> None:
    def run(config: SweepConfig, base: str, **options: object) -> dict[str, Any]:
        trial_config(base, {}, f"root={root}")
        return {}

    monkeypatch.setattr("jobs.sweep.run", run)
    assert driver.main(order(tmp_path, kind="sweep", config=SWEEP)) == 2
    assert "is not the service's root" in capfd.readouterr().err
