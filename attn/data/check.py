"""Reads a whole data set once and lists all its faults."""

from __future__ import annotations

__all__ = ["EXAMPLES", "CheckImages", "Checked", "Finding", "Report", "check", "check_config", "check_image"]

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from attn import progress
from attn.data.class_check import class_findings
from attn.data.decode import BUDGET, read_mask, read_saliency
from attn.data.label_check import constant_labels_fault, one_label_notice
from attn.data.sample import Example, Record
from attn.data.source import (
    MAX_CLASSES,
    Source,
    SourceConfig,
    collected_faults,
)
from attn.errors import DataError
from attn.files.locations import FileFault, name_of
from attn.wording import counted

Kind = Literal["source", "row", "image", "mask", "saliency", "labels", "classes", "boxes", "duplicate"]
THREADS = 8
EXAMPLES = 5
"""Findings of a kind that a report shows if it is not to show all."""


@dataclass(frozen=True)
class Finding:
    """One fault. An `error` stops training when the image is loaded; a `warning` does not.

    Attributes:
        title: The image for people, if that is not its id: of COCO's numbers with the file's name, of a table with its
            row.
    """

    severity: Literal["error", "warning"]
    kind: Kind
    image_id: str
    message: str
    title: str | None = None

    @property
    def shown(self) -> str:
        return self.title or self.image_id

    def __str__(self) -> str:
        return f"{self.severity} ({self.kind}) {self.shown}: {self.message}"


Checked = tuple[list[Finding], str | None]
"""Faults of one image, and a hash of its pixels if it can be read."""
CheckImages = Callable[[Source, Collection[str]], Iterable[Checked]]
"""Checks each image of a source, in order; `unnumbered` as for `check`."""


@dataclass(frozen=True)
class Report:
    """Counts and faults of a data set.

    Attributes:
        images: Number of images.
        with_mask, with_boxes, with_saliency: Number of images with a mask, boxes or a saliency map.
        per_class: Number of images of each class, by labels.
        findings: Faults: of rows and labels first, then in the order of the images.
    """

    images: int
    with_mask: int
    with_boxes: int
    with_saliency: int
    per_class: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def ok(self) -> bool:
        return not self.errors

    def with_errors(self, errors: Sequence[Finding]) -> Report:
        """The report with these errors first, in place of findings that say the same."""
        said = {error.message for error in errors}
        return replace(self, findings=(*errors, *(one for one in self.findings if one.message not in said)))

    def to_json(self) -> dict[str, Any]:
        """Plain values for `attn ... --json`."""
        return {"ok": self.ok, "errors": len(self.errors), "warnings": len(self.warnings)} | asdict(self)

    def __str__(self) -> str:
        return self.text()

    def has_more(self, most: int) -> bool:
        """Whether a text with so many findings of a kind leaves some out."""
        groups = self._groups().values()
        return any(len(group) > most or len(_joined(group)) < len(group) for group in groups)

    def _groups(self) -> dict[tuple[str, Kind], list[Finding]]:
        groups: dict[tuple[str, Kind], list[Finding]] = {}
        for finding in (*self.errors, *self.warnings):
            groups.setdefault((finding.severity, finding.kind), []).append(finding)
        return groups

    def text(self, most: int | None = None) -> str:
        """The report as plain text, findings last, grouped by kind.

        Args:
            most: Number of findings of a kind to show; those with one message count as one.
        """
        width = max(map(len, self.per_class), default=0)
        result = (("error", len(self.errors)), ("warning", len(self.warnings)))
        lines = [
            f"{counted(self.images, 'image')}, {self.with_mask} with a mask, {self.with_boxes} with boxes, "
            f"{self.with_saliency} with saliency",
            *(f"  {name:<{width}} {count:>6}" for name, count in self.per_class.items()),
            ", ".join(counted(number, what) for what, number in result),
        ]
        for (severity, kind), group in self._groups().items():
            if len(group) == 1:
                lines.append(f"  {group[0]}")
                continue
            lines.append(f"  {len(group)} {severity}s ({kind})")
            shown = [(one.shown, one.message) for one in group] if most is None else _joined(group)
            lines += [f"    {image}: {message}" for image, message in shown[:most]]
            if (left := len(shown) - len(shown[:most])) > 0:
                lines.append(f"    ... and {left} more")
        return "\n".join(lines)


def _joined(group: Iterable[Finding]) -> list[tuple[str, str]]:
    """Images and message of findings; those with one message are joined: `a and 31 more`."""
    images: dict[str, list[str]] = {}
    for finding in group:
        images.setdefault(finding.message, []).append(finding.shown)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", message)
        for message, names in images.items()
    ]


def check_config(
    config: SourceConfig, view: Callable[[Source], Source] | None = None, *, images: CheckImages | None = None
) -> Report:
    """Build a source without its faulty rows and check it; if it cannot be built, nothing else is checked.

    Args:
        view: Gives what is used of the source; raises DataError if it does not fit.
        images: Checks the images; by default threads of this process.
    """
    source: Source | None = None
    broken: list[Finding] = []
    with collected_faults() as faults:
        try:
            source = config.model_copy(update={"on_error": "skip"}).build()
            if not source.records:
                raise DataError(f"data.split={config.split!r} has no images")
            source = source if view is None else view(source)
        except DataError as error:
            broken = [Finding("error", "source", config.split, str(error))]
    rows = [Finding("error", "row", config.split, fault) for fault in dict.fromkeys(faults)]
    if broken or source is None:
        return Report(0, 0, 0, 0, {}, (*broken, *rows))
    report = check(source, unnumbered=faults.unnumbered, images=images)
    return replace(report, findings=(*rows, *report.findings))


def check(source: Source, *, unnumbered: Collection[str] = (), images: CheckImages | None = None) -> Report:
    """Decode every image, mask and saliency map, and collect all faults.

    Args:
        unnumbered: Classes of which it is unknown which value of the masks they are: masks are not compared with these
            labels.
        images: Checks the images; by default threads of this process.
    """
    results = list((images or _in_threads)(source, unnumbered))
    findings = [
        replace(finding, title=_title(record))
        for record, (item, _) in zip(source.records, results, strict=True)
        for finding in item
    ]
    counts = Counter(label for record in source.records for label in record.labels)
    per_class = {name: counts[label] for label, name in enumerate(source.classes)}
    return Report(
        images=len(source.records),
        with_mask=sum(record.mask is not None for record in source.records),
        with_boxes=sum(bool(record.boxes) for record in source.records),
        with_saliency=sum(record.saliency is not None for record in source.records),
        per_class=per_class,
        findings=(
            *_check_labels(source),
            *(Finding("warning", "classes", name, message) for name, message in class_findings(per_class)),
            *findings,
            *_duplicates(source.records, [digest for _, digest in results]),
        ),
    )


def _in_threads(source: Source, unnumbered: Collection[str]) -> Iterator[Checked]:
    with ThreadPoolExecutor(THREADS) as pool:
        checked = pool.map(lambda index: check_image(source, index, unnumbered), range(len(source.records)))
        yield from progress.steps_of(checked, "checking", len(source.records), "images")


def _check_labels(source: Source) -> list[Finding]:
    """A finding if all images have the same labels, only a warning if classes are not exclusive; or one label each."""
    fault = constant_labels_fault(source)
    if fault is None:
        return [Finding("warning", "labels", "data", text) for text in filter(None, [one_label_notice(source)])]
    return [Finding("error" if source.exclusive else "warning", "labels", "data", fault)]


def check_image(source: Source, index: int, unnumbered: Collection[str]) -> Checked:
    """Check one image; `unnumbered` as for `check`."""
    with BUDGET.keep():
        return _check_image(source, index, unnumbered)


def _check_image(source: Source, index: int, unnumbered: Collection[str]) -> Checked:
    record = source.records[index]
    findings = []
    if not record.labels:
        findings.append(Finding("warning", "labels", record.image_id, "has no label"))
    example, faults = _load(source, index)
    findings += faults
    if example is None:
        return findings, None
    findings += _check_boxes(example, source.classes)
    if example.mask is not None:
        findings += _check_mask(example, source.classes, unnumbered)
    digest = hashlib.sha256(str(example.image.shape).encode())
    digest.update(np.ascontiguousarray(example.image).data)
    return findings, digest.hexdigest()


def _load(source: Source, index: int) -> tuple[Example | None, list[Finding]]:
    """Load as much of an image as possible, and collect faults."""
    image_id = source.records[index].image_id
    try:
        return source.load(index), []
    except DataError:
        pass  # load the files one by one to find all faults
    try:
        example = source.load(index, mask=False, saliency=False)
    except DataError as error:
        others = [finding for finding in _other_faults(source, index) if finding.message != str(error)]
        return None, [*others, Finding("error", "image", image_id, str(error))]
    findings: list[Finding] = []
    parts: tuple[tuple[Kind, bool, bool], ...] = (("saliency", False, True), ("mask", True, False))
    for kind, mask, saliency in parts:
        try:
            example = source.load(index, mask=mask, saliency=saliency)
        except DataError as error:
            findings.append(Finding("error", kind, image_id, str(error)))
    return example, findings


def _other_faults(source: Source, index: int) -> list[Finding]:
    """Faults of the mask and saliency map of an unreadable image."""
    record = source.records[index]
    findings = []
    if record.mask is not None and "#" not in name_of(record.mask):
        try:
            read_mask(record.mask, None, MAX_CLASSES)  # a view has fewer classes than the masks have values
        except FileFault as error:
            findings.append(Finding("error", "mask", record.image_id, str(error)))
    if record.saliency is not None:
        try:
            read_saliency(record.saliency, None)
        except FileFault as error:
            findings.append(Finding("error", "saliency", record.image_id, str(error)))
    return findings


def _check_mask(example: Example, classes: tuple[str, ...], unnumbered: Collection[str]) -> list[Finding]:
    assert example.mask is not None
    record = example.record
    present = {int(value) - 1 for value in np.unique(example.mask) if 0 < value < 255}
    unknown = {label for label, name in enumerate(classes) if name in unnumbered}
    findings = []
    if bare := sorted(set(record.labels) - present - unknown):
        names = ", ".join(classes[label] for label in bare)
        findings.append(Finding("warning", "mask", record.image_id, f"labelled {names}, but the mask has none of it"))
    # An unnumbered label may be any of the mask's values.
    if unknown.isdisjoint(record.labels) and (unlabelled := sorted(present - set(record.labels) - unknown)):
        names = ", ".join(classes[label] for label in unlabelled)
        findings.append(Finding("warning", "mask", record.image_id, f"the mask has {names}, but the labels do not"))
    return findings


def _check_boxes(example: Example, classes: tuple[str, ...]) -> list[Finding]:
    record = example.record
    if example.boxes_fault is not None:
        return [Finding("error", "boxes", record.image_id, str(example.boxes_fault))]
    height, width = example.image.shape[:2]
    findings = [
        Finding(
            "warning",
            "boxes",
            record.image_id,
            f"the {classes[label]} box {list(box)} is empty or leaves {width}x{height}: correct or remove it",
        )
        for label, box in record.boxes
        if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height)
    ]
    bare = sorted(set(record.labels) - {label for label, _ in record.boxes})
    if record.boxes and bare:
        names = ", ".join(classes[label] for label in bare)
        findings.append(Finding("warning", "boxes", record.image_id, f"labelled {names}, but there is no such box"))
    return findings


def _duplicates(records: Iterable[Record], digests: list[str | None]) -> list[Finding]:
    first: dict[str, str] = {}
    findings = []
    for record, digest in zip(records, digests, strict=True):
        if digest is not None and digest in first:
            message = f"has the same pixels as {first[digest]}"
            findings.append(Finding("warning", "duplicate", record.image_id, message, _title(record)))
        elif digest is not None:
            first[digest] = _title(record) or record.image_id
    return findings


def _title(record: Record) -> str | None:
    """An image for people, with the entry that lists it; None if that is only its id."""
    title = record.title if record.entry is None else f"{record.title} ({record.entry})"
    return title if title != record.image_id else None
