"""The record of one run in MLflow, addressed by its id, without global state: runs in one process are independent."""

from __future__ import annotations

__all__ = ["STATUS", "MlflowTracker", "create_mlflow_run"]

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attn.errors import TrackingError
from attn.source_tree import UNCOMMITTED, git_commit
from attn.tracking.address import artifact_folder
from attn.tracking.environment import environment
from attn.tracking.mlflow_client import connect, exclusive_setup, mlflow_errors, short_timeouts
from attn.tracking.sqlite import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

    from attn.tracking.description import DataUsed, RunDescription

STATUS = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "stopped": "KILLED"}
VALUE_LENGTH = 6000
BATCH = 100
METRICS = 1000
MAX_WAITING = 100_000
MISSING = "RESOURCE_DOES_NOT_EXIST"
"""MLflow's error code for a run that is not there."""
DIGEST_LENGTH = 12
"""Characters of a dataset's digest, which MLflow's pages show whole; its profile has the whole fingerprint."""
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""The tag of an experiment that trains models; without it, MLflow infers GenAI or nothing."""


def create_mlflow_run(
    uri: str,
    experiment: str,
    name: str,
    described: RunDescription,
    *,
    config_yaml: str = "",
    tags: Mapping[str, str],
) -> str:
    """Create a record with parameters, description, source, data, the whole config and the environment.

    Call it in one process only, because the first connection sets up a new database.

    Args:
        name: Name of the run, also stored as its tag `attn.run_id`.

    Returns:
        MLflow's id of the run.

    Raises:
        TrackingError: The server does not answer within a few seconds, or refuses.
    """
    from mlflow.entities import Param

    if (folder := artifact_folder(uri)) is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
    with mlflow_errors(uri, "the first contact"), exclusive_setup(uri), short_timeouts():
        client = connect(uri)
        experiment_id = _experiment(client, experiment, folder)
    all_tags = {"attn.run_id": name, **_source_tags(described), **tags}
    with mlflow_errors(uri, "recording the run's parameters"):
        run_id: str = client.create_run(experiment_id, run_name=name, tags=all_tags).info.run_id
        params = [Param(key, value[:VALUE_LENGTH]) for key, value in described.params.items()]
        for start in range(0, len(params), BATCH):
            client.log_batch(run_id, params=params[start : start + BATCH])
        if described.data:
            client.log_inputs(run_id, datasets=[_dataset_input(one) for one in described.data])
        if config_yaml:
            client.log_text(run_id, config_yaml, "config.yaml")
        client.log_text(run_id, json.dumps(environment(), indent=1), "environment.json")
    return run_id


def _source_tags(described: RunDescription) -> dict[str, str]:
    """The tags by which MLflow's page shows a run's description, program and commit."""
    tags = {"mlflow.note.content": described.text} if described.text else {}
    if described.program:
        tags |= {"mlflow.source.name": described.program, "mlflow.source.type": "LOCAL"}
    if (commit := git_commit()) is not None:
        clean = commit.removesuffix(UNCOMMITTED)
        tags |= {"attn.commit": commit, "mlflow.source.git.commit": clean}
        tags |= {"mlflow.source.git.dirty": "true"} if clean != commit else {}
    return tags


def _dataset_input(data: DataUsed) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{data.source} {data.split}",
        digest=data.fingerprint[:DIGEST_LENGTH],
        source_type="attn",
        source=json.dumps({"data.source": data.source, "data.split": data.split}),
        profile=json.dumps({"num_rows": data.images, "fingerprint": data.fingerprint}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.split)])


class MlflowTracker:
    """A run's record in MLflow; see `Tracker`."""

    def __init__(self, uri: str, run_id: str) -> None:
        """Open a tracker for an existing record. It connects on first use."""
        self.uri, self.run_id = uri, run_id
        self._waiting: list[Metric] = []

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self.uri)

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = {name: _finite(name, value) for name, value in metrics.items()}
        self._waiting += [Metric(name, value, now, step) for name, value in values.items()]
        del self._waiting[:-MAX_WAITING]

    def log_preview(self, name: str, pixels: NDArray[np.uint8], step: int, at: int | None = None) -> None:
        # With a key and a step, MLflow's page shows a slider over the steps.
        with mlflow_errors(self.uri, "recording a preview"):
            self._client.log_image(self.run_id, pixels, key=_key(name), step=step, timestamp=at, synchronous=True)

    def has_preview(self, name: str, step: int, at: int) -> bool:
        """Return whether a preview exists. MLflow generates a unique file name for each, so search by its prefix."""
        begin = f"images/{_key(name).replace('/', '~')}+step+{step}+timestamp+{at}+"
        with mlflow_errors(self.uri, "looking for a preview"):
            return any(item.path.startswith(begin) for item in self._client.list_artifacts(self.run_id, "images"))

    def has_run(self, run_id: str) -> bool:
        """Whether the server has a run that is not deleted.

        Raises:
            TrackingError: The server does not answer.
        """
        if (file := sqlite_file(self.uri)) is not None and not file.exists():  # which a connection would create
            return False
        try:
            with short_timeouts(), mlflow_errors(self.uri, "looking for a run"):
                return self._client.get_run(run_id).info.lifecycle_stage == "active"
        except TrackingError as error:
            if getattr(error.__cause__, "error_code", "") == MISSING:
                return False
            raise

    def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
        with mlflow_errors(self.uri, "recording a picture"):
            self._client.log_image(self.run_id, pixels, artifact_file=path)

    def log_text(self, path: str, text: str) -> None:
        with mlflow_errors(self.uri, "recording a text"):
            self._client.log_text(self.run_id, text, path)

    def log_files(self, local: Path, path: str = "") -> None:
        with mlflow_errors(self.uri, "recording files"):
            if local.is_dir():
                self._client.log_artifacts(self.run_id, str(local), path or None)
            else:
                self._client.log_artifact(self.run_id, str(local), path or None)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        with mlflow_errors(self.uri, "recording tags"):
            for name, value in tags.items():
                self._client.set_tag(self.run_id, name, value)

    def flush(self) -> None:
        while self._waiting:
            part = self._waiting[:METRICS]
            self.send_metrics([(one.key, one.value, one.timestamp, one.step) for one in part])
            del self._waiting[: len(part)]

    def terminate(self, state: str) -> None:
        try:
            self.flush()
        finally:
            self.send_end(state)

    def send_metrics(self, metrics: Sequence[tuple[str, float, int, int]]) -> None:
        """Send metrics (name, value, time in ms, step) immediately. Sending one again has no effect."""
        from mlflow.entities import Metric

        with mlflow_errors(self.uri, "recording metrics"):
            self._client.log_batch(self.run_id, metrics=[Metric(*one) for one in metrics], synchronous=True)

    def send_end(self, state: str, at: int | None = None) -> None:
        """Close the record.

        Args:
            at: End time in ms; None: now.
        """
        with mlflow_errors(self.uri, "closing the run"):
            self._client.set_terminated(self.run_id, STATUS[state], at)


def _experiment(client: Any, name: str, folder: Path | None) -> str:
    """The experiment's id. Creates it if it is missing; another process may do so at the same time."""
    from mlflow.exceptions import MlflowException

    for _ in range(2):
        if (result := client.get_experiment_by_name(name)) is not None:
            if result.lifecycle_stage != "active":
                client.restore_experiment(result.experiment_id)
            for key, value in EXPERIMENT_KIND.items():
                if result.tags.get(key, "inferred").endswith("inferred"):  # else its owner has chosen a kind
                    client.set_experiment_tag(result.experiment_id, key, value)
            return result.experiment_id
        try:
            # Without a location, artifacts of an SQLite file would go to the working directory.
            location = folder.as_uri() if folder else None
            return client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_KIND)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise MlflowException(f"experiment {name!r} can be neither found nor created")


def _key(name: str) -> str:
    """MLflow's key for the previews of an image."""
    return "preview/" + re.sub(r"[^A-Za-z0-9_\-. ]", "_", name)


def _finite(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, np.integer, np.floating))
        or not math.isfinite(value)
    ):
        raise ValueError(f"metric {name} is {value!r}; only finite numbers can be recorded")
    return float(value)
