"""Reads all that a run's page shows. It needs the classes of configs, and with them PyTorch: see `workers`."""

from __future__ import annotations

__all__ = ["read_run"]

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attn.errors import AttnError
from attn.store import open as open_store
from jobs import show
from jobs.runs.run_folder import RunFolder
from jobs.scoring.found_store import stores_of_run
from jobs.scoring.recorded import recorded_scores
from services.pages.run_view import ClassScores, RunView, StoreView
from services.store_versions import describe_store


def read_run(root: str, run_id: str) -> RunView:
    """Read a run.

    Raises:
        RunError: There is no such run.
    """
    page = show.run(run_id, root=root)
    folder = RunFolder.of(run_id, root)
    return RunView(
        page=page.to_json(),
        settings=list(_flat(page.settings)),
        classes=_class_scores(folder, page),
        stores=[_store(uri) for uri in stores_of_run(run_id, root)],
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field that has a value of its own, as it is written in an override."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _class_scores(folder: RunFolder, page: show.RunPage) -> ClassScores:
    """The classes' scores in the newest evaluations."""
    columns: dict[tuple[str, str], Mapping[str, float | None]] = {}
    try:
        state = folder.state()
        for one in recorded_scores(folder, state, page.model.weights if page.model else state.weights):
            protocol = one.score.protocol
            words = f"{protocol.source} {protocol.split}, {protocol.images} images, {one.score.hash[:8]}"
            if one.score.per_class:
                columns[one.score.name, words] = one.score.per_class
    except AttnError:
        pass  # the page's `faults` name what cannot be read
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    return ClassScores(list(columns), [(name, [values.get(name) for values in columns.values()]) for name in names])


def _store(uri: str) -> StoreView:
    try:
        return StoreView(uri, describe_store(open_store(uri)))
    except AttnError as error:
        return StoreView(uri, None, str(error))
