"""The children of a sweep's record."""

from __future__ import annotations

__all__ = ["children", "drop_children"]

from collections.abc import Collection

from attn.tracking.mlflow_client import connect, reported


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


def drop_children(uri: str, parent: str, *, keep: Collection[str]) -> list[str]:
    """Delete the runs below a parent but for those to keep.

    Returns:
        The ids of the deleted.

    Raises:
        TrackingError: The server does not answer.
    """
    strangers = [run_id for run_id in children(uri, parent) if run_id not in keep]
    client = connect(uri)
    for run_id in strangers:
        with reported(uri, "removing a trial that never began"):
            client.delete_run(run_id)
    return strangers
