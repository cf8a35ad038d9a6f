"""The command that lists runs: what each is about, its scores, how far it came; filtered and sorted."""

from __future__ import annotations

__all__ = ["ls"]

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import progress
from services.cli.arguments import Root, Service, kind_names
from services.cli.command import Result, command
from services.cli.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.runs.listing import RunEntry

STATES = ("queued", "waiting", "starting", "running", "interrupted", "done", "failed", "cancelled", "stopped", "lost",
          "unreachable", "broken")  # fmt: skip
FIELDS = ("started", "name", "kind", "state", "time")
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")


@dataclass
class Row:
    """A line of the list."""

    name: str
    kind: str = ""
    state: str = ""
    what: str = ""
    data: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    progress: str = ""
    started: float | None = None
    seconds: float | None = None
    note: str = ""
    json: dict[str, Any] = field(default_factory=dict[str, Any])


@command
def ls(
    root: Root = "runs",
    kind: Annotated[
        list[str] | None,
        typer.Option(help="List only runs of this kind; may be given several times.", autocompletion=kind_names,
                     show_default=False),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"List only runs in this state: {', '.join(STATES)}.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="2d|2026-11-01", help="List only runs that started since then.", show_default=False),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(help=f"{', '.join(FIELDS)}, or a score such as val/mean_ap, the best first."),
    ] = "started",
    service: Service = None,
) -> Result:  # fmt: skip
    """List the runs under a folder and the jobs of its service, newest first, with method, data, scores and progress.

    With --service, the jobs of that service are listed.
    """
    from attn.runs.table import KINDS

    _require("--kind", kind, tuple(KINDS))
    _require("--state", state, STATES)
    begin = None if since is None else moment_of(since)
    with progress.reading(f"the jobs of {service}" if service else "the runs"):
        rows = _jobs(root, service) if service else _runs(root)
    results = [
        row for row in rows
        if (not kind or row.kind in kind) and (not state or row.state in state)
        and (begin is None or (row.started is not None and row.started >= begin))
    ]  # fmt: skip
    trials = None if service else (lambda: trial_scores(root, results))
    shown = sort_rows(results, sort, trials)

    def show(console: Console) -> None:
        if not shown:
            which = "no such runs" if rows else "no runs"
            console.print(f"{which} {'at' if service else 'under'} {service or root}", markup=False)
        else:
            heads = ("run", "kind", "state", "what", "data", "scores, %", "progress", "started", "time", "")
            print_table(console, heads, [_cells(row) for row in shown])

    return Result({"runs": [row.json for row in shown]}, show)


def moment_of(text: str) -> float:
    """Seconds since 1970 of `2d`, `3h`, `30m`, `1w` ago, or of a local date, with or without a time.

    Raises:
        ConfigError: It is neither.
    """
    from attn.errors import ConfigError, Fault

    if ago := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
        return time.time() - int(ago[1]) * UNITS[ago[2]]
    for form in DATES:
        try:
            return datetime.strptime(text.strip(), form).astimezone().timestamp()
        except (ValueError, OverflowError):
            continue
    hint = "2d, 3h, 30m or 1w ago, or a date: 2026-11-01, '2026-11-01 08:30'"
    raise ConfigError([Fault("--since", f"{text!r} is no time", hint)])


def trial_scores(root: str, rows: list[Row]) -> dict[str, str]:
    """Scores that only the trials of these sweeps have, each with a sweep that has it."""
    from jobs.runs.listing import list_entries

    sweeps = [row.name for row in rows if row.kind == "sweep"]
    return {
        name: sweep for sweep in reversed(sweeps) for entry in list_entries(f"{root.rstrip('/')}/{sweep}")
        for name in entry.state.metrics or {}
    }  # fmt: skip


def sort_rows(rows: list[Row], by: str, trials: Callable[[], dict[str, str]] | None = None) -> list[Row]:
    """Rows by a field or a score; runs without it last.

    Args:
        trials: Scores of sweeps' trials, each with its sweep; asked for if no run has the score.

    Raises:
        ConfigError: It is no field, and none of the runs has such a score.
    """
    if by in ("name", "kind", "state"):
        return sorted(rows, key=lambda row: getattr(row, by))
    if by in ("started", "time"):
        values = {id(row): row.started if by == "started" else row.seconds for row in rows}
    else:
        from attn.score_names import current_name

        score = current_name(by)
        values = {id(row): row.metrics.get(score, row.metrics.get(f"best/{score}")) for row in rows}
        if rows and all(value is None for value in values.values()):
            from attn.errors import ConfigError, Fault

            sweep = trials().get(score) if trials is not None else None
            if sweep is not None:
                hint = f"`attn show {sweep}` lists them, the best first; `attn ls` sorts whole runs"
                raise ConfigError([Fault("--sort", f"only trials of sweeps have the score {by!r}", hint)])
            scores = sorted({name for row in rows for name in row.metrics})
            hint = f"one of {', '.join((*FIELDS, *scores))}"
            raise ConfigError([Fault("--sort", f"{by!r} is no field, and no run here has such a score", hint)])
    lower = by.endswith("loss")
    known = [row for row in rows if values[id(row)] is not None]
    known.sort(key=lambda row: values[id(row)] or 0.0, reverse=not lower)
    return known + [row for row in rows if values[id(row)] is None]


def _require(option: str, given: list[str] | None, known: tuple[str, ...]) -> None:
    import difflib

    from attn.errors import ConfigError, Fault

    faults: list[Fault] = []
    for word in given or []:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = (f"did you mean {near[0]}? " if near else "") + f"one of {', '.join(known)}"
            faults.append(Fault(option, f"{word!r} is not available", hint))
    if faults:
        raise ConfigError(faults)


def _runs(root: str) -> list[Row]:
    """The runs under a root, and the jobs of its service that have no run yet."""
    import sys

    from attn.errors import AttnError
    from jobs.runs.listing import list_entries
    from services.cli.jobs import list_there
    from services.discovery import find_service
    from services.unsettled import UNSETTLED, has_ended_since

    entries = {entry.state.id: entry for entry in list_entries(root)}
    rows = {name: _of_run(entry) for name, entry in entries.items()}
    jobs: list[dict[str, Any]] = []
    try:
        if find_service(root) is not None:
            jobs = list_there(root, None)
    except AttnError as error:
        print(f"jobs that wait are not listed: {error}", file=sys.stderr)
    for job in jobs:
        row = rows.get(job["id"])
        if row is None:
            rows[job["id"]] = _of_job(job)
        else:
            row.json["job"] = job["state"]
            unsettled = job["state"] in UNSETTLED and not has_ended_since(entries[row.name].state, job)
            if unsettled or row.state == "interrupted":
                row.state = row.json["state"] = job["state"]
    return list(rows.values())


def _jobs(root: str, service: str) -> list[Row]:
    from services.cli.jobs import list_there

    return [_of_job(job) for job in list_there(root, service)]


def _of_run(entry: RunEntry) -> Row:
    state, about = entry.state, entry.about
    return Row(
        name=state.id,
        kind=state.kind or "",
        state=entry.shown_state,
        what=about.what or "",
        data=about.data or "",
        metrics={**(state.scores or {}), **(state.metrics or {})},
        progress=entry.progress,
        started=state.started,
        seconds=entry.seconds,
        note=(state.error or "") if state.state == "broken" else "",
        json=entry.to_json(),
    )


def _of_job(job: dict[str, Any]) -> Row:
    from services.cli.status_page import page_of_job

    page = page_of_job(job)
    return Row(
        name=page.run,
        kind=page.kind,
        state=job["state"],
        what=page.what,
        data=page.data,
        metrics=page.scores,
        progress=page.progress,
        started=page.started,
        seconds=page.seconds,
        note=str(job.get("broken") or job.get("waiting") or ""),
        json=job,
    )


def _cells(row: Row) -> tuple[str, ...]:
    from attn.display import duration, key_scores, local_time, percent

    scores = "  ".join(f"{name} {percent(value)}" for name, value in key_scores(row.metrics).items())
    times = (local_time(row.started), duration(row.seconds))
    return (row.name, row.kind, row.state, row.what, row.data, scores, row.progress, *times, row.note)
