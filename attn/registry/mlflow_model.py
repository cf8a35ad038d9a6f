"""Trained models in MLflow: the exported network, and the bundle beside it."""

from __future__ import annotations

__all__ = ["log_network", "served_from"]

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from attn.prediction.export import silenced
from attn.tracking.environment import requirements
from attn.tracking.login import show_login
from attn.tracking.mlflow_client import connect, reported

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
    outputs: tuple[int, ...] = (-1, -1),
) -> str:
    """Record a trained network: exported by torch.export (no pickle) for whoever serves MLflow models, and its bundle
    as artifacts of the run, for whoever wants maps or goes on training.

    Args:
        network: On the CPU, in evaluation mode; called with images, it returns an object with `logits`.
        size: (H, W) to export with; the exported network takes other sizes too.
        metadata: Plain values kept with the model.
        outputs: Shape of the logits, -1 for each size that is not fixed.

    Returns:
        The model's URI, `models:/m-...`.

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
        outputs=Schema([TensorSpec(np.dtype("float32"), outputs)]),
    )
    with reported(uri, "recording the model"), served_from(uri), silenced("mlflow.utils.environment"):
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
    return info.model_uri


@contextlib.contextmanager
def served_from(uri: str) -> Generator[None]:
    """MLflow's model functions know only a global URI, which is also in the environment; it is put back afterwards."""
    import mlflow

    # By the variables: what MLflow says where there are none is a default, which to set would put into the environment.
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    full = show_login(uri)
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
