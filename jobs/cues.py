"""Make the cues that a segmentation run would learn from, and say how good they are, before anything is trained."""

from __future__ import annotations

__all__ = ["CuesJob", "CuesResult", "grid_table", "load", "resume", "run", "table"]

import json
import shlex
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attn.data.names import file_stem
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.display import percent
from attn.errors import ConfigError, TrackingError
from attn.evaluation.score import Score
from attn.files.spreadsheet import csv_table
from attn.notices import print_once
from attn.pictures.heat_map import heat_map
from attn.pictures.layout import Picture
from attn.pictures.panel import panel, sheet
from attn.pictures.preview import evenly_spaced
from attn.runs.recipes import load_config
from attn.runs.result import IF_GIVEN, RunResult
from attn.saliency.source import SaliencySource
from attn.segmentation.config import SegmentConfig
from attn.segmentation.cue_saliency import cue_saliency, saliency_notices, without_saliency
from attn.segmentation.labels import CueLabels
from attn.segmentation.make import CueReport, make_cues, sweep_cues
from attn.segmentation.map_sources import MapSource
from attn.segmentation.pictures import cue_panel
from attn.tracking import DataUsed
from attn.wording import counted
from jobs.ray_cluster.saliency_tasks import compute_saliency
from jobs.runs.lifecycle import begin_or_continue, config_of, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.training.segmenter import CUES, cue_fields, cue_score, map_source, record_cues

if TYPE_CHECKING:
    from rich.table import Table

FOREGROUND = tuple(round(0.05 * step, 2) for step in range(1, 16))
SALIENCY = (0.02, 0.04, 0.06, 0.1, 0.125, 0.2, 0.3, 0.5)
SHEET, GRID_CSV, GRID_PICTURE = "sheet.png", "grid.csv", "grid.png"


@dataclass(frozen=True, kw_only=True)
class CuesResult(RunResult):
    """Cues that were made.

    Attributes:
        folder: Of the PNGs.
        score: Of the cues; None where no image has a mask.
        sheet: Picture of a few images with their maps, cues and truth; each also has a file under `panels/` beside it.
        best, grid: With a sweep, the best thresholds, and the quality at each of the grid.
        grid_csv, grid_picture: With a sweep, the files of its grid as a table and as a heat map.
    """

    report: CueReport
    score: Score | None
    sheet: str | None = field(default=None, metadata=IF_GIVEN)
    best: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    grid: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    grid_csv: str | None = field(default=None, metadata=IF_GIVEN)
    grid_picture: str | None = field(default=None, metadata=IF_GIVEN)
    tracking_run: str | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        score = None if self.score is None else json.loads(self.score.to_json())
        return {**super().to_json(), "score": score}


@dataclass(frozen=True)
class CuesJob:
    """A run's config, to make the cues of.

    Attributes:
        sweep: Also try a grid of thresholds, in one pass over the images.
        saliency_field: Name of the setting `labels.saliency`, for messages.
    """

    config: SegmentConfig
    sweep: bool = False
    saliency_field: str = "labels.saliency"


def load(recipe: str, overrides: list[str], *, sweep: bool = False) -> CuesJob:
    """The cues of a recipe or file.

    Args:
        overrides: `a.b=value`.
        sweep: As in `CuesJob`.

    Raises:
        ConfigError: With all faults.
    """
    of_pipeline = (
        f"use `attn pipeline {shlex.quote(recipe)}`: its stage `cues` makes and scores them before the network trains; "
        "of a classifier that is trained already: `attn segment cues sec labels.maps.model=RUN`"
    )
    return CuesJob(load_config(SegmentConfig, recipe, overrides, hints={"pipeline": of_pipeline}), sweep)


def run(
    job: CuesJob, *, run_id: str | None = None, address: str | None = None, sources: SourceCache | None = None
) -> CuesResult:
    """Make the cues of a run's config into a folder of their own.

    Args:
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: A Ray cluster whose tasks compute saliency; the rest of the work is done in this process.
        sources: Data sets that this process has built already.

    Raises:
        ConfigError: The config's labels are not made of maps.
        DataError: Maps and data do not belong together.
    """
    config, sweep, field = job.config, job.sweep, job.saliency_field
    if not isinstance(config.labels, CueLabels):
        raise ConfigError("labels.source=cues is needed: labels of files or masks are there already")
    clock = time.monotonic()
    folder = RunFolder(config.root, run_id or new_run_id("cues"))
    source, swept = (sources or SourceCache()).get(config.data), dict[str, Any]()
    work, data = {"sweep": sweep}, DataUsed.of(config.data, source)
    notices = saliency_notices(len(source.records), without_saliency(source), config.labels, field=field)
    for notice in notices:
        print_once(f"notice: {notice}")
    fields = {"notices": notices}
    with begin_or_continue("cues", config, folder, recorded=config, work=work, data=data, fields=fields) as live:
        with map_source(config, config.labels) as maps:  # a fault of model or store shows before the saliency
            saliency = compute_saliency(cue_saliency(source, config.labels, config.root, field=field), address)
            show = evenly_spaced(source.records, config.tracking.preview_images)
            report = make_cues(
                source,
                saliency,
                maps,
                config.labels,
                lambda name, data: folder.write(f"{CUES}/{name}", data),
                show=show,
            )
            pictures = _draw(report)
            if sweep:
                swept, drawn, text = _sweep(source, saliency, maps, config.labels, report)
                pictures[GRID_PICTURE] = drawn
                folder.write(GRID_CSV, text)
        score = cue_score(config, source, report)
        if score is not None:
            folder.write(f"{CUES}/score.json", score.to_json())
        for name, picture in pictures.items():
            folder.write(name, picture.png())
        quality = report.quality.figures() if report.quality else {}
        live.outputs |= {"cues": cue_fields(report), "metrics": quality, "notes": report.notes()}
        with warned("the cues could not be recorded", TrackingError):
            record_cues(live.tracker, report)
            for name, picture in pictures.items():
                live.tracker.log_picture(name, picture.pixels)
            if sweep:
                live.tracker.log_text(GRID_CSV, folder.read_text(GRID_CSV))
    return CuesResult(
        run_id=folder.run_id,
        folder=folder.path(CUES),
        report=report,
        score=score,
        sheet=folder.path(SHEET) if SHEET in pictures else None,
        **swept,
        grid_csv=folder.path(GRID_CSV) if sweep else None,
        grid_picture=folder.path(GRID_PICTURE) if sweep else None,
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def resume(name: str, *, root: str = "runs", address: str | None = None) -> CuesResult:
    """Make again what was interrupted."""
    folder = RunFolder.of(name, root)
    job = CuesJob(config_of(folder, SegmentConfig), sweep=bool(folder.state().sweep))
    return run(job, run_id=folder.run_id, address=address)


def table(report: dict[str, Any]) -> Table:
    """The cues' quality for a terminal: one row a class, the whole last.

    Args:
        report: Of cues that were scored, as `CueReport.to_json` gives it.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    quality = report["quality"]
    title = f"cues of {counted(report['images'], 'image')}, {report['masked']} with masks; percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("class", overflow="fold")
    for name in ("coverage", "precision", "IoU"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in report["per_class"]:
        drawn.add_row(row["class"], *(percent(row[name]) for name in ("coverage", "precision", "iou")))
    drawn.add_section()
    drawn.add_row("all", *(percent(quality.get(name)) for name in ("coverage", "precision", "miou")), style="bold")
    drawn.caption = f"mIoU of what is labelled; {percent(quality['miou_all'])} with open pixels as missed"
    drawn.caption_justify = "left"
    return drawn


def grid_table(result: CuesResult) -> Table:
    """The grid of a sweep for a terminal: a row for each threshold of the maps, the best value bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    assert result.grid is not None, "there was a sweep"
    assert result.best is not None, "there was a sweep"
    field, across = next((name, values) for name, values in result.grid.items() if name.startswith("background"))
    title = f"mIoU of all pixels, open ones missed, %; down: foreground, across: {field}"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("", justify="right", no_wrap=True)
    for value in across:
        drawn.add_column(f"{value:g}", justify="right", no_wrap=True)
    best = (result.best["foreground"], result.best[field])
    for foreground, row in zip(result.grid["foreground"], result.grid["miou_all"], strict=True):
        marked = [(foreground, round(value, 4)) == best for value in across]
        cells = [percent(value) for value in row]
        shown = (Text(cell, style="bold" if mark else "") for cell, mark in zip(cells, marked, strict=True))
        drawn.add_row(f"{foreground:g}", *shown)
    drawn.caption = f"best: foreground={best[0]:g} {field}={best[1]:g}, {percent(result.best['miou_all'])} %"
    drawn.caption_justify = "left"
    return drawn


def _draw(report: CueReport) -> dict[str, Picture]:
    """The images that the report shows: all in one picture, and each in its own."""
    panels = [cue_panel(shown, report.classes) for shown in report.shown]
    drawn = {SHEET: sheet(panels)} if panels else {}
    return drawn | {f"panels/{file_stem(one.image_id)}.png": panel(one) for one in panels}


def _sweep(
    source: Source, saliency: SaliencySource | None, maps: MapSource, labels: CueLabels, report: CueReport
) -> tuple[dict[str, Any], Picture, str]:
    """The best thresholds and the grid; its heat map; and its table as CSV."""
    of_saliency = report.saliency != "none"
    background = SALIENCY if of_saliency else FOREGROUND
    swept = sweep_cues(source, saliency, maps, labels, foreground=list(FOREGROUND), background=list(background))
    foreground, at, quality = swept.best()
    field = "background" if of_saliency else "background_map"
    values = {
        "best": {"foreground": foreground, field: round(at, 4), **quality.figures()},
        "grid": {"foreground": FOREGROUND, field: background, "miou_all": swept.values("miou_all")},
    }
    share = "share of the map's maximum"
    drawn = heat_map(
        swept.values("miou_all"),
        rows=(f"foreground ({share})", FOREGROUND),
        columns=(f"{field} ({'saliency' if of_saliency else share})", background),
        title="mIoU of the cues over all pixels, percent; open pixels count as missed (★ best)",
    )
    rows = [{field if name == "background" else name: value for name, value in row.items()} for row in swept.rows()]
    return values, drawn, csv_table(list(rows[0]), [list(row.values()) for row in rows])
