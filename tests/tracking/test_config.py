"""Where a run is recorded, and that texts have no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from attn.config.resolve import resolve
from attn.errors import ConfigError, TrackingError
from attn.tracking.address import artifact_folder, display_uri, tracking_uri
from attn.tracking.config import TrackingConfig


def test_the_default_is_a_file_under_the_root(tmp_path: Path) -> None:
    uri = tracking_uri(TrackingConfig(), str(tmp_path))
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_folder(uri) == tmp_path / "mlflow-artifacts"


def test_a_given_address_wins() -> None:
    config = TrackingConfig(uri="http://tracking.example:5000")
    assert tracking_uri(config, "s3://bucket/runs") == "http://tracking.example:5000"
    assert artifact_folder("http://tracking.example:5000") is None


def test_a_remote_root_needs_an_address() -> None:
    with pytest.raises(TrackingError, match=r"tracking\.uri"):
        tracking_uri(TrackingConfig(), "s3://bucket/runs")


@pytest.mark.parametrize("uri", ["./mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "databricks"])
def test_uris_that_mlflow_does_not_support_are_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="sqlite://"):
        TrackingConfig(uri=uri)


@pytest.mark.parametrize(
    "uri", ["https://me:hunter2@host", "postgresql+psycopg2://me:hunter2@host/db", "http://host/?token=hunter2"]
)
def test_a_password_is_refused_without_being_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(TrackingConfig, f"uri: {uri}", "file.yaml", [])
    assert "MLFLOW_TRACKING_PASSWORD" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_alias_needs_a_name() -> None:
    with pytest.raises(ValidationError, match="register_as"):
        TrackingConfig(alias="champion")


def test_displayed_uris_have_no_secrets() -> None:
    assert display_uri("postgresql://me:hunter2@host:5432/db?password=x") == "postgresql://host:5432/db"
    assert display_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"
