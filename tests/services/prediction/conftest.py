"""A prediction service to call, of an untrained classifier."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from attn.data.sources.generated import ScenesConfig
from services.access import digests_of
from services.prediction_service.app import create_app
from services.prediction_service.config import LabelStudioConfig, RequestLimits
from tests.bundles import tiny_bundle
from tests.services.prediction.engines import READ, TOKENS, local_engine, served


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which images of tasks may be read."""
    return tmp_path_factory.mktemp("roots")


@pytest.fixture(scope="module")
def client(model: Path, roots: Path) -> Iterator[TestClient]:
    app = create_app(
        local_engine(served(model, roots)),
        RequestLimits(bytes=1 << 16, images=3, seconds=60),
        LabelStudioConfig(roots=(str(roots),)),
        digests=digests_of(TOKENS),
    )
    headers = {"Authorization": f"Bearer {READ}"}
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False, headers=headers) as client:
        yield client


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 60 by 64 pixels."""
    stream = io.BytesIO()
    Image.fromarray(ScenesConfig(count=1, size=64).build().load(0).image[:, :60]).save(stream, "PNG")
    return stream.getvalue()
