"""Masks of a segmentation network for a data set: predicted, refined by CRFs, counted and drawn."""

from __future__ import annotations

__all__ = ["PredictedMasks", "crfs", "on_device", "predict_masks"]

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn import progress
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.sample import Example, Record
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
from jobs.runs.open_model import data_name
from jobs.runs.run_folder import RunFolder


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
    """Confusion matrices and pictures of the images so far."""

    config: SegmentPredictConfig
    matrices: dict[str, NDArray[np.int64]]
    images: int = 0
    masked: list[Record] = field(default_factory=list)
    shown: list[PanelData] = field(default_factory=list)

    def add(self, prediction: Prediction) -> None:
        self.images += 1
        example = prediction.example
        if example.mask is None:
            return
        self.masked.append(example.record)
        masks = {"miou": prediction.plain, "miou_crf": prediction.refined}
        for name, matrix in self.matrices.items():
            matrix += confusion_matrix(masks[name], example.mask, len(matrix))

    def scores(self, config: SegmentPredictConfig, source: Source, masks: str | None) -> dict[str, Score]:
        if not self.masked:
            return {}
        names = ("background", *source.classes)
        inference = config.inference
        plain = Protocol(
            source=data_name(config.data),
            split=config.data.split,
            images=len(self.masked),
            fingerprint=fingerprint(source.classes, self.masked),
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
        if only_background(self.matrices["miou"]):
            notes.append("every mask is background throughout: the network has learnt none of the classes")
        elif any(only_background(matrix) for matrix in self.matrices.values()):
            notes.append("every mask is background throughout after the CRF, which removes all classes")
        return notes


def predict_masks(
    segmenter: Segmenter,
    source: Source,
    config: SegmentPredictConfig,
    folder: RunFolder,
    where: str,
    address: str | None,
) -> PredictedMasks:
    outputs = len(source.classes) + 1
    names = ["miou", *(["miou_crf"] if config.inference.crf else [])]
    predicted = PredictedMasks(config, {name: np.zeros((outputs, outputs), np.int64) for name in names})
    wanted = {source.records[index].image_id for index in evenly_spaced(source.records, config.panels)}
    network = on_device(segmenter, config.device)
    keep = config.masks or where != "masks"
    if keep and where == "masks":  # VOC's server wants the masks alone
        folder.write(f"{where}/{CLASSES_TABLE}", classes_table(source.classes))
        folder.write(f"{where}/{IMAGES_TABLE}", images_table(source.records))
    with (
        crfs(config.inference, config.processes, address) as pool,
        progress.task("masks", len(source.records), "images") as reported,
    ):
        for prediction in predict(network, _examples(source), segmenter.input, config.inference, pool=pool):
            predicted.add(prediction)
            reported.advance()
            record = prediction.example.record
            if keep:
                folder.write(f"{where}/{mask_name(record.image_id)}", encode_mask(prediction.refined))
            if record.image_id in wanted:
                predicted.shown.append(_segmented(prediction, config, source.classes))
    return predicted


def _examples(source: Source) -> Iterator[Example]:
    for index in range(len(source.records)):
        yield source.load(index, saliency=False)


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
