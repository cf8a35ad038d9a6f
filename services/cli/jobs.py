"""Commands that follow and end runs, here or as jobs of a service, and the one that submits a job."""

from __future__ import annotations

__all__ = ["cancel", "logs", "status", "submit"]

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.arguments import Address, Overrides, Root, Service
from services.cli.command import Result, command
from services.cli.roots import GivenRoot, merged_root

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.runs.listing import RunEntry
    from services.cli.answering import LocalRun
    from services.client import Client

Run = Annotated[str, typer.Argument(metavar="RUN", help="Name of a run or job, as `attn ls` prints it, or its folder.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job has ended, and exit with its status.")]

SHOWN_NAMES = {"waiting_before_it": "jobs before it"}
"""Fields of a service's plan under the names that people are shown."""
DEFAULT_ROOT = "runs"
PATIENCE_SECONDS = 2.0
"""A service that takes longer to answer a submission is reported to be at work."""
LAST_OFFSET = 2**63 - 1
MOST_JOBS = 1_000_000
STATUS = {"done": 0, "failed": 1, "cancelled": 3, "unreachable": 4, "lost": 5, "interrupted": 5}


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
    given_root: GivenRoot = None,
    service: Service = None,
) -> Result:
    """Submit a job to the service, after showing its plan and asking for confirmation; with -y without asking."""
    from attn import progress
    from services.cli.sent_texts import naming, request_of
    from services.client import connect

    root = given_root or DEFAULT_ROOT
    if service is None:  # a service that is named has a root of its own, and says so
        overrides, root = _split_root(overrides or [], given_root)
    client = connect(root, service)
    body: dict[str, Any] = {
        "id": run_id or _new_id(kind, target),
        "kind": kind,
        **request_of(target, overrides or [], kind),
        "address": address,
        "priority": priority,
        "max_duration": max_duration,
    }
    with naming(target):
        with progress.task(f"checking {target}", patience=PATIENCE_SECONDS):
            plan = client.post("/plan", body)
        _tell_notices(kind, target, overrides or [])
        _show_plan({"id": body["id"], **plan, "target": target})
        if not yes:
            _confirm()
        with progress.task(f"submitting {target}", patience=PATIENCE_SECONDS):
            job = client.post_job("/jobs", body)
    return _result(client, job, wait)


@command
def status(run: Run, wait: Wait = False, root: Root = "runs", service: Service = None) -> Result:
    """Show the state, progress, time left and last scores of a run or of a service's job."""
    from services.cli.answering import LocalRun, service_of

    answer, local = service_of(run, root, service), LocalRun.of(run, root)
    if answer is not None and (service or answer.job is None or not local.has_ended_since(answer.job)):
        job = answer.job or answer.client.job(job_name(run))
        return _result(answer.client, job, wait, ended_status=True)
    return local_status(local, local.wait() if wait else local.entry())


@command
def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job has ended.")] = False,
    offset: Annotated[int, typer.Option(min=0, max=LAST_OFFSET, help="Byte of the log to start at.")] = 0,
    root: Root = "runs",
    service: Service = None,
) -> Result:
    """Print the log of a service's job; in a terminal, control characters in it are escaped."""
    from services.cli.answering import LocalRun, service_of
    from services.cli.terminal import print_foreign

    answer = service_of(run, root, service)
    if answer is None:
        local = LocalRun.of(run, root)
        for written in print_foreign(local.log(offset, follow=follow)):
            offset += written
        entry = local.entry()
        status = STATUS.get(entry.shown_state, 0) if follow else 0
        return Result({"offset": offset, "job": entry.to_json()}, lambda console: None, status)
    client, name = answer.client, job_name(run)
    for written in print_foreign(client.log(name, offset, follow=follow)):
        offset += written
    job = client.job(name)
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
    """Cancel a run of this machine or a service's job; `attn resume` continues it from its last checkpoint."""
    from jobs.runs.starting import STARTING
    from services.cli.answering import LocalRun, service_of
    from services.client import job_path

    answer = service_of(run, root, service)
    if answer is None:
        local = LocalRun.of(run, root)
        before = local.entry()
        local.cancel(now=now)
        if before.state.state == STARTING:  # it leaves nothing, so that there may be no run any more
            return local_status(local, before, ended_status=False, asked_to_end=True)
        return local_status(local, local.wait() if wait else local.entry(), ended_status=False, asked_to_end=True)
    client, name = answer.client, job_name(run)
    job = client.post_job(f"{job_path(name)}/cancel?now={str(now).lower()}")
    job = client.wait(name) if wait else job
    return Result(job, _shown(job))


def job_name(run: str) -> str:
    """A job's name of a run that may be given as its folder."""
    return run.rstrip("/").rpartition("/")[2]


def local_status(local: LocalRun, entry: RunEntry, *, ended_status: bool = True, asked_to_end: bool = False) -> Result:
    """The state of a run by its own files.

    Args:
        ended_status: The exit status is the run's own.
        asked_to_end: It has just been asked to end, and may not have done so yet.
    """
    from services.cli.status_page import page_of_run

    page, data = page_of_run(local, entry), entry.to_json()
    running = entry.driver in ("here", "elsewhere")
    if running and asked_to_end:
        way = f"it was asked to end; `attn status {local.folder.reference} --wait` waits until it has"
        page, data = replace(page, state=f"{page.state}, cancelling", why=way), data | {"cancelling": True}
    data |= {"progress": dict(page.reported), "eta": page.left} if running else {}
    return Result(data, page.print, STATUS.get(entry.shown_state, 0) if ended_status else 0)


def resume_there(run: str, root: str, service: str | None, *, address: str | None, wait: bool) -> Result | None:
    """`attn resume` of a job of a service that is not done; None if the run is no such job and continues here.

    Raises:
        AttnError: The service has the job or may have it, and cannot resume it.
    """
    from attn.errors import ConfigError, Fault
    from jobs.runs.run_folder import NoSuchRunError
    from services.cli.answering import service_of
    from services.client import job_path

    try:
        answer = service_of(run, root, service, must_answer=True)
    except NoSuchRunError:
        return None  # whoever continues it says so
    if answer is None or (answer.job is not None and answer.job["state"] == "done"):
        return None
    client, name = answer.client, job_name(run)
    if address is not None:
        fault = f"{name!r} is a job of the service at {client.url}, which runs it where it was submitted to"
        raise ConfigError([Fault("--address", fault, "leave it out")])
    return _result(client, client.post_job(f"{job_path(name)}/resume"), wait)


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


def _shown(job: dict[str, Any]) -> Callable[[Console], None]:
    from services.cli.status_page import page_of_job

    return page_of_job(job).print


def _tell_notices(kind: str, target: str, overrides: list[str]) -> None:
    """Print the notices about a config as `attn train` does; what is wrong with it is the service's to say."""
    import contextlib

    from attn.errors import AttnError
    from attn.runs.config_notices import config_notices
    from attn.runs.recipes import load_run
    from attn.runs.table import file_kinds
    from jobs.training.notices import tell_notices

    if kind in file_kinds():
        with contextlib.suppress(AttnError):
            tell_notices(config_notices(load_run(target, kind, overrides), files=False))


def _show_plan(plan: dict[str, Any]) -> None:
    """Print the plan on standard error: standard output has the job."""
    from rich.console import Console

    from services.cli.plan import print_plan

    shown = {SHOWN_NAMES.get(name, name): value for name, value in plan.items()}
    print_plan(Console(stderr=True, highlight=False, soft_wrap=True), shown)


def _confirm() -> None:
    """Ask whether the job is submitted; the answer may be another program's."""
    import sys

    from attn.errors import ConfigError

    terminal = sys.stdin is not None and sys.stdin.isatty()
    try:
        piped = "" if sys.stdin is None or terminal else sys.stdin.readline()
    except (OSError, ValueError):  # it is closed, or no text
        piped = ""
    if not piped and not terminal:
        raise ConfigError("nothing was submitted: standard input has no answer; add -y to submit without asking")
    try:
        agreed = piped.strip().lower() in ("y", "yes") if piped else typer.confirm("Submit?", err=True)
    except typer.Abort:  # Ctrl-C, or Ctrl-D
        print(file=sys.stderr)
        agreed = False
    if not agreed:
        raise KeyboardInterrupt("nothing was submitted")


def _split_root(overrides: list[str], given: str | None) -> tuple[list[str], str]:
    """Overrides without `root=X`, and the root that it or `--root` names.

    Raises:
        ConfigError: They name different ones.
    """
    fields = [text for text in overrides if text.startswith("root=")]
    return [text for text in overrides if text not in fields], merged_root(given, fields) or DEFAULT_ROOT


def _new_id(kind: str, target: str) -> str:
    import re
    import secrets
    import time
    from pathlib import Path

    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(target).stem)[:50].lstrip("-._") or kind
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
