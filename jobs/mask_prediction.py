"""Masks of a segmentation network for a data set: predicted, refined by CRFs, counted and drawn.

This process does it, with others for the CRFs; or processes of a Ray session share the images.
"""

from __future__ import annotations

__all__ = ["PredictedMasks", "crfs", "on_device", "predict_masks"]

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from attn import progress
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.sample import Example
from attn.data.source import Source, fingerprint
from attn.errors import DataError
from attn.evaluation.confusion import confusion_matrix, mean_iou
from attn.evaluation.score import Protocol, Score
from attn.models.device import choose_device
from attn.pictures.preview import evenly_spaced
from attn.pictures.tiles import TRUTH, PanelData
from attn.segmentation.bundle import Segmenter
from attn.segmentation.config import SegmentPredictConfig
from attn.segmentation.crf_pool import CrfPool, LocalCrfPool, spare_cores
from attn.segmentation.labels import FileLabels, read_labels
from attn.segmentation.masks import CLASSES_TABLE, classes_table, encode_mask, mask_name
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.only_background import only_background
from attn.segmentation.pictures import CUE, PREDICTION, REFINED, at_size, masks_panel
from attn.segmentation.predict import Prediction, SegmentInferenceConfig, predict
from jobs.ray_cluster.crf_tasks import RayCrfPool
from jobs.ray_cluster.session import ray_session
from jobs.ray_cluster.worker_pool import Report, is_alone, worker_pool
from jobs.runs.open_model import data_name
from jobs.runs.run_folder import RunFolder

CHUNK = 32
"""Images that a process of a pool is given at a time: with CRFs, about a minute of one core."""


def on_device(segmenter: Segmenter, device: str) -> SegmentationNetwork:
    """The network on its device: `auto`, `cpu` or `gpu`."""
    return segmenter.network.to(choose_device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@contextlib.contextmanager
def crfs(inference: SegmentInferenceConfig, processes: int | None, address: str | None) -> Generator[CrfPool]:
    """The cores that CRFs run on: those of a Ray cluster if an address is given, else this machine's.

    Args:
        processes: Of this machine; None: one a core, and none beside this process where there is only one.
    """
    if address is None or inference.crf is None:
        with _local_crfs(processes if inference.crf else 0) as pool:
            yield pool
        return
    with ray_session(address):
        yield RayCrfPool()


@contextlib.contextmanager
def _local_crfs(processes: int | None) -> Generator[CrfPool]:
    """The network then runs on one thread, so that they do not get in each other's way."""
    cores = spare_cores()
    count = (cores if cores > 1 else 0) if processes is None else processes
    threads = torch.get_num_threads()
    if count and not torch.cuda.is_available():
        torch.set_num_threads(1)
    try:
        with LocalCrfPool(count) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@dataclass
class PredictedMasks:
    """Confusion matrices and pictures of the images so far.

    Attributes:
        masked: Positions in the data of the images with a mask of their own.
    """

    matrices: dict[str, NDArray[np.int64]]
    images: int = 0
    masked: list[int] = field(default_factory=list)
    shown: list[PanelData] = field(default_factory=list)

    @classmethod
    def none(cls, classes: int, *, crf: bool) -> Self:
        """Of no image yet."""
        names = ["miou", *(["miou_crf"] if crf else [])]
        return cls({name: np.zeros((classes + 1, classes + 1), np.int64) for name in names})

    def add(self, position: int, prediction: Prediction) -> None:
        self.images += 1
        example = prediction.example
        if example.mask is None:
            return
        self.masked.append(position)
        masks = {"miou": prediction.plain, "miou_crf": prediction.refined}
        for name, matrix in self.matrices.items():
            matrix += confusion_matrix(masks[name], example.mask, len(matrix))

    def merge(self, other: PredictedMasks) -> None:
        """Add other images, after these."""
        for name, matrix in other.matrices.items():
            self.matrices[name] += matrix
        self.images += other.images
        self.masked += other.masked
        self.shown += other.shown

    def scores(self, config: SegmentPredictConfig, source: Source, masks: str | None) -> dict[str, Score]:
        if not self.masked:
            return {}
        names = ("background", *source.classes)
        inference = config.inference
        plain = Protocol(
            source=data_name(config.data),
            split=config.data.split,
            images=len(self.masked),
            fingerprint=fingerprint(source.classes, map(source.records.__getitem__, self.masked)),
            scored="masks",
            masks=masks,
            scales=inference.scales,
            flip=inference.flip,
            resize=inference.describe(),
        )
        protocols = {"miou": plain, "miou_crf": plain.model_copy(update={"crf": inference.crf})}
        scores = {}
        for name, matrix in self.matrices.items():
            value, per_class = mean_iou(matrix)
            if np.isnan(value):
                continue
            rows = {n: None if np.isnan(v) else float(v) for n, v in zip(names, per_class, strict=True)}
            left_out = [n for n, v in rows.items() if v is None]
            extras = {"left_out": left_out, "matrix": matrix.tolist()}
            scores[name] = Score(name=name, value=value, protocol=protocols[name], per_class=rows, extras=extras)
        return scores

    def rows(self, scores: dict[str, Score], classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """One row a class, background first."""
        return [
            {"class": name} | {key: score.per_class[name] for key, score in scores.items()}
            for name in ("background", *classes)
            if scores
        ]

    def notes(self) -> list[str]:
        without = self.images - len(self.masked)
        notes = [f"{without} of {self.images} images have no mask and do not count"] if without else []
        if self.masked and not self.matrices["miou"].any():
            notes.append("the images' own masks are void throughout: there is nothing to score against")
        of, classes = (
            ("every mask of the images that count", "their classes") if without else ("every mask", "the classes")
        )
        if only_background(self.matrices["miou"]):
            notes.append(f"{of} is background throughout: the network finds none of {classes}")
        elif any(only_background(matrix) for matrix in self.matrices.values()):
            notes.append(f"{of} is background throughout after the CRF, which removes all classes there")
        return notes


def predict_masks(
    segmenter: Segmenter,
    source: Source,
    config: SegmentPredictConfig,
    folder: RunFolder,
    where: str,
    address: str | None,
) -> PredictedMasks:
    """Predict the masks of all images.

    Args:
        where: Folder of the masks within the run's.
        address: A Ray cluster that does it; without one, this process or as many of this machine as the config says.
    """
    wanted = frozenset(evenly_spaced(source.records, config.panels))
    kept = where if config.masks or where != "masks" else None
    if kept == "masks":  # VOC's server wants the masks alone
        folder.write(f"{where}/{CLASSES_TABLE}", classes_table(source.classes))
        folder.write(f"{where}/{IMAGES_TABLE}", images_table(source.records))
    images, predicted = len(source.records), PredictedMasks.none(len(source.classes), crf=bool(config.inference.crf))
    with (
        progress.task("masks", images, "images") as reported,
        worker_pool(
            _Masker,
            _MaskWork(segmenter, source, config, folder, kept, wanted, alone=is_alone(address, config.tasks)),
            address=address,
            tasks=config.tasks,
            gpu=config.device != "cpu",
            helpers=config.processes or 0,
        ) as pool,
    ):
        size = CHUNK if pool.on_ray else images  # the CRFs of a chunk end before the next one begins
        chunks = [_Chunk(range(start, min(start + size, images))) for start in range(0, images, size)]
        for part in pool.run(chunks, reported.update):
            predicted.merge(part)
    return predicted


@dataclass(frozen=True)
class _Chunk:
    positions: range


@dataclass(frozen=True)
class _MaskWork:
    """Input of all processes.

    Attributes:
        kept: Folder of the masks within the run's; None: they are not kept.
        wanted: Positions of the images that are drawn.
        alone: One process does it all, with others for the CRFs.
    """

    segmenter: Segmenter
    source: Source
    config: SegmentPredictConfig
    folder: RunFolder
    kept: str | None
    wanted: frozenset[int]
    alone: bool


class _Masker:
    """A network on its device, ready for one chunk after the other."""

    def __init__(self, work: _MaskWork) -> None:
        self.work, self.network = work, on_device(work.segmenter, work.config.device)

    def __call__(self, chunk: _Chunk, report: Report) -> PredictedMasks:
        work, config, source = self.work, self.work.config, self.work.source
        inference, input = config.inference, work.segmenter.input
        processes = (config.processes if work.alone else config.processes or 0) if inference.crf else 0
        predicted = PredictedMasks.none(len(source.classes), crf=bool(inference.crf))
        examples = (source.load(position, saliency=False) for position in chunk.positions)
        with _local_crfs(processes) as pool:
            masks = predict(self.network, examples, input, inference, pool=pool)
            for position, prediction in zip(chunk.positions, masks, strict=True):
                predicted.add(position, prediction)
                if work.kept is not None:
                    name = mask_name(prediction.example.record.image_id)
                    work.folder.write(f"{work.kept}/{name}", encode_mask(prediction.refined))
                if position in work.wanted:
                    predicted.shown.append(_segmented(prediction, config, source.classes))
                report(predicted.images)
        return predicted


def _segmented(prediction: Prediction, config: SegmentPredictConfig, classes: Sequence[str]) -> PanelData:
    example = prediction.example
    masks = {
        CUE: _cue(example, config, classes),
        PREDICTION: prediction.plain,
        REFINED: prediction.refined if config.inference.crf else None,
        TRUTH: example.mask,
    }
    return masks_panel(example, classes, masks)


def _cue(example: Example, config: SegmentPredictConfig, classes: Sequence[str]) -> NDArray[np.uint8] | None:
    if config.cues is None:
        return None
    try:
        reader = read_labels(FileLabels(path=config.cues), [example.record], classes)
    except DataError:
        return None  # it has none of this image, such as one of another split
    size = (example.image.shape[0], example.image.shape[1])
    return at_size(reader(example.record, size, None), size)
