"""Results of runs as short tables for people; `--json` has all of their fields."""

from __future__ import annotations

__all__ = ["shown"]

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attn.display import duration, figure, is_share, percent
from attn.wording import counted
from services.cli.command import FAILED, Result
from services.cli.tables import print_rows, print_table, print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from attn.runs.result import JsonResult
    from jobs.compare import CompareResult
    from jobs.cues import CuesResult
    from jobs.maps import MapsResult
    from jobs.pipeline import PipelineResult
    from jobs.resume import EndedRun
    from jobs.segment_predict import MasksResult
    from jobs.train import TrainResult

Row = tuple[str, str]
MOST_NAMES = 4
"""Images that are named; `--json` has all."""


def shown(result: JsonResult) -> Result:
    """The result of a job as that of a command."""
    from jobs.sweeps.results import SweepResult

    nothing = isinstance(result, SweepResult) and result.best is None
    return Result(result.to_json(), lambda console: _print(console, result), FAILED if nothing else 0)


def _print(console: Console, result: JsonResult) -> None:
    from jobs.compare import CompareResult
    from jobs.cues import CuesResult
    from jobs.evaluate import EvaluateResult, table
    from jobs.maps import MapsResult
    from jobs.pipeline import PipelineResult
    from jobs.resume import EndedRun
    from jobs.segment_predict import MasksResult
    from jobs.sweeps.results import SweepResult
    from jobs.sweeps.results import table as trials
    from jobs.train import TrainResult

    match result:
        case TrainResult():
            _train(console, result)
        case PipelineResult():
            _pipeline(console, result)
        case MapsResult():
            _maps(console, result)
        case CuesResult():
            _cues(console, result)
        case EndedRun():
            _ended(console, result)
        case CompareResult():
            _compare(console, result)
        case MasksResult():
            _masks(console, result)
        case EvaluateResult():
            console.print(table(result))
            rows: list[Row] = [("run", result.run_id), ("time", duration(result.seconds))]
            rows += [] if result.predict is None else [("masks at the best threshold", result.predict)]
            print_rows(console, [*rows, _next(result.folder)])
        case SweepResult():
            console.print(trials(result))
        case _:
            print_tree(console, result.to_json())


def _train(console: Console, result: TrainResult) -> None:
    from jobs.runs.model_epoch import early_end, model_epoch

    _scores(console, result.metrics)
    rows: list[Row] = [("run", result.run_id), ("time", duration(result.seconds)), ("model", result.model)]
    rows += [("model of", text)] if (text := model_epoch(result.best)) else []
    rows += [("ended early", text)] if (text := early_end(result.stopped_early)) else []
    if result.store is not None:
        rows.append(("maps", f"{result.store}, version {result.store_version}"))
    if result.cues and isinstance(miou := result.cues.get("miou"), float):
        masked = result.cues.get("masked")
        of = f" of {counted(masked, 'image')} with masks" if isinstance(masked, int) else ""
        rows.append(("cues", f"mIoU {percent(miou)} %{of}"))
    print_rows(console, [*rows, _next(result.folder)])


def _pipeline(console: Console, result: PipelineResult) -> None:
    stages = [
        (name, "reused" if stage.reused else duration(stage.seconds), stage.run_id)
        for name, stage in result.stages.items()
    ]
    print_table(console, ("stage", "time", "run"), stages)
    console.print()
    _scores(console, result.scores)
    rows: list[Row] = [("run", result.run_id), ("time", duration(result.seconds)), ("model", result.model or "-")]
    rows += [("masks", result.masks)] if result.masks else []
    rows += [(f"cues' {name}", words) for name, words in result.cues.items()]
    rows += [("note", note) for note in result.notes]
    print_rows(console, [*rows, *([_export(result.folder)] if result.masks else []), _next(result.folder)])


def _maps(console: Console, result: MapsResult) -> None:
    where = f"{result.store}, version {result.store_version}" if result.store else str(result.png)
    rows: list[Row] = [
        ("maps", f"{result.maps} of {counted(result.images, 'image')}"),
        ("in", where),
        *([("predictions", result.predictions)] if result.predictions else []),
        ("run", result.run_id),
        ("time", duration(result.seconds)),
    ]
    print_rows(console, [*rows, *(("note", note) for note in result.notes), _next(result.folder)])


def _cues(console: Console, result: CuesResult) -> None:
    from attn.segmentation.make import threshold_words
    from jobs.cues import grid_table, table

    if result.score is not None:
        console.print(table(result.report.to_json()))
    if result.grid is not None:
        console.print(grid_table(result))
    files = {"pictures": result.sheet, "grid": result.grid_csv, "heat map": result.grid_picture}
    rows: list[Row] = [("saliency", result.report.saliency), ("threshold", threshold_words(result.report.threshold))]
    rows.append(("cues", result.folder))
    rows += [(name, path) for name, path in files.items() if path is not None]
    rows += [("run", result.run_id), ("time", duration(result.seconds))]
    print_rows(console, [*rows, _next(result.folder.removesuffix("/cues"))])


def _ended(console: Console, result: EndedRun) -> None:
    _scores(console, {**(result.state.scores or {}), **(result.state.metrics or {})})
    rows: list[Row] = [("run", result.run_id), ("state", "was done already: nothing is run again")]
    print_rows(console, [*rows, _next(result.folder)])


def _compare(console: Console, result: CompareResult) -> None:
    overlap = result.overlap or {}
    layers = list(dict.fromkeys(layer for values in overlap.values() for layer in values))
    if layers:
        rows = [(title, *(percent(values.get(layer)) for layer in layers)) for title, values in overlap.items()]
        print_table(console, ("overlap of both maps, %", *layers), rows)
        console.print()
    drawn = ", ".join(result.images[:MOST_NAMES]) + (", ..." if len(result.images) > MOST_NAMES else "")
    rows = [("picture", result.picture), (counted(len(result.images), "image"), drawn), ("run", result.run_id)]
    print_rows(console, [*rows, _next(result.folder)])


def _masks(console: Console, result: MasksResult) -> None:
    from jobs.segment_predict import table

    if result.scores:
        console.print(table(result))
    rows: list[Row] = [("masks", result.submission or result.masks or "not written"), ("run", result.run_id)]
    rows += [("time", duration(result.seconds))]
    rows += [_export(result.folder)] if result.masks and not result.submission else []
    print_rows(console, [*rows, _next(result.folder)])


def _scores(console: Console, values: Mapping[str, float | None]) -> None:
    """Scores in percent, then losses, each with a heading."""
    shares = [(name, percent(value)) for name, value in values.items() if is_share(name)]
    others = [(name, figure(name, value)) for name, value in values.items() if not is_share(name)]
    for heading, rows in (("score, %", shares), ("loss", others)):
        if rows:
            print_table(console, (heading, ""), rows)
            console.print()


def _next(folder: str) -> Row:
    """The command that shows everything about the run in a folder, and how to go on from it."""
    from jobs.runs.run_folder import RunFolder

    return "more", f"attn show {shlex.quote(RunFolder.of(folder, '').reference)}"


def _export(folder: str) -> Row:
    """The command that writes a run's masks for annotation tools."""
    from jobs.next_commands import export_command
    from jobs.runs.run_folder import RunFolder

    return "annotations", export_command(RunFolder.of(folder, ""))
