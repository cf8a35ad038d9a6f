"""The list of runs, with the jobs that have no run yet."""

from __future__ import annotations

__all__ = ["Choice", "RunCatalog", "RunRow", "ShownScore", "chosen"]

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attn.display import is_share, key_scores
from attn.errors import AttnError
from attn.run_state import RunState
from attn.runs.table import KINDS
from jobs.runs.listing import RunEntry, list_entries
from jobs.runs.model_epoch import metrics_epoch
from jobs.runs.reported import last_report, seconds_left
from jobs.runs.run_folder import RunFolder
from services.supervisor import Supervisor
from services.table import Job
from services.unsettled import UNSETTLED, has_ended_since

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""How long a list is shown to further browsers."""
JOBS = 500
SORTS = ("started", "name", "kind", "state", "time")


@dataclass(frozen=True)
class ShownScore:
    """A score, and what it was measured on: a score without its protocol says nothing."""

    name: str
    value: float
    protocol: str


@dataclass(frozen=True)
class RunRow:
    """A line of the list.

    Attributes:
        share: How much of the run is done, in [0, 1].
        left: Seconds that it will still take.
        note: Why it waits, or what is wrong.
    """

    id: str
    kind: str = ""
    state: str = ""
    what: str = ""
    data: str = ""
    progress: str = ""
    share: float | None = None
    left: float | None = None
    scores: Sequence[ShownScore] = ()
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    started: float | None = None
    seconds: float | None = None
    note: str = ""

    @property
    def words(self) -> str:
        """What a search looks through."""
        return " ".join((self.id, self.kind, self.state, self.what, self.data)).casefold()


@dataclass(frozen=True)
class Choice:
    """Which runs to show, and in which order.

    Attributes:
        text: All of its words must be in a run's name, kind, state, method or data.
        sort: A field, or the name of a score.
        up: Ascending.
    """

    text: str = ""
    state: str = ""
    kind: str = ""
    sort: str = "started"
    up: bool = False


def chosen(rows: Iterable[RunRow], choice: Choice) -> list[RunRow]:
    """The rows of a choice; those without the value to sort by come last."""
    words = choice.text.casefold().split()
    shown = [
        row
        for row in rows
        if choice.state in ("", row.state)
        and choice.kind in ("", row.kind)
        and all(word in row.words for word in words)
    ]
    if choice.sort in ("name", "kind", "state"):
        field_name = "id" if choice.sort == "name" else choice.sort
        return sorted(shown, key=lambda row: str(getattr(row, field_name)), reverse=not choice.up)
    values = {id(row): _number(row, choice.sort) for row in shown}
    known = sorted(
        (row for row in shown if values[id(row)] is not None),
        key=lambda row: values[id(row)] or 0.0,
        reverse=not choice.up,
    )
    return known + [row for row in shown if values[id(row)] is None]


def _number(row: RunRow, name: str) -> float | None:
    return row.started if name == "started" else row.seconds if name == "time" else row.metrics.get(name)


class RunCatalog:
    """Reads the list once for all browsers that ask within a second."""

    def __init__(self, root: str, supervisor: Supervisor | None) -> None:
        self.root, self.supervisor = root, supervisor
        self._lock = threading.Lock()
        self._read_at, self._rows = float("-inf"), list[RunRow]()
        self._scores: dict[tuple[str, float | None], list[ShownScore]] = {}

    def rows(self) -> list[RunRow]:
        """All runs and waiting jobs, newest first."""
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._rows = self._read()
                self._read_at = time.monotonic()
            return self._rows

    def version(self) -> str:
        """A text that changes when the list does; running time alone changes nothing."""
        return version_of(self.rows())

    def _read(self) -> list[RunRow]:
        entries = {entry.state.id: entry for entry in list_entries(self.root)}
        rows = {name: self._row_or_fault(name, entry) for name, entry in entries.items()}
        waiting: list[RunRow] = []
        for job, why in self.supervisor.page(JOBS) if self.supervisor is not None else []:
            entry = entries.get(job.id)
            if entry is None:
                waiting.append(_of_job(job, why))
                continue
            row, known = rows[job.id], {"state": job.state, "started": job.started}
            unsettled = job.state in UNSETTLED and not has_ended_since(entry.state, known)
            if unsettled or row.state == "interrupted":
                rows[job.id] = replace(row, state=job.state, note=why or row.note)
        return waiting + list(rows.values())

    def _row_or_fault(self, name: str, entry: RunEntry) -> RunRow:
        try:
            return self._row(entry)
        except Exception as error:  # whatever lies in its files: one run hides no other
            log.exception("run %s cannot be listed", name)
            return RunRow(id=name, state="broken", note=f"its files are damaged ({type(error).__name__})")

    def _row(self, entry: RunEntry) -> RunRow:
        state, about = entry.state, entry.about
        running = entry.driver in ("here", "elsewhere")
        metrics = {**(state.scores or {}), **(state.metrics or {})}
        return RunRow(
            id=state.id,
            kind=state.kind or "",
            state=entry.shown_state,
            what=about.what or "",
            data=about.data or "",
            progress=entry.progress,
            share=_share(entry),
            left=seconds_left(last_report(RunFolder(self.root, state.id), state)) if running else None,
            scores=self._protocols(state) or _of_validation(state, metrics),
            metrics={name: value for name, value in metrics.items() if isinstance(value, int | float)},
            started=state.started,
            seconds=entry.seconds,
            note=(state.error or "") if not running else "",
        )

    def _protocols(self, state: RunState) -> list[ShownScore]:
        """The main scores of an evaluation, each with its protocol; read once."""
        if state.state != "done" or state.kind not in KINDS or not KINDS[state.kind].writes_scores:
            return []
        key = (state.id, state.ended)
        if key not in self._scores:
            try:
                scores = RunFolder(self.root, state.id).read_json("scores.json").get("scores")
            except AttnError:
                scores = None
            self._scores[key] = _of_evaluation(state, scores if isinstance(scores, dict) else {})
        return self._scores[key]


def version_of(rows: Iterable[RunRow]) -> str:
    """A hash of what the rows show, without times that only go on."""
    shown = [replace(row, left=None, seconds=None) for row in rows]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _share(entry: RunEntry) -> float | None:
    state, about = entry.state, entry.about
    done, whole = (entry.ended_trials, about.trials) if about.trials else (state.epoch or 0, about.epochs)
    if state.state == "done":
        return 1.0
    if state.stage_names and state.stages is not None:
        ended = [stage for stage in state.stages.values() if stage.state == "done"]
        done, whole = len(ended), len(state.stage_names)
    return min(1.0, (done or 0) / whole) if whole else None


def _of_validation(state: RunState, metrics: dict[str, float | None]) -> list[ShownScore]:
    at = f"of {metrics_epoch(state)}" if state.epoch is not None else ""
    return [ShownScore(name, value, at) for name, value in key_scores(metrics).items()]


def _of_evaluation(state: RunState, scores: dict[str, Any]) -> list[ShownScore]:
    metrics = {name: value for name, value in (state.metrics or {}).items() if is_share(name)}
    results: list[ShownScore] = []
    for name, value in key_scores(metrics).items():
        score = scores.get(name)
        protocol = score.get("protocol") if isinstance(score, dict) else None
        words = ""
        if isinstance(score, dict) and isinstance(protocol, dict):
            data = f"{protocol.get('source')} {protocol.get('split')}, {protocol.get('images')} images"
            words = f"{data}, {protocol.get('scored')}; protocol {str(score.get('hash'))[:8]}"
        results.append(ShownScore(name, value, words))
    return results


def _of_job(job: Job, why: str | None) -> RunRow:
    return RunRow(
        id=job.id, kind=job.kind, state=job.state, what=job.target, started=job.started or job.submitted,
        note=why or job.error or "",
    )  # fmt: skip
