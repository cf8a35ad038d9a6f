"""Visual confusion of trained models: the overlap of the maps of an image's class and of its most confusing class."""

from __future__ import annotations

__all__ = ["ConfusionPictures", "ConfusionTarget", "confusion_pictures"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attn import progress
from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.errors import ConfigError
from attn.evaluation.visual_confusion import LAYERS, ImageConfusion, image_confusion
from attn.maps.combined import GradientMapKind
from attn.models.device import choose_device
from attn.pictures.confusion import confusion_rows, confusion_sheet
from attn.pictures.layout import Picture, heading
from jobs.scoring.targets import EvaluationTarget, ModelTarget


@dataclass(frozen=True)
class ConfusionTarget:
    """A trained model, with the maps of an inner layer.

    Attributes:
        kind: Of both maps; A_ch where the user names none, so that models trained by different kinds are compared.
    """

    model: ModelTarget
    kind: GradientMapKind

    @classmethod
    def of(cls, title: str, target: EvaluationTarget) -> ConfusionTarget:
        """The same target.

        Raises:
            ConfigError: It has no network, or the kind of map says nothing of an inner layer.
        """
        if not isinstance(target, ModelTarget):
            raise ConfigError(f"{title}: a map store holds no map of the confusing class; name a trained model")
        kind = target.config.map_kind or "channel"
        if kind not in ("channel", "pixel", "grad_cam"):
            raise ConfigError(f"map_kind={kind} is of the last layer alone; use channel, pixel or grad_cam")
        if changed := target.config.maps.changes():
            raise ConfigError(f"maps.{next(iter(changed))}: visual confusion is of plain maps of scale 1: leave it out")
        target.bundle.network.expose("inner")
        return cls(target, kind)

    def measure(self, images: Sequence[int]) -> tuple[list[ImageConfusion], dict[str, float]]:
        """Measure the overlap of both maps on all images.

        Returns:
            The maps of the given images that have a class and lack one, in their order; and by layer the mean soft IoU
            over all such images.
        """
        config, device = self.model.config, choose_device(self.model.config.device)
        dataset = AttentionDataset(self.model.source, config.input, train=False)
        size = 1 if config.input.resize == "short_side" else config.batch_size
        batches = [range(start, min(start + size, len(dataset))) for start in range(0, len(dataset), size)]
        network = self.model.bundle.network.to(device)
        wanted = {self.model.source.records[index].image_id: index for index in images}
        kept: dict[int, ImageConfusion] = {}
        overlaps: dict[str, list[float]] = {layer: [] for layer in LAYERS}
        with progress.task("comparing maps", len(dataset), "images") as reported:
            for batch in build_loader(dataset, batches, workers=config.data_workers):
                for item in image_confusion(network, batch.to(device), kind=self.kind):
                    for layer in LAYERS:
                        overlaps[layer].append(item.overlap[layer])
                    if item.record.image_id in wanted:
                        kept[wanted[item.record.image_id]] = item
                reported.advance(len(batch.records))
        shown = [kept[index] for index in images if index in kept]
        return shown, {layer: float(np.mean(values)) for layer, values in overlaps.items() if values}


@dataclass(frozen=True)
class ConfusionPictures:
    """What several models confuse.

    Attributes:
        overview: All images in one picture.
        panels: Each image in full, by its id.
        overlap: By model and layer the mean soft IoU of both maps over all images.
    """

    overview: Picture
    panels: dict[str, Picture]
    overlap: dict[str, dict[str, float]]


def confusion_pictures(
    targets: Mapping[str, ConfusionTarget], images: Sequence[int], subtitle: str
) -> ConfusionPictures:
    """Score models, and draw for each image and model both maps and their overlap at both layers.

    Raises:
        ConfigError: No image that is to be drawn has a class and lacks one.
    """
    results = {title: target.measure(images) for title, target in targets.items()}
    first_title, first = next(iter(targets.items()))
    drawn = {item.record.image_id for item in results[first_title][0]}
    source = first.model.source
    examples = [source.load(index, saliency=False) for index in images if source.records[index].image_id in drawn]
    if not examples:
        raise ConfigError("no image to draw: none has a class and lacks one")
    sheet = confusion_sheet({title: shown for title, (shown, _) in results.items()}, examples, source.classes)
    panels = {
        example.record.image_id: confusion_rows(
            {title: shown[number] for title, (shown, _) in results.items()}, example, source.classes
        )
        for number, example in enumerate(examples)
    }
    overlap = {title: means for title, (_, means) in results.items()}
    title = "Each image's class, the class it is confused with, and where both are seen"
    return ConfusionPictures(heading(sheet, title, subtitle), panels, overlap)
