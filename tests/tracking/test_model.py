"""A logged model: loads without pickle, at other sizes, from the registry, with its bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from attn.config.base import Config
from attn.errors import WeightsError
from attn.registry import fetch_model
from attn.registry.mlflow_model import log_network
from attn.registry.mlflow_registry import Registry
from attn.tracking import TrackingConfig, create_run
from tests.bundles import tiny_bundle


class Returned(NamedTuple):
    logits: Tensor
    features: dict[str, Tensor]


class Network(nn.Module):
    """As much of a network as exporting needs: several outputs, any size."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.linear = nn.Linear(5, 4)

    def forward(self, images: Tensor, *, update_statistics: bool = True) -> Returned:
        features = self.norm(self.convolution(images)).relu()
        return Returned(self.linear(features.mean((2, 3))), {"last": features})


class Run(Config):
    seed: int = 0


# What torch.export, MLflow's loader and its server-side store say of themselves is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("place", ["sqlite", "server"])
def test_a_registered_model_comes_back(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Path, place: str
) -> None:
    import mlflow

    root = str(tmp_path / "runs")
    uri = request.getfixturevalue("mlflow_server") if place == "server" else f"sqlite:///{root}/mlflow.db"
    tracking = TrackingConfig(uri=uri)
    run_id = create_run(tracking, root, "a", Run())
    assert run_id is not None
    torch.manual_seed(0)
    network = Network().eval()
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    before = mlflow.get_tracking_uri(), mlflow.active_run()
    registry = Registry(uri)
    logged = [
        log_network(uri, run_id, network, size=(32, 32), bundle=bundle, metadata={"classes": ["a", "b"]})
        for _ in range(2)
    ]
    versions = [registry.register("attn-test", one, run_id, bundle, alias="champion") for one in logged]
    assert [item.reference for item in versions] == ["attn-test/1", "attn-test/2"]
    assert os.listdir(working) == []  # MLflow's own default experiment keeps its models in the working directory
    client = mlflow.MlflowClient(uri, uri)
    source = str(client.get_model_version("attn-test", "2").source)
    model = client.get_logged_model(source.rpartition("/")[2])
    assert (model.experiment_id, model.status) == (client.get_run(run_id).info.experiment_id, "READY")
    assert (mlflow.get_tracking_uri(), mlflow.active_run()) == before
    assert not any(parameter.grad is not None for parameter in network.parameters())

    for name in ("attn-test@champion", "attn-test/1", "attn-test"):
        fetched = fetch_model(tracking, root, name, tmp_path / name.replace("/", "-"))
        assert (fetched / "model.json").read_bytes() == (bundle / "model.json").read_bytes()
    for name, text in (
        ("attn-test@nobody", r"attn-test has no alias 'nobody'; it has champion"),
        ("attn-test/9", "attn-test has no version 9; its versions are 1, 2"),
        ("unheard-of", "no registered model 'unheard-of'"),
    ):
        with pytest.raises(WeightsError, match=text):
            fetch_model(tracking, root, name, tmp_path / "absent")

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        served = mlflow.pytorch.load_model("models:/attn-test@champion")
        images = torch.randn(3, 3, 48, 40)
        with torch.no_grad():
            torch.testing.assert_close(served(images), network(images).logits)
        served = mlflow.pyfunc.load_model("models:/attn-test/1")
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(served.predict(images.numpy())), network(images).logits)
        assert served.metadata.metadata == {"classes": ["a", "b"]}
    finally:
        # Not to `before`: to set MLflow's default for this working directory would keep it for other tests.
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
