"""No secret of the environment stands in what a run on S3 leaves or says (every server: benchmarks.whole_stack)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import tiny_bundle
from tests.cli.conftest import Attn
from tests.conftest import S3_KEYS
from tests.leaks import in_bucket, leaks, under


def test_what_is_searched_for_would_be_found(s3_server: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff key=made-up \x00")
    places = list(under(tmp_path))
    assert leaks({"a key": "made-up", "another": "not there"}, places) == [f"a key stands in {tmp_path}/log"]
    assert list(under(tmp_path, but=tmp_path)) == []
    assert list(in_bucket(s3_server)) == []


def test_a_run_on_s3(attn: Attn, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = "made-up-for-tests-too"
    hidden = {**S3_KEYS, "MLflow's password": password, "Ray's token": "made-up-for-ray"}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    monkeypatch.setenv("RAY_AUTH_TOKEN", hidden["Ray's token"])
    model, root = tiny_bundle(tmp_path / "model"), f"{s3_server}/runs"
    record = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    run = ("evaluate", str(model), f"root={root}", record, "tracking.enabled=true")
    done = [
        attn(*run, "--json"),
        attn("ls", "--root", root),
        attn("doctor", f"root={root}", record, "--json"),
        attn("evaluate", str(model), "root=s3://nobody/runs"),
        attn("models", "ls", f"tracking.uri=http://somebody:{password}@127.0.0.1:9"),
    ]
    assert [one.status for one in done[:3]] == [0, 0, 0], done
    assert [one.status for one in done[3:]] == [1, 2], done
    said = [(f"command {number}", (one.out + one.err).encode()) for number, one in enumerate(done)]
    kept = list(in_bucket(s3_server))
    assert {"run.json", "config.yaml", "scores.json"} <= {name.rpartition("/")[2] for name, _ in kept}
    recorded = list(under(tmp_path))
    assert any(name.endswith("mlflow.db") for name, _ in recorded)
    assert leaks(hidden, [*said, *kept, *recorded]) == []
