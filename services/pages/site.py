"""What all pages share: the templates, who is logged in, and what there is to see."""

from __future__ import annotations

__all__ = ["Site"]

from pathlib import Path
from typing import Any

import jinja2
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse

from attn.display import duration, figure, local_time, percent, size
from attn.wording import counted
from jobs.runs.run_folder import RunFolder, is_run_id
from services.access import ROLES
from services.pages.static_files import static_url


def best_first(trials: list[dict[str, Any]], objective: dict[str, str] | None) -> list[dict[str, Any]]:
    """Trials by their objective, those that are done first: only they can be the best."""
    sign = 1 if (objective or {}).get("mode") == "min" else -1

    def key(one: dict[str, Any]) -> tuple[bool, bool, float]:
        return one["state"] != "done", one["objective"] is None, sign * (one["objective"] or 0.0)

    return sorted(trials, key=key)


TEMPLATES = Path(__file__).parent / "templates"
FILTERS: dict[str, Any] = {
    "best_first": best_first,
    "class_choices": lambda classes, names: [{"index": one, "name": names.get(one, str(one))} for one in classes],
    "counted": counted,
    "concat": lambda first, second: [*first, *second],
    "duration": duration,
    "figures": lambda metrics, evaluations: [
        (name, figure(name, value))
        for name, value in metrics.items()
        if name not in {one["name"] for one in evaluations}
    ],
    "local_time": local_time,
    "percent": percent,
    "searched": lambda trials: list(dict.fromkeys(name for one in trials for name in one["values"])),
    "size": size,
    "version_words": lambda versions: [
        f"{one.version}, epoch {one.epoch}" if one.epoch else str(one.version) for one in versions
    ],
}


class Site:
    """The pages over the runs of a root.

    Attributes:
        root: Folder or prefix of the runs.
        has_jobs: Whether a service runs jobs there; otherwise the pages are for reading alone.
        stores: Map stores that are shown although they are in no run of the root, by the name in their address.
    """

    def __init__(self, root: str, *, has_jobs: bool, stores: dict[str, str] | None = None) -> None:
        self.root, self.has_jobs, self.stores = root, has_jobs, stores or {}
        # Names of runs, classes and images, configs and logs are others' texts: all of them are escaped.
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters.update(FILTERS)
        known: dict[str, Any] = {"static": static_url}
        self.templates.globals.update(known)

    def render(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, for the browser of the person who is logged in."""
        role = getattr(request.state, "role", None)
        context = {
            "role": role,
            "csrf": getattr(request.state, "csrf", ""),
            "may_submit": self.has_jobs and role is not None and ROLES.index(role) >= ROLES.index("submit"),
            "may_kill": self.has_jobs and role == "admin",
            "has_jobs": self.has_jobs,
        }
        text = self.templates.get_template(template).render(context | values)
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})

    def folder(self, run_id: str) -> RunFolder:
        """The folder of a run of this root, or of a trial of one of its sweeps.

        Raises:
            HTTPException: There is none: 404.
        """
        if is_run_id(run_id) and (folder := RunFolder.of(run_id, self.root)).exists():
            return folder
        raise HTTPException(404, f"no run {run_id!r}")
