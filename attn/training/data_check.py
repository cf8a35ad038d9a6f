"""Checks all data of a run: training and validation."""

from __future__ import annotations

__all__ = ["check_run", "refusals"]

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from attn.data.check import CheckImages, Finding, Report, check_config
from attn.data.label_check import constant_labels_fault
from attn.data.source import Source, SourceConfig
from attn.data.view import SourceView, with_classes
from attn.errors import DataError
from attn.training.sources import check_validated_classes, overlap_notices
from attn.training.supervision import supervised_images
from attn.training.train_config import TrainConfig

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig


def check_run(
    config: RunConfig, second: SourceConfig | None = None, *, images: CheckImages | None = None
) -> dict[str, Report]:
    """Read the data of a run as `check_config` does.

    Args:
        second: Its method's second stream.
        images: As for `check_config`.

    Returns:
        One report for each split, by the field that names it, the run's own data first. Images in both training and
        validation, and other classes there, are findings of the validation split. There is no such report if both are
        the same split.
    """
    reports = {f"data.split={config.data.split}": check_config(config.data, images=images)}
    if second is not None:
        reports[f"method.source.split={second.split}"] = check_config(
            second, partial(_matched, config.data), images=images
        )
    split = config.validation.split
    if split is not None and split != config.data.split:
        validation = config.data.model_copy(update={"split": split})
        report = check_config(validation, images=images)
        shared = _between(config, [config.data, *([second] if second else [])], validation)
        reports[f"validation.split={split}"] = replace(report, findings=(*shared, *report.findings))
    return reports


def refusals(config: RunConfig) -> list[Finding]:
    """What a training refuses of the whole of its data, by the functions that its start calls; no image is read.

    A classifier needs labels that differ, and as many images with masks or boxes as its method asks for.
    """
    if not isinstance(config, TrainConfig):
        return []
    try:
        source = config.data.model_copy(update={"on_error": "skip"}).build()
    except DataError:  # which a report has already
        return []
    fault = constant_labels_fault(source) if source.records else None
    findings = [Finding("error", "labels", "data", fault)] if fault else []
    supervision = config.method.build().supervision
    try:
        supervised_images(source, supervision, config.seed)
    except DataError as error:
        kind = "boxes" if supervision is not None and supervision.kind == "boxes" else "mask"
        findings.append(Finding("error", kind, "data", str(error)))
    return findings


def _matched(data: SourceConfig, second: Source) -> Source:
    """The second stream with those classes of the run's own data that it has, as training matches them.

    Raises:
        DataError: It has images of other classes.
    """
    try:
        classes = data.model_copy(update={"on_error": "skip"}).build().classes
    except DataError:  # which a report has already
        return second
    with_classes(second, classes, name="method.source", other="data")
    return SourceView(second, range(len(second.records)), [name for name in classes if name in second.classes])


def _between(config: RunConfig, trained: list[SourceConfig], validated: SourceConfig) -> list[Finding]:
    """What is wrong between the training and the validation images."""
    try:
        own, *more, theirs = (one.model_copy(update={"on_error": "skip"}).build() for one in (*trained, validated))
    except DataError:  # which a report has already
        return []
    try:
        check_validated_classes(config, own, theirs)
    except DataError as error:
        return [Finding("error", "classes", validated.split, str(error))]
    try:
        notices = overlap_notices(config, own, theirs, *more)
    except DataError as error:
        return [Finding("error", "duplicate", validated.split, str(error))]
    return [Finding("warning", "duplicate", validated.split, text) for text in notices]
