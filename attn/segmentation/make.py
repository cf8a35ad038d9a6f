"""Makes cues of maps and saliency: a folder of index PNGs, and a report of their quality."""

from __future__ import annotations

__all__ = ["CueReport", "ShownCue", "make_cues", "sweep_cues", "threshold_words"]

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from attn import progress
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.sample import Example, Record
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.agreement import SaliencyAgreement
from attn.evaluation.localization import threshold_grid
from attn.saliency.source import SaliencySource
from attn.segmentation.cues import CueRule, Labels, Maps, cue_labels
from attn.segmentation.labels import CUES_FILE, CueLabels
from attn.segmentation.map_sources import ImageMap, MapSource
from attn.segmentation.masks import CLASSES_TABLE, classes_table, encode_mask, mask_name
from attn.segmentation.quality import CueQuality, CueSweep, cue_matrix
from attn.wording import counted

R = TypeVar("R")
THRESHOLDS = 100
"""Of the maps, among which agreement with saliency chooses."""


@dataclass(frozen=True)
class ShownCue:
    """An image with its maps, by class index, and its cue, both at the image's size."""

    example: Example
    maps: dict[int, NDArray[np.float32]]
    cue: Labels


@dataclass(frozen=True)
class CueReport:
    """The cues that were made, and how good they are.

    Attributes:
        digest: SHA-256 over every image's name and labels: equal cues, equal digest.
        saliency: Origin of the saliency, for people.
        threshold: How the rule's threshold of the maps was chosen.
        matrix: Cue matrix of the images with a mask; None if there are none.
        labelled: Share of all pixels that have a cue, masks or not.
        without_maps: Images with labels but without maps; all their pixels are background or open.
        shown: The images that were to be shown.
    """

    images: int
    masked: int
    digest: str
    maps: dict[str, Any]
    rule: dict[str, Any]
    saliency: str
    threshold: dict[str, Any]
    labelled: float
    matrix: NDArray[np.int64] | None
    classes: tuple[str, ...]
    without_maps: tuple[str, ...] = field(default=())
    shown: tuple[ShownCue, ...] = field(default=(), repr=False)

    @property
    def quality(self) -> CueQuality | None:
        """Scores against the masks; None if no mask has a pixel with a cue."""
        return None if self.matrix is None or not self.matrix[:, :-1].any() else CueQuality.of(self.matrix)

    def notes(self) -> list[str]:
        """Which images the scores are not of."""
        without = self.images - self.masked
        return [f"{without} of {self.images} images have no mask and do not count"] if self.quality and without else []

    def to_json(self) -> dict[str, Any]:
        """Plain values: everything that the cues depend on, and how good they are."""
        quality = self.quality
        described: dict[str, Any] = {
            "digest": self.digest,
            "images": self.images,
            "masked": self.masked,
            "maps": self.maps,
            "rule": self.rule,
            "saliency": self.saliency,
            "threshold": self.threshold,
            "labelled": self.labelled,
            "without_maps": list(self.without_maps),
            "classes": ["background", *self.classes],
        }
        if quality is not None and self.matrix is not None:
            described |= {
                "quality": quality.figures(),
                "per_class": quality.table(["background", *self.classes]),
                "matrix": self.matrix.tolist(),
            }
        return described


class _Made(NamedTuple):
    record: Record
    digest: str
    labelled: float
    matrix: NDArray[np.int64] | None
    without_maps: bool
    shown: ShownCue | None


def make_cues(
    source: Source,
    saliency: SaliencySource | None,
    maps: MapSource,
    config: CueLabels,
    write: Callable[[str, bytes], None],
    *,
    threads: int | None = None,
    show: Collection[int] = (),
) -> CueReport:
    """Make the cues of a whole data set, and the report of their quality.

    Args:
        saliency: As `cue_saliency` gives it.
        write: Keeps a file under a name: one PNG an image, and at the end two tables and `cues.json`.
        threads: Images at a time.
        show: Positions of the images whose maps and cues the report keeps.

    Raises:
        DataError: Maps and data do not belong together; the rule leaves all pixels of all images open; or saliency is
            to choose the threshold, and no image has a salient pixel.
    """
    num_classes = len(source.classes)
    rule, threshold = config.rule, dict[str, Any]({"rule": "fixed", "value": config.rule.foreground})
    if config.threshold == "saliency_agreement":
        assert saliency is not None, "checked"
        rule, threshold = _agreeing_rule(saliency, maps, config, threads)

    def make(position: int, image_map: ImageMap) -> _Made:
        example = (saliency or source).load(position)
        at_size = _at_size(image_map, example)
        labels = cue_labels(rule, at_size, example.saliency if saliency else None, shape=_size(example))
        write(mask_name(example.record.image_id), encode_mask(labels))
        return _Made(
            example.record,
            _digest(example.record.image_id, labels),
            float((labels != 255).mean()),
            None if example.mask is None else cue_matrix(labels, example.mask, num_classes),
            bool(example.record.labels) and not image_map,
            ShownCue(example, at_size, labels) if position in show else None,
        )

    in_order = _in_threads(make, maps.read(source), threads)
    cues = list(progress.steps_of(in_order, "cues", len(source.records), "images"))
    if not any(one.labelled for one in cues):
        raise DataError(
            f"labels.rule leaves every pixel of all {len(cues)} images open, so that there is nothing to learn from: "
            "look at the maps (`attn compare`), or change the rule's thresholds"
        )
    matrices = [one.matrix for one in cues if one.matrix is not None]
    report = CueReport(
        images=len(cues),
        masked=len(matrices),
        digest=hashlib.sha256("\n".join(sorted(one.digest for one in cues)).encode()).hexdigest(),
        maps=maps.description,
        rule=rule.model_dump(mode="json"),
        saliency=saliency.description if saliency else "none",
        threshold=threshold,
        labelled=float(np.mean([one.labelled for one in cues])),
        matrix=sum(matrices[1:], matrices[0]) if matrices else None,
        classes=tuple(source.classes),
        without_maps=tuple(one.record.image_id for one in cues if one.without_maps),
        shown=tuple(one.shown for one in cues if one.shown is not None),
    )
    write(CLASSES_TABLE, classes_table(source.classes))
    write(IMAGES_TABLE, images_table(source.records))
    write(CUES_FILE, json.dumps(report.to_json(), indent=1, allow_nan=False).encode())
    return report


def sweep_cues(
    source: Source,
    saliency: SaliencySource | None,
    maps: MapSource,
    config: CueLabels,
    *,
    foreground: list[float],
    background: list[float],
    threads: int | None = None,
) -> CueSweep:
    """The cues' quality at every pair of thresholds, in one pass; nothing is written.

    Args:
        saliency: As `cue_saliency` gives it.
        background: Of saliency or, without it, of the maps.

    Raises:
        DataError: As `make_cues`; or no image has a mask.
    """
    sweep = CueSweep(config.rule, len(source.classes), foreground, background)

    def load(position: int, image_map: ImageMap) -> tuple[Maps, NDArray[np.uint8] | None, Labels] | None:
        example = (saliency or source).load(position)
        if example.mask is None:
            return None
        return _at_size(image_map, example), example.saliency if saliency else None, example.mask

    loaded_images = _in_threads(load, maps.read(source), threads)
    for loaded in progress.steps_of(loaded_images, "thresholds", len(source.records), "images"):
        if loaded is not None:
            sweep.add(*loaded)
    if not sweep.matrices.any():
        raise DataError(
            "thresholds are chosen by the masks, and those are void throughout; data.masks names another folder"
            if any(record.mask is not None for record in source.records)
            else "thresholds are chosen by the masks, and the data has none; data.masks names their folder"
        )
    return sweep


def threshold_words(threshold: dict[str, Any]) -> str:
    """How a threshold of maps was chosen, for a person."""
    if threshold["rule"] == "fixed":
        return f"{threshold['value']:g}, fixed"
    agreement = f"mean IoU {threshold['agreement']:.1%} of {counted(threshold['agreement_images'], 'image')}"
    return f"{threshold['value']:g} by agreement with saliency, {agreement}"


def _agreeing_rule(
    saliency: SaliencySource, maps: MapSource, config: CueLabels, threads: int | None
) -> tuple[CueRule, dict[str, Any]]:
    """The rule with the threshold at which the maps of all images agree best with saliency, and its record."""
    agreement = SaliencyAgreement(threshold_grid(THRESHOLDS), config.saliency_threshold)

    def load(position: int, image_map: ImageMap) -> tuple[Record, NDArray[np.float32], NDArray[np.uint8]] | None:
        example = saliency.load(position, mask=False)
        if not image_map:
            return None
        assert example.saliency is not None, "the source has saliency of every image"
        highest = config.rule.highest(_at_size(image_map, example), _size(example))
        return example.record, highest, example.saliency

    loaded_images = _in_threads(load, maps.read(saliency), threads)
    for loaded in progress.steps_of(loaded_images, "threshold", len(saliency.records), "images"):
        if loaded is not None:
            agreement.add(*loaded)
    if not agreement.images:
        raise DataError(
            f"labels.threshold=saliency_agreement, but no image has both a map and saliency above "
            f"labels.saliency_threshold={config.saliency_threshold:g} ({saliency.description})"
        )
    threshold = float(agreement.thresholds[agreement.best])
    described = agreement.rule(saliency.description).model_dump(mode="json") | agreement.figures()
    return config.rule.model_copy(update={"foreground": threshold}), described | {"value": threshold}


def _size(example: Example) -> tuple[int, int]:
    return (example.image.shape[0], example.image.shape[1])


def _at_size(maps: ImageMap, example: Example) -> dict[int, NDArray[np.float32]]:
    """The maps at the image's size: bilinear between the centres of their grid, as `Geometry.to_image` has it."""
    height, width = _size(example)
    return {
        index: values
        if values.shape == (height, width)
        else np.asarray(cv2.resize(values, (width, height)), np.float32)
        for index, values in maps.items()
    }


def _digest(image_id: str, labels: Labels) -> str:
    digest = hashlib.sha256(f"{image_id}\t{labels.shape}\t".encode())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def _in_threads(
    work: Callable[[int, ImageMap], R], items: Iterator[tuple[int, ImageMap]], threads: int | None
) -> Iterator[R]:
    """Results in order. Takes only as many items ahead as keep the threads busy."""
    count = threads or os.cpu_count() or 1
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(count) as pool:
        for position, maps in items:
            waiting.append(pool.submit(work, position, maps))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
