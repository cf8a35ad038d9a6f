"""The page that `attn status`, `cancel` and `resume` print: the same for a run of this machine and a service's job."""

from __future__ import annotations

__all__ = ["StatusPage", "page_of_job", "page_of_run"]

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attn.display import duration, figures, local_time
from attn.wording import counted
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console

    from attn.driver_process import Driver
    from jobs.runs.listing import RunEntry
    from services.cli.answering import LocalRun

LIVE = ("running", "unreachable")
CONTINUED = ("cancelled", "failed")
"""States in which a run has ended, and can be continued."""


@dataclass(frozen=True, kw_only=True)
class StatusPage:
    """What is known of a run; what is empty is not printed.

    Attributes:
        driven_by: The process that drives it.
        why: Why it is in its state: what it waits for, or its error.
        progress: How many epochs, trials or stages are done.
        reported: Its last step, or a sweep's trials, as `progress.json` has it.
        left: Seconds that it will still take.
        started: When its first attempt began.
        seconds: Running time of all attempts that were not killed.
        stages: State of each stage of a pipeline.
        go_on: The command that continues it.
        limits: Of a job: its place in the queue and its longest time, where they are given.
    """

    run: str
    kind: str = ""
    state: str = ""
    driven_by: str = ""
    why: str = ""
    what: str = ""
    data: str = ""
    stages: Mapping[str, str] = field(default_factory=dict[str, str])
    progress: str = ""
    reported: Mapping[str, Any] = field(default_factory=dict[str, Any])
    left: float | None = None
    limits: str = ""
    submitted: float | None = None
    started: float | None = None
    seconds: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    go_on: str = ""

    def print(self, console: Console) -> None:
        rows = [
            ("run", self.run),
            ("kind", self.kind),
            ("state", self.state),
            ("driven by", self.driven_by),
            ("why", self.why),
            ("what", " on ".join(filter(None, (self.what, self.data)))),
            ("stages", ", ".join(f"{name} {state}" for name, state in self.stages.items())),
            ("progress", self.progress),
            (
                "trials",
                "; ".join(f"{number}: {text}" for number, text in _values(self.reported.get("running")).items()),
            ),
            ("last step", _step(self.reported)),
            ("losses", figures(_numbers(self.reported.get("losses")))),
            ("time left", duration(self.left)),
            ("limits", self.limits),
            ("submitted", local_time(self.submitted)),
            ("started", local_time(self.started)),
            ("time", duration(self.seconds)),
            ("scores", figures(self.scores)),
            ("go on", self.go_on),
        ]
        print_rows(console, [row for row in rows if row[1]])


def page_of_run(local: LocalRun, entry: RunEntry) -> StatusPage:
    """The page of a run by its own files."""
    from attn.driver_process import gone_text, process_text, shown_stages
    from jobs.runs.listing import parent_of

    state, running = entry.state, entry.driver in ("here", "elsewhere")
    ended = state.state in CONTINUED and not running
    whole = (parent_of(local.folder, state) if ended or entry.driver == "gone" else None) or local.folder
    driven: dict[Driver | None, str] = {
        "here": f"process {state.pid} of this machine",
        "elsewhere": f"{process_text(state)}, which this machine cannot see",
    }
    reported = local.progress() if running else {}
    gone = f"{gone_text(state)}; {whole.resuming} goes on with it" if entry.driver == "gone" else ""
    return StatusPage(
        run=state.id,
        kind=state.kind or "",
        state=entry.shown_state,
        driven_by=driven.get(entry.driver, ""),
        why=gone or (str(reported.get("text") or "") if running else state.error or ""),
        what=entry.about.what or "",
        data=entry.about.data or "",
        stages=shown_stages(state, driven=running),
        progress=entry.progress,
        reported=reported,
        left=local.seconds_left() if running else None,
        started=state.started,
        seconds=entry.seconds,
        scores={**(state.scores or {}), **(state.metrics or {})},
        go_on=whole.resuming.strip("`") if ended else "",
    )


def page_of_job(job: Mapping[str, Any]) -> StatusPage:
    """The page of a job by its service's answer, any field of which may be missing or something else."""
    run, progress = _values(job.get("run")), _values(job.get("progress"))
    state, epoch, started = str(job.get("state") or ""), job.get("epoch"), _number(job.get("started"))
    ended = _number(job.get("ended")) if state not in LIVE else time.time()
    attempt = max(0.0, ended - started) if started is not None and ended is not None else None
    limits = [f"priority {job['priority']}"] if job.get("priority") else []
    limits += [f"{duration(longest)} at most"] if (longest := _number(job.get("max_duration"))) is not None else []
    seconds = _number(run.get("seconds"))
    begun = state != "running" or run or job.get("broken")
    return StatusPage(
        run=str(job.get("id") or ""),
        kind=str(job.get("kind") or ""),
        state=(state if begun else "starting") + (", cancelling" if job.get("cancelling") else ""),
        why="; ".join(str(job[name]) for name in ("waiting", "error", "broken") if job.get(name)),
        what=str(run.get("what") or job.get("target") or ""),
        data=str(run.get("data") or ""),
        stages={str(name): str(one) for name, one in _values(job.get("stages")).items()},
        progress=str(run.get("progress") or (counted(epoch, "epoch") if isinstance(epoch, int) else "")),
        reported=progress,
        left=_number(job.get("eta")),
        limits=", ".join(limits),
        submitted=_number(job.get("submitted")) if started is None else None,
        started=_number(run.get("started")) or started,
        seconds=attempt if seconds is None else seconds,
        scores=_numbers(job.get("metrics")),
    )


def _step(reported: Mapping[str, Any]) -> str:
    """The last step that a training has reported, or a sweep's best trial so far."""
    step, steps, best = reported.get("step"), reported.get("steps"), _values(reported.get("best"))
    if isinstance(step, int):
        speed = _number(reported.get("images_per_second"))
        of_all = f"{step} of {steps}" if isinstance(steps, int) else str(step)
        return of_all + ("" if speed is None else f", {speed:.1f} images/s")
    scores = _numbers({name: value for name, value in best.items() if name != "trial"})
    return f"best trial so far {best['trial']}, {figures(scores)}" if "trial" in best else ""


def _values(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _number(given: Any) -> float | None:
    known = isinstance(given, int | float) and not isinstance(given, bool)
    return float(given) if known and math.isfinite(given) else None


def _numbers(given: Any) -> dict[str, float | None]:
    return {str(name): _number(value) for name, value in _values(given).items()}
