"""The command that prints one page of a run."""

from __future__ import annotations

__all__ = ["show"]

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import progress
from attn.display import duration, figure, is_share, local_time, percent
from services.cli.arguments import Root
from services.cli.command import Result, command
from services.cli.tables import print_rows, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.show import EvaluatedScore, RunPage

MOST_TRIALS = 10
MOST_CLASSES = 12
MOST_ITEMS = 8
HASH = 12
MAIN = ("accuracy", "mean_ap", "miou", "miou_crf", "seed_miou", "seed_miou_agreement", "direct_miou",
        "direct_miou_best", "insertion", "deletion")  # fmt: skip
"""Scores of evaluations on the page of what was evaluated."""
PIPELINE = ("train", "integral", "maps", "segment", "evaluation")
SET = "set"
"""What all trials of a sweep have."""
UNTOLD = ("root", "tracking")
"""Fields of a pipeline's sections that are those of the pipeline."""


@command
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, as `attn ls` prints it, or its folder.")],
    root: Root = "runs",
) -> Result:
    """Print one page of a run: what it was, data, method, progress, scores, files, model, and how to go on from it."""
    with progress.reading("the run"):
        from jobs.show import run as read

        page = read(run, root=root)
    return Result(page.to_json(), lambda console: _print(console, page))


def _print(console: Console, page: RunPage) -> None:
    print_rows(console, _head(page))
    for fault in page.faults:
        console.print(f"cannot be read: {fault}", markup=False)
    for notice in page.notices:
        console.print(f"note: {notice}", markup=False)
    if page.settings:
        _section(console, "config: what differs from the defaults, or from the recipe", list(_settings(page.settings)))
    if page.parts:
        _print_parts(console, page)
    shares = {name: value for name, value in page.metrics.items() if is_share(name)}
    others = {name: value for name, value in page.metrics.items() if not is_share(name)}
    own = bool(page.evaluations) and all(one.run == page.run_id for one in page.evaluations)
    if shares and not own:
        _section(console, "scores, %", [(name, percent(value)) for name, value in shares.items()])
    if page.evaluations:
        _print_scores(console, page.evaluations, own=own)
    if others:
        _section(console, "losses and counts", [(name, figure(name, value)) for name, value in others.items()])
    if page.files:
        _section(console, f"files in {page.folder}", [(file.name, file.what) for file in page.files])
    if page.model is not None:
        _section(console, "model", _model(page))
    _section(console, "next", [(one.purpose, one.command) for one in page.next])


def _print_scores(console: Console, scores: list[EvaluatedScore], *, own: bool) -> None:
    """Of an evaluation itself all scores; else the main ones, a line for each evaluation and way to make the maps."""
    if own:
        console.print("\nscores, %")
        heads = ("  score", "value", "threshold", "data", "images", "run")
        print_table(console, heads, [
            (f"  {one.name}", percent(one.value), "" if one.threshold is None else f"{100 * one.threshold:g}", one.data,
             str(one.images), one.run)
            for one in scores
        ])  # fmt: skip
        return
    console.print("\nscores of evaluations, %, with the threshold of maps; `attn show EVALUATION` has all of one")
    newest = {(one.name, one.protocol): one for one in scores}
    lines: dict[tuple[str, ...], list[EvaluatedScore]] = {}
    for one in sorted(newest.values(), key=scores.index):
        lines.setdefault((f"  {one.run}", one.scored, one.data, str(one.images)), []).append(one)
    print_table(console, ("  evaluation", "of", "data", "images", "scores"), [
        (*line, "  ".join(map(_score, [one for one in of_line if one.name in MAIN] or of_line)))
        for line, of_line in lines.items()
    ])  # fmt: skip


def _score(one: EvaluatedScore) -> str:
    at = "" if one.threshold is None else f" at {100 * one.threshold:g}"
    return f"{one.name} {percent(one.value)}{at}"


def _head(page: RunPage) -> list[tuple[str, ...]]:
    from jobs.runs.model_epoch import early_end, model_epoch

    what = " ".join(filter(None, (page.about.what, page.about.data and f"on {page.about.data}")))
    origin = page.origin
    versions = [f"attn {origin['attn']}"] if "attn" in origin else []
    versions += [f"commit {str(origin['commit'])[:HASH]}"] if "commit" in origin else []
    versions += [f"Python {origin['python']}"] if "python" in origin else []
    took = duration(page.seconds)
    rows = [
        ("run", page.run_id),
        ("kind", page.kind or ""),
        ("state", page.state),
        ("error", page.error or ""),
        *(("restarted", f"after epoch {end.get('epoch', 0)}: {end.get('error', '')}") for end in page.attempt_ends),
        ("what", what),
        ("progress", page.progress),
        ("ended early", early_end(page.stopped_early) or ""),
        ("model of", (page.state == "done" and model_epoch(page.best)) or ""),
        ("best so far", (page.state != "done" and model_epoch(page.best, "")) or ""),
        ("started", local_time(page.started) + (f", took {took}" if took else "")),
        ("recipe", str(origin.get("recipe", ""))),
        ("command", shlex.join(map(str, origin.get("command", [])))),
        ("made by", ", ".join(versions)),
        ("data", f"fingerprint {page.data_fingerprint[:HASH]}" if page.data_fingerprint else ""),
        *((f"cues' {name}", words) for name, words in page.cues.items()),
        ("MLflow run", page.tracking_run or ""),
    ]
    return [row for row in rows if row[1]]


def _section(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    console.print(f"\n{title}", markup=False)
    print_rows(console, [(f"  {name}", value) for name, value in rows])


def _settings(sections: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A line for each section; the sections of a pipeline's runs and of a sweep's trials each have their own."""
    for name, value in sections.items():
        if prefix == "" and name in (*PIPELINE, SET) and isinstance(value, dict):
            yield from _settings(value, f"{name}.")
        elif value not in (None, {}, []) and name not in UNTOLD:
            yield f"{prefix}{name}", described(value)


def _print_parts(console: Console, page: RunPage) -> None:
    if "stage" in page.parts[0]:
        console.print("\nstages")
        rows = [
            (f"  {one['stage']}", "reused" if one.get("reused") else one["state"], duration(one.get("seconds")),
             one.get("run_id", ""))
            for one in page.parts
        ]  # fmt: skip
        print_table(console, ("  stage", "state", "time", "run"), rows)
        return
    objective = page.objective or {}
    metric, lower = objective.get("metric", "objective"), objective.get("mode") == "min"
    scored = sorted(
        page.parts, key=lambda one: (one["objective"] is None, (one["objective"] or 0.0) * (1 if lower else -1))
    )
    console.print(f"\ntrials, the best first{'' if len(scored) <= MOST_TRIALS else f' (of {len(scored)})'}")
    rows = [
        (f"  {one['number']}", one["state"],
         percent(one["objective"]) if is_share(metric) else figure(metric, one["objective"]),
         "  ".join(f"{name}={_rounded(value)}" for name, value in one["values"].items()),
         str(one["epoch"]), one["error"] or "")
        for one in scored[:MOST_TRIALS]
    ]  # fmt: skip
    score = f"{metric}, %" if is_share(metric) else metric
    print_table(console, ("  trial", "state", score, "values", "epochs", ""), rows)


def _rounded(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value) if value is None else str(value)


def _model(page: RunPage) -> list[tuple[str, str]]:
    model = page.model
    if model is None:
        return []
    classes = model.classes or []
    more = f" and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
    rows = [
        ("folder", model.folder),
        ("weights", f"SHA-256 {model.weights[:HASH]}" if model.weights else ""),
        ("classes", f"{len(classes)}: {', '.join(classes[:MOST_CLASSES])}{more}" if classes else ""),
        ("registered", model.registered or ""),
    ]
    return [row for row in rows if row[1]]


def described(value: Any) -> str:
    """A section of a config in one line: the choice first, then its other fields without those that are null."""
    if not isinstance(value, dict):
        return _short(value)
    values = dict(value)
    choice = [str(values.pop(tag)) for tag in ("source", "name", "kind") if isinstance(values.get(tag), str)]
    fields = [f"{name} {_short(inner)}" for name, inner in values.items() if inner not in ([], {})]
    return ", ".join([*choice, *fields])


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + described(value) + ")"
    if isinstance(value, list | tuple):
        shown = ", ".join(map(_short, value[:MOST_ITEMS]))
        return f"[{shown}{', ...' if len(value) > MOST_ITEMS else ''}]"
    return {True: "yes", False: "no", None: "null"}[value] if isinstance(value, bool | None) else str(value)
