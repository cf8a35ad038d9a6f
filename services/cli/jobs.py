"""Commands over the jobs service: submit, status, logs, cancel."""

from __future__ import annotations

__all__ = ["cancel", "logs", "status", "submit"]

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.arguments import Address, Overrides, Root, Service
from services.cli.command import Result, command
from services.cli.tables import moment, print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from services.client import Client

Run = Annotated[str, typer.Argument(metavar="RUN", help="Name of a job, as `attn submit` said it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when the job has ended, with its exit status.")]

MOMENTS = ("submitted", "started", "ended")
WRITTEN = ("time", "clock")  # of a progress: when it was written, which programs ask for
LAST_OFFSET = 2**63 - 1
MOST_JOBS = 1_000_000
STATUS = {"done": 0, "failed": 1, "cancelled": 3, "lost": 4, "unreachable": 4}


@command
def submit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="train, segment, pipeline, sweep, evaluate or maps.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A recipe or YAML file; of evaluate and maps a run or NAME@ALIAS.")
    ],
    overrides: Overrides = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="Name of the job and its run; made up when left out.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = False,
    priority: Annotated[int, typer.Option(help="Higher starts first.")] = 0,
    max_duration: Annotated[
        float | None, typer.Option(help="Seconds after which the job is cancelled.", show_default=False)
    ] = None,
    address: Address = None,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Hand a job to the service, once its plan was shown and agreed to."""
    from services.client import connect

    client = connect(root, service)
    body: dict[str, Any] = {
        "id": run_id or _new_id(kind, target),
        "kind": kind,
        **_target(target),
        "overrides": overrides or [],
        "address": address,
        "priority": priority,
        "max_duration": max_duration,
    }
    plan = client.post("/plan", body)
    if not yes:
        _show_plan({"id": body["id"], **plan})
        _ask()
    return _result(client, client.post_job("/jobs", body), wait)


@command
def status(run: Run, wait: Wait = False, root: Root = "runs", service: Service = None) -> Result:
    """Say how a job is doing: its state, progress, time left and last scores."""
    from services.client import connect

    client = connect(root, service)
    return _result(client, client.job(run), wait, told=True)


@command
def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    offset: Annotated[int, typer.Option(min=0, max=LAST_OFFSET, help="Byte to start at.")] = 0,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Print a job's log; at a terminal, control characters in it are spelled."""
    from services.cli.terminal import print_foreign
    from services.client import connect

    client = connect(root, service)
    for written in print_foreign(client.log(run, offset, follow=follow)):
        offset += written
    job = client.job(run)
    return Result({"offset": offset, "job": job}, lambda console: None, STATUS.get(job["state"], 0) if follow else 0)


@command
def cancel(
    run: Run,
    now: Annotated[bool, typer.Option("--now", help="Do not wait until the run is closed.")] = False,
    wait: Wait = False,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """End a job; `attn resume` goes on from its last checkpoint."""
    from services.client import connect, job_path

    client = connect(root, service)
    job = client.post_job(f"{job_path(run)}/cancel?now={str(now).lower()}")
    job = client.wait(run) if wait else job
    return Result(job, _shown(job))


def resume_there(run: str, root: str, service: str, wait: bool) -> Result:
    """`attn resume` of a service's job."""
    from services.client import connect, job_path

    client = connect(root, service)
    return _result(client, client.post_job(f"{job_path(run)}/resume"), wait)


def list_there(root: str, service: str) -> list[dict[str, Any]]:
    """`attn ls` of a service's jobs, all pages of them."""
    from services.calls import ForeignError
    from services.client import connect, quote

    client, cursor = connect(root, service), ""
    jobs: dict[str, dict[str, Any]] = {}
    while True:
        page = client.get(f"/jobs?limit=500{cursor}")
        listed, following, known = page.get("jobs"), page.get("next"), len(jobs)
        if not isinstance(listed, list):
            raise ForeignError(client.url, "its answer lists no jobs")
        for job in map(client.checked_job, listed):
            jobs.setdefault(job["id"], job)
        if following is None:
            return list(jobs.values())
        if not isinstance(following, str) or len(jobs) == known or known > MOST_JOBS:
            raise ForeignError(client.url, "its list of jobs has no end")
        cursor = f"&cursor={quote(following)}"


def _result(client: Client, job: dict[str, Any], wait: bool, *, told: bool = False) -> Result:
    """A job as a result; `told` where the exit status is to say how it ended, even if nobody waited."""
    job = client.wait(job["id"]) if wait else job
    return Result(job, _shown(job), STATUS.get(job["state"], 0) if wait or told else 0)


def _shown(job: dict[str, Any]) -> Any:
    def show(console: Console) -> None:
        told = {name: value for name, value in job.items() if value not in (None, False, "")}
        told |= {name: moment(told[name]) for name in MOMENTS if name in told}
        if isinstance(progress := told.get("progress"), dict):
            told["progress"] = {name: value for name, value in progress.items() if name not in WRITTEN}
        print_tree(console, told)

    return show


def _ask() -> None:
    import sys

    from attn.errors import ConfigError

    try:
        agreed = typer.confirm("Submit?", err=True)
    except typer.Abort:  # Ctrl-C, or the end of standard input
        print(file=sys.stderr)
        if not sys.stdin.isatty():
            text = "nothing was submitted: standard input ended without an answer; --yes submits without asking"
            raise ConfigError(text) from None
        agreed = False
    if not agreed:
        raise KeyboardInterrupt


def _show_plan(plan: dict[str, Any]) -> None:
    from rich.console import Console

    print_tree(Console(stderr=True, highlight=False, soft_wrap=True), plan)


def _target(target: str) -> dict[str, Any]:
    """A recipe by its name; a file of this machine by its text, which the service's machine need not have."""
    if not target.endswith((".yaml", ".yml")):
        return {"target": target}
    from attn.config.resolve import read_text

    return {"config": read_text(target)}


def _new_id(kind: str, target: str) -> str:
    import re
    import secrets
    import time
    from pathlib import Path

    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(target).stem)[:50].lstrip("-._") or kind
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
