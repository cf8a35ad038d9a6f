"""Make the cues that a segmentation run would learn from, and say how good they are, before anything is trained."""

from __future__ import annotations

__all__ = ["CuesJob", "CuesResult", "load", "resume", "run", "table"]

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.display import percent
from attn.errors import ConfigError, TrackingError
from attn.evaluation.score import Score
from attn.runs.recipes import load_config
from attn.runs.result import IF_GIVEN, RunResult
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import CueLabels
from attn.segmentation.make import CueReport, make_cues, sweep_cues
from attn.segmentation.map_sources import MapSource
from jobs.runs.lifecycle import begin_or_continue, config_of, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.training.segmenter import CUES, cue_score, map_source, record_cues

if TYPE_CHECKING:
    from rich.table import Table

FOREGROUND = tuple(round(0.05 * step, 2) for step in range(1, 16))
SALIENCY = (0.02, 0.04, 0.06, 0.1, 0.125, 0.2, 0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class CuesResult(RunResult):
    """Cues that were made.

    Attributes:
        folder: Of the PNGs.
        score: Of the cues; None where no image has a mask.
        best, grid: With a sweep, the best thresholds, and the quality at each of the grid.
    """

    report: CueReport
    score: Score | None
    best: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    grid: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
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
    """

    config: SegmentConfig
    sweep: bool = False


def load(recipe: str, overrides: list[str], *, sweep: bool = False) -> CuesJob:
    """The cues of a recipe or file.

    Args:
        overrides: `a.b=value`.
        sweep: As in `CuesJob`.

    Raises:
        ConfigError: With all faults.
    """
    return CuesJob(load_config(SegmentConfig, recipe, overrides), sweep)


def run(
    job: CuesJob, *, run_id: str | None = None, address: str | None = None, sources: SourceCache | None = None
) -> CuesResult:
    """Make the cues of a run's config into a folder of their own.

    Args:
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: Without meaning: the work is done in this process.
        sources: Data sets that this process has built already.

    Raises:
        ConfigError: The config's labels are not made of maps.
        DataError: Maps and data do not belong together.
    """
    config, sweep = job.config, job.sweep
    if not isinstance(config.labels, CueLabels):
        raise ConfigError("labels.source=cues is needed: labels of files or masks are there already")
    clock = time.monotonic()
    folder = RunFolder(config.root, run_id or new_run_id("cues"))
    source, swept = (sources or SourceCache()).get(config.data), dict[str, Any]()
    work, data = {"sweep": sweep}, source.fingerprint()
    with begin_or_continue("cues", config, folder, recorded=config, work=work, data=data) as live:
        with map_source(config, config.labels) as maps:
            report = make_cues(source, maps, config.labels, lambda name, data: folder.write(f"{CUES}/{name}", data))
            if sweep:
                swept = _sweep(source, maps, config.labels, report)
        score = cue_score(config, source, report)
        if score is not None:
            folder.write(f"{CUES}/score.json", score.to_json())
        quality = report.quality.figures() if report.quality else {}
        live.outputs |= {"cues": {"digest": report.digest, **quality}, "metrics": quality}
        with warned("the cues could not be recorded", TrackingError):
            record_cues(live.tracker, report)
    return CuesResult(
        run_id=folder.run_id,
        folder=folder.path(CUES),
        report=report,
        score=score,
        **swept,
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def resume(name: str, *, root: str = "runs", address: str | None = None) -> CuesResult:
    """Make again what was interrupted."""
    folder = RunFolder.of(name, root)
    job = CuesJob(config_of(folder, SegmentConfig), sweep=bool(folder.state().sweep))
    return run(job, run_id=folder.run_id)


def table(report: dict[str, Any]) -> Table:
    """The cues' quality for a terminal: one row a class, the whole last.

    Args:
        report: Of cues that were scored, as `CueReport.to_json` gives it.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    quality = report["quality"]
    title = f"cues of {report['images']} images, {report['masked']} with masks; percent"
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


def _sweep(source: Source, maps: MapSource, labels: CueLabels, report: CueReport) -> dict[str, Any]:
    of_saliency = report.saliency != "none"
    background = SALIENCY if of_saliency else FOREGROUND
    swept = sweep_cues(source, maps, labels, foreground=list(FOREGROUND), background=list(background))
    foreground, at, quality = swept.best()
    field = "background" if of_saliency else "background_map"
    return {
        "best": {"foreground": foreground, field: round(at, 4), **quality.figures()},
        "grid": {"foreground": FOREGROUND, field: background, "miou_all": swept.values("miou_all")},
    }
