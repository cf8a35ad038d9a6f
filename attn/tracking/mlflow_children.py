"""The children of a sweep's record."""

from __future__ import annotations

__all__ = ["children", "settle_children"]

from collections.abc import Mapping

from attn.tracking.mlflow_client import connect, reported
from attn.tracking.mlflow_tracker import STATUS


def children(uri: str, parent: str) -> dict[str, str]:
    """Status of every run below a parent, by MLflow's id of it.

    Raises:
        TrackingError: The server does not answer.
    """
    client = connect(uri)
    with reported(uri, "looking up the trials"):
        experiment = client.get_run(parent).info.experiment_id
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = client.search_runs(
                [experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000, page_token=token
            )
            found |= {run.info.run_id: run.info.status for run in page}
            token = page.token
            if not token:
                return found


def settle_children(uri: str, parent: str, states: Mapping[str, str | None]) -> list[str]:
    """Make the runs below a parent those that there are: the others are deleted, and those that ended are closed.

    Args:
        states: By MLflow's id: `done`, `failed` or `stopped` of a run that ended, None of one that did not.

    Returns:
        The ids of the deleted.

    Raises:
        TrackingError: The server does not answer.
    """
    client = connect(uri)
    found = children(uri, parent)
    strangers = [run_id for run_id in found if run_id not in states]
    for run_id in strangers:
        with reported(uri, "removing a trial that never began"):
            client.delete_run(run_id)
    for run_id, state in states.items():
        if state is not None and found.get(run_id) == "RUNNING":
            with reported(uri, "closing a trial"):
                client.set_terminated(run_id, STATUS[state])
    return strangers
