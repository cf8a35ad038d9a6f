"""Trained models in MLflow: the exported network, the bundle beside it, and the registry."""

from __future__ import annotations

__all__ = ["download_model", "log_network"]

import contextlib
import logging
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attn.errors import WeightsError
from attn.tracking.environment import requirements
from attn.tracking.mlflow_client import connect, hurried, reported

BUNDLE = "bundle"


class Logits(nn.Module):
    """A network as MLflow can serve it: one tensor in, one tensor out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network(images_BCHW).logits


def log_network(
    uri: str,
    run_id: str,
    network: nn.Module,
    *,
    size: tuple[int, int],
    bundle: Path,
    metadata: dict[str, Any],
    register_as: str | None = None,
    alias: str | None = None,
) -> str:
    """Record a trained network: exported by torch.export (no pickle) for whoever serves MLflow models, and its bundle
    as artifacts of the run, for whoever wants maps or goes on training.

    Args:
        network: On the CPU, in evaluation mode; called with images, it returns an object with `logits`.
        size: (H, W) to export with; the exported network takes other sizes too.
        metadata: Plain values kept with the model.

    Returns:
        The model's URI: `models:/<name>/<version>` where it was registered, `models:/m-...` else.

    Raises:
        TrackingError: The server refuses or does not answer.
    """
    import mlflow.pytorch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    client = connect(uri)
    # Without names: a named tensor would have to come in a dict, which the PyTorch flavour does not take.
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3, -1, -1))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, -1))]),
    )
    with reported(uri, "recording the model"), _served_from(uri), _expected_warnings():
        client.log_artifacts(run_id, str(bundle), BUNDLE)
        # By itself MLflow would put the model into the active experiment, whose artifacts lie in the working directory.
        experiment = client.get_run(run_id).info.experiment_id
        model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
        info = Model.log(
            artifact_path=None,
            flavor=mlflow.pytorch,
            run_id=run_id,
            model_id=model.model_id,
            name="model",
            metadata=metadata,
            pytorch_model=Logits(network).eval(),
            signature=signature,
            # Two images: an exported dimension of size one would stay one for ever.
            input_example=np.zeros((2, 3, *size), np.float32),
            pip_requirements=requirements(),
            serialization_format="pt2",
            validate_serving_input=False,
        )
        if register_as is None:
            return info.model_uri
        version = _register(client, register_as, info.model_uri, run_id)
        if alias is not None:
            client.set_registered_model_alias(register_as, alias, version)
    return f"models:/{register_as}/{version}"


def download_model(uri: str, name: str, destination: Path) -> Path:
    """Fetch the bundle of a registered model.

    Args:
        name: `name@alias`, `name/version`, or `name` for the newest version.

    Returns:
        The bundle's folder, under the destination.

    Raises:
        WeightsError: There is no such model or version, or it has no bundle.
        TrackingError: The server does not answer.
    """
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    with hurried(), reported(uri, "looking up the model"):
        try:
            version = _version(client, name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            version = None
    if version is None:
        raise WeightsError(f"no registered model {name!r}; give name@alias, name/version, or a name that is registered")
    with reported(uri, "fetching the model"):
        destination.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(version.run_id, BUNDLE, str(destination)))


def _register(client: Any, name: str, source: str, run_id: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(name, source, run_id=run_id, model_id=source.rpartition("/")[2]).version


def _version(client: Any, name: str) -> Any:
    if "@" in name:
        return client.get_model_version_by_alias(*name.rsplit("@", 1))
    if "/" in name:
        return client.get_model_version(*name.rsplit("/", 1))
    found = client.search_model_versions(f"name = '{name.replace(chr(39), '')}'")
    return max(found, key=lambda version: int(version.version), default=None)


@contextlib.contextmanager
def _served_from(uri: str) -> Generator[None]:
    """MLflow's model functions know only a global URI; it is put back afterwards."""
    import mlflow

    tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        with torch.no_grad():
            yield
    finally:
        mlflow.set_tracking_uri(tracking)
        mlflow.set_registry_uri(registry)


@contextlib.contextmanager
def _expected_warnings() -> Generator[None]:
    """What torch.export and MLflow say of themselves at every export is of no use to a user."""
    logger = logging.getLogger("mlflow.utils.environment")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
