"""Reads and cleans up the child records of a sweep's record."""

from __future__ import annotations

__all__ = ["children", "reconcile_children"]

from collections.abc import Mapping

from attn.tracking.mlflow_client import connect, mlflow_errors
from attn.tracking.mlflow_tracker import STATUS


def children(uri: str, parent: str) -> dict[str, str]:
    """Status of every child run of a parent, by MLflow id.

    Raises:
        TrackingError: The server does not answer.
    """
    client = connect(uri)
    with mlflow_errors(uri, "looking up the trials"):
        experiment = client.get_run(parent).info.experiment_id
        results: dict[str, str] = {}
        token: str | None = None
        while True:
            page = client.search_runs(
                [experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000, page_token=token
            )
            results |= {run.info.run_id: run.info.status for run in page}
            token = page.token
            if not token:
                return results


def reconcile_children(uri: str, parent: str, states: Mapping[str, str | None]) -> list[str]:
    """Delete child runs of a parent that do not exist as trials, and close those that ended.

    Args:
        states: State of every existing trial by MLflow id: `done`, `failed` or `stopped`; None if it has not ended.

    Returns:
        The ids of the deleted runs.

    Raises:
        TrackingError: The server does not answer.
    """
    client = connect(uri)
    result = children(uri, parent)
    unknown = [run_id for run_id in result if run_id not in states]
    for run_id in unknown:
        with mlflow_errors(uri, "removing a trial that never began"):
            client.delete_run(run_id)
    for run_id, state in states.items():
        if state is not None and result.get(run_id) == "RUNNING":
            with mlflow_errors(uri, "closing a trial"):
                client.set_terminated(run_id, STATUS[state])
    return unknown
