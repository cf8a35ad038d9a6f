"""Commands for the jobs service: submit, status, logs, cancel."""

from __future__ import annotations

__all__ = ["cancel", "logs", "status", "submit"]

from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn.display import local_time
from services.cli.arguments import Address, Overrides, Root, Service
from services.cli.command import Result, command
from services.cli.roots import merged_root
from services.cli.tables import print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from services.client import Client

Run = Annotated[str, typer.Argument(metavar="RUN", help="Name of a job, as `attn submit` printed it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job has ended, and exit with its status.")]

MOMENTS = ("submitted", "started", "ended")
WRITTEN = ("time", "clock")
"""Fields of a job's progress that say when it was written; people are not shown them."""
DEFAULT_ROOT = "runs"
LAST_OFFSET = 2**63 - 1
MOST_JOBS = 1_000_000
STATUS = {"done": 0, "failed": 1, "cancelled": 3, "lost": 4, "unreachable": 4}


@command
def submit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="train, segment, pipeline, sweep, evaluate or maps.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="Name of a recipe, or a YAML file; for evaluate and maps a run or NAME@ALIAS."
        ),
    ],
    overrides: Overrides = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="Name of the job and its run; by default a new name.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Submit without asking.")] = False,
    wait: Wait = False,
    priority: Annotated[int, typer.Option(help="Jobs of higher priority start first.")] = 0,
    max_duration: Annotated[
        float | None, typer.Option(help="Seconds after which the job is cancelled.", show_default=False)
    ] = None,
    address: Address = None,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Submit a job to the service, after showing its plan and asking for confirmation."""
    from services.client import connect

    if service is None:  # a service that is named has a root of its own, and says so
        overrides, root = _split_root(overrides or [], root)
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
    """Show a job's state, progress, time left and last scores."""
    from services.client import connect

    client = connect(root, service)
    return _result(client, client.job(run), wait, ended_status=True)


@command
def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job has ended.")] = False,
    offset: Annotated[int, typer.Option(min=0, max=LAST_OFFSET, help="Byte of the log to start at.")] = 0,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Print a job's log; in a terminal, control characters in it are escaped."""
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
    now: Annotated[
        bool, typer.Option("--now", help="Kill the job at once, without saving a checkpoint and closing its run.")
    ] = False,
    wait: Wait = False,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Cancel a job; `attn resume` continues it from its last checkpoint."""
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


def list_there(root: str, service: str | None) -> list[dict[str, Any]]:
    """`attn ls` of a service's jobs, all pages of them."""
    from services.calls import ForeignError
    from services.client import connect, quote

    client, cursor = connect(root, service), ""
    jobs: dict[str, dict[str, Any]] = {}
    while True:
        page = client.get(f"/jobs?limit=500{cursor}")
        listed, following, known = page.get("jobs"), page.get("next"), len(jobs)
        if not isinstance(listed, list):
            raise ForeignError(client.url, "its answer is not a list of jobs")
        for job in map(client.checked_job, listed):
            jobs.setdefault(job["id"], job)
        if following is None:
            return list(jobs.values())
        if not isinstance(following, str) or len(jobs) == known or known > MOST_JOBS:
            raise ForeignError(client.url, "its list of jobs has no end")
        cursor = f"&cursor={quote(following)}"


def _result(client: Client, job: dict[str, Any], wait: bool, *, ended_status: bool = False) -> Result:
    """A job as a result. The exit status is the job's own after waiting for it, or with `ended_status`."""
    job = client.wait(job["id"]) if wait else job
    return Result(job, _shown(job), STATUS.get(job["state"], 0) if wait or ended_status else 0)


def _shown(job: dict[str, Any]) -> Any:
    def show(console: Console) -> None:
        fields = {name: value for name, value in job.items() if value not in (None, False, "")}
        fields |= {name: local_time(fields[name]) for name in MOMENTS if name in fields}
        if isinstance(progress := fields.get("progress"), dict):
            fields["progress"] = {name: value for name, value in progress.items() if name not in WRITTEN}
        print_tree(console, fields)

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


def _split_root(overrides: list[str], root: str) -> tuple[list[str], str]:
    """Overrides without `root=X`, and the root that it or `--root` names."""
    fields = [text for text in overrides if text.startswith("root=")]
    named = merged_root(None if root == DEFAULT_ROOT else root, fields)
    return [text for text in overrides if text not in fields], named or root


def _target(target: str) -> dict[str, Any]:
    """A recipe's name, or the text of a YAML file, which need not exist on the service's machine."""
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
