"""Runs that train a segmentation network; see `jobs.training.hooks.TrainingHooks`."""

from __future__ import annotations

__all__ = [
    "CUES",
    "cue_fields",
    "cue_score",
    "make_labels",
    "map_source",
    "prepare",
    "record_cues",
    "save",
    "validate",
]

import contextlib
import json
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from attn.config.unused import unused_notices
from attn.data.source import Source, fingerprint
from attn.errors import TrackingError
from attn.evaluation.score import Protocol, Score, ThresholdRule
from attn.maps.settings import MapSettings
from attn.models.bundle import Bundle
from attn.registry.lookup import open_model
from attn.segmentation.bundle import save_segmenter
from attn.segmentation.components import build_components
from attn.segmentation.config import SegmentConfig
from attn.segmentation.cue_saliency import cue_saliency, saliency_notices, without_saliency
from attn.segmentation.labels import CUES_FILE, CueLabels, FileLabels, LabelsConfig
from attn.segmentation.make import CueReport, make_cues, threshold_words
from attn.segmentation.map_sources import MapSource, ModelLoader
from attn.tracking import Tracker, attach
from attn.training.network_input import input_notices
from attn.training.selection import best_of
from attn.training.sources import overlap_notices
from attn.wording import counted
from jobs.ray_cluster.saliency_tasks import compute_saliency
from jobs.runs.lifecycle import warned
from jobs.runs.open_model import data_name, masks_name, saliency_name
from jobs.runs.run_folder import RunFolder
from jobs.training.hooks import TrainingRun
from jobs.training.notices import tell_notices
from jobs.training.selected import check_selection

CUES = "cues"
"""Folder of a run's cues, within its own."""


def validate(run: TrainingRun[SegmentConfig]) -> dict[str, Any]:
    config = run.config
    components = build_components(config, rank=0, world=config.cluster.most_workers, sources=run.sources)
    check_selection(run)
    notices = [*components.network.notices, *overlap_notices(config, components.source, components.val_source)]
    notices += [*unused_notices(config), *input_notices(config.input, config.model.name)]
    if isinstance(config.labels, CueLabels):
        source = components.source
        notices += saliency_notices(len(source.records), without_saliency(source), config.labels)
        cue_saliency(source, config.labels, config.root)  # the file of its network is there
        with map_source(config, config.labels) as maps:
            next(iter(maps.read(source)), None)  # maps and data belong together
    tell_notices(notices)
    return {"notices": notices}


def prepare(run: TrainingRun[SegmentConfig]) -> SegmentConfig:
    return run.config.model_copy(update={"labels": make_labels(run)})


def save(run: TrainingRun[SegmentConfig], shared: dict[str, Any], bundle: Path) -> None:
    config, folder = run.config, run.folder
    source = run.sources.get(config.data)
    info: dict[str, Any] = {
        "run_id": folder.run_id,
        "method": config.method.model_dump(mode="json"),
        "labels": config.labels.model_dump(mode="json"),
        "data": source.fingerprint(),
    }
    if (best := best_of(shared)) is not None:
        info["best"] = best.to_json()
    if folder.exists(f"{CUES}/{CUES_FILE}"):
        info["cues"] = folder.read_json(f"{CUES}/{CUES_FILE}").get("digest")
    save_segmenter(
        bundle,
        shared["model"],
        model=config.model,
        classes=tuple(shared.get("classes") or source.classes),
        input=config.input,
        inference=config.inference,
        config_yaml=folder.read_text("config.yaml"),
        info=info,
    )


def make_labels(run: TrainingRun[SegmentConfig]) -> LabelsConfig:
    """The labels that workers read: those of the config; if it asks for cues, cues made into the folder.

    Existing cues of the same maps and rule are kept.
    """
    config, folder = run.config, run.folder
    if not isinstance(config.labels, CueLabels):
        return config.labels
    labels = FileLabels(path=folder.path(CUES))
    with map_source(config, config.labels) as maps:
        if folder.exists(f"{CUES}/{CUES_FILE}"):
            former = folder.read_json(f"{CUES}/{CUES_FILE}")
            if former.get("maps") == maps.description and _is_rule(config.labels, former):
                return labels
        source = run.sources.get(config.data)
        saliency = compute_saliency(cue_saliency(source, config.labels, config.root))
        report = make_cues(
            source, saliency, maps, config.labels, lambda name, data: folder.write(f"{CUES}/{name}", data)
        )
    _record(config, folder, source, report)
    return labels


@contextlib.contextmanager
def map_source(config: SegmentConfig, labels: CueLabels) -> Generator[MapSource]:
    """Open the maps for a run's cues; a model that was fetched for it is removed afterwards."""
    with contextlib.ExitStack() as stack:

        def locate(name: str) -> Bundle:
            return stack.enter_context(open_model(name, config))

        find: ModelLoader = locate
        yield labels.maps.open(find)


def cue_score(config: SegmentConfig, source: Source, report: CueReport) -> Score | None:
    """The cues' mean IoU with its protocol; None if no image has a mask."""
    quality = report.quality
    if quality is None:
        return None
    names = ("background", *report.classes)
    # A fixed threshold is a field of the cues' rule; one that was chosen is a result.
    chosen = {} if report.threshold["rule"] == "fixed" else report.threshold
    rule = {name: chosen[name] for name in ThresholdRule.model_fields if name in chosen}
    cue_rule = {name: value for name, value in report.rule.items() if not chosen or name != "foreground"}
    # The record of a chosen threshold identifies saliency by its pixels.
    saliency = report.saliency if chosen else saliency_name(config.data, report.saliency)
    masked = [record for record in source.records if record.mask is not None]
    protocol = Protocol(
        source=data_name(config.data),
        split=config.data.split,
        images=report.masked,
        fingerprint=fingerprint(source.classes, masked),
        scored="cues",
        map_kind=report.maps.get("map_kind"),
        layer=report.maps.get("layer"),
        **MapSettings.of_described(report.maps).protocol(),
        masks=masks_name(config.data),
        labels="given",
        refinement=report.maps.get("refinement"),
        threshold=ThresholdRule.model_validate_json(json.dumps(rule)) if chosen else None,
        cue_rule=cue_rule | {"saliency": saliency},
        resize="none",
    )
    rows = quality.table(names)
    return Score(
        name="cue_miou",
        value=quality.miou,
        protocol=protocol,
        per_class={row["class"]: row["iou"] for row in rows},
        extras={"left_out": [row["class"] for row in rows if row["iou"] is None], **quality.figures()}
        | ({"threshold": chosen["value"], "agreement": chosen["agreement"]} if chosen else {}),
    )


def _is_rule(labels: CueLabels, former: dict[str, Any]) -> bool:
    """Return whether a config's rule and threshold are those of cues that were made."""
    rule, threshold = labels.rule.model_dump(mode="json"), former.get("threshold", {"rule": "fixed"})
    if labels.threshold != "fixed":  # the rule's own is not used
        rule |= {"foreground": threshold.get("value")}
    return former.get("rule") == rule and threshold.get("rule") == labels.threshold


def record_cues(tracker: Tracker, report: CueReport) -> None:
    """Cues and their quality in a run's record."""
    if report.quality is not None:
        tracker.log_metrics({f"cues/{name}": value for name, value in report.quality.figures().items()}, 0)
    tracker.set_tags({"attn.cues": report.digest, "attn.saliency": re.sub(r"\s+", " ", report.saliency)})
    tracker.log_text(f"{CUES}.json", json.dumps(report.to_json(), indent=1))


def cue_fields(report: CueReport) -> dict[str, Any]:
    """Cues in the state of their run."""
    quality = {"masked": report.masked, **report.quality.figures()} if report.quality else {}
    threshold = threshold_words(report.threshold)
    return {"digest": report.digest, **quality, "saliency": report.saliency, "threshold": threshold}


def describe_cues(report: CueReport) -> str:
    """One line for a person."""
    quality = report.quality
    images = counted(report.images, "image")
    origin = f"saliency {report.saliency}; threshold {threshold_words(report.threshold)}"
    if quality is None:
        return f"cues: {images}, {report.labelled:.1%} of the pixels; no masks to hold them against; {origin}"
    return (
        f"cues: {images}; of {counted(report.masked, 'image')} with masks: "
        f"coverage {quality.coverage:.1%}, precision {quality.precision:.1%}, "
        f"mIoU {quality.miou:.1%} of what they label, {quality.miou_all:.1%} of all; {origin}"
    )


def _record(config: SegmentConfig, folder: RunFolder, source: Source, report: CueReport) -> None:
    """Report the quality of the cues: on the terminal, in the run's folder and in its record."""
    print(describe_cues(report), file=sys.stderr)
    score = cue_score(config, source, report)
    folder.update(cues=cue_fields(report))
    if score is not None:
        folder.write(f"{CUES}/score.json", score.to_json())
    with warned("the cues could not be recorded", TrackingError):  # the run is worth more than its record
        tracker = attach(config.tracking, config.root, folder.state().tracking_run, folder.uri)
        record_cues(tracker, report)
        tracker.flush()
