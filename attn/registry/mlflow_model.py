"""Records trained models in MLflow: the exported network, and its bundle as artifacts."""

from __future__ import annotations

__all__ = ["global_uris", "log_network", "recorded_network"]

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from attn.models.description import DESCRIPTION, read_description
from attn.prediction.export import silenced
from attn.scratch import scratch_folder
from attn.tracking.environment import requirements
from attn.tracking.login import uri_with_login
from attn.tracking.mlflow_client import connect, mlflow_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

BUNDLE = "bundle"
WEIGHTS_TAG = "attn.sha256"
"""Tag of a logged network: the SHA-256 of the weights that it was exported from."""


class Logits(nn.Module):
    """Wraps a network for MLflow: one tensor in, one tensor out."""

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
    outputs: tuple[int, ...] = (-1, -1),
) -> str:
    """Record a trained network.

    The network is exported by torch.export (no pickle) for serving by MLflow. Its bundle, with which you can compute
    maps or continue training, is recorded as artifacts of the run.

    Args:
        network: On the CPU, in evaluation mode; called with images, it returns an object with `logits`.
        size: (H, W) for the export; the exported network accepts other sizes, too.
        metadata: Plain values to store with the model.
        outputs: Shape of the logits, with -1 for variable sizes.

    Returns:
        The model's URI, `models:/m-...`.

    Raises:
        TrackingError: The server refuses or does not answer.
    """
    import mlflow.pytorch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    client = connect(uri)
    # Unnamed tensors: named ones are passed in a dict, which MLflow's PyTorch flavour does not support.
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3, -1, -1))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), outputs)]),
    )
    with mlflow_errors(uri, "recording the model"), global_uris(uri), silenced("mlflow.utils.environment"):
        client.log_artifacts(run_id, str(bundle), BUNDLE)
        # By default MLflow would use the active experiment, with artifacts in the working directory.
        experiment = client.get_run(run_id).info.experiment_id
        model = client.create_logged_model(
            experiment, name="model", source_run_id=run_id, tags={WEIGHTS_TAG: read_description(bundle)["sha256"]}
        )
        info = Model.log(
            artifact_path=None,
            flavor=mlflow.pytorch,
            run_id=run_id,
            model_id=model.model_id,
            name="model",
            metadata=metadata,
            pytorch_model=Logits(network).eval(),
            signature=signature,
            # Two images: a dimension of size one would be exported as a constant.
            input_example=np.zeros((2, 3, *size), np.float32),
            pip_requirements=requirements(),
            serialization_format="pt2",
            validate_serving_input=False,
        )
    return info.model_uri


def recorded_network(uri: str, run_id: str, bundle: Path) -> str | None:
    """The URI of the network that a run's record has of this very bundle; None if it has none.

    Raises:
        TrackingError: The server refuses or does not answer.
    """
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    sha256 = read_description(bundle)["sha256"]
    description = f"{BUNDLE}/{DESCRIPTION}"
    with mlflow_errors(uri, "looking for the run's model"), scratch_folder() as scratch:
        outputs = client.get_run(run_id).outputs
        if not outputs or description not in [item.path for item in client.list_artifacts(run_id, BUNDLE)]:
            return None
        path = client.download_artifacts(run_id, description, str(scratch))
        if Path(path).read_bytes() != (bundle / DESCRIPTION).read_bytes():  # which has the hash of the weights
            return None
        models: list[LoggedModel] = []
        for one in outputs.model_outputs:
            try:
                models.append(client.get_logged_model(one.model_id))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # it was deleted
                    raise
    same = [one for one in models if one.status == "READY" and one.tags.get(WEIGHTS_TAG) == sha256]
    newest = max(same, key=lambda one: one.creation_timestamp, default=None)  # MLflow gives them in any order
    return None if newest is None else newest.model_uri


@contextlib.contextmanager
def global_uris(uri: str) -> Generator[None]:
    """Set MLflow's global URIs, which its model functions need, inside the `with` block; restore them afterwards."""
    import mlflow

    # Read the variables, not MLflow's getters: these return a default, and restoring it would set the variables.
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    full = uri_with_login(uri)
    mlflow.set_tracking_uri(full)
    mlflow.set_registry_uri(full)
    try:
        with torch.no_grad():
            yield
    finally:
        mlflow.set_tracking_uri(cast("str", before["MLFLOW_TRACKING_URI"]))  # None unsets it
        mlflow.set_registry_uri(cast("str", before["MLFLOW_REGISTRY_URI"]))
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
