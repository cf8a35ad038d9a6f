"""A trained model of any task as a function of an image. Shapes: C classes, H0×W0 image."""

from __future__ import annotations

__all__ = [
    "ImagePrediction",
    "MapRows",
    "Predictor",
    "SizedImage",
    "mask_values",
    "open_predictor",
    "predict_file",
    "predictor_of",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attn.data.decode import read_photograph
from attn.display import percent
from attn.errors import ConfigError, Fault
from attn.prediction.config import ImagePredictConfig
from attn.prediction.open import open_any
from attn.segmentation.masks import MOST_CLASSES

if TYPE_CHECKING:
    from attn.models.bundle import Bundle
    from attn.pictures.layout import Picture
    from attn.segmentation.bundle import Segmenter

SHOWN = 5
"""Labels in the text of a prediction."""
SizedImage = tuple[NDArray[np.uint8], tuple[int, int] | None]
"""An upright image, uint8 RGB (H, W, 3), and the size (H0, W0) of the original if it is reduced."""


class MapRows(Protocol):
    """A map of one class at its image's size: an array, or an object that computes rows on access.

    Attributes:
        shape: (H0, W0).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """Some rows, in [0, 1]."""
        ...


@dataclass(frozen=True)
class ImagePrediction:
    """A model's prediction for one image.

    Attributes:
        image: uint8 RGB (H0, W0, 3), or a smaller version if that was sufficient.
        classes: Names of all classes.
        probabilities: Probability by class. Classifiers: that the image shows the class; segmentation networks: the
            highest of all pixels.
        labels: The predicted classes, or, with `ImagePredictConfig.classes`, exactly those; most probable first.
        maps: float32 (H0, W0) in [0, 1] by class, for each label: a classifier's attention map, divided by its own
            maximum; a segmentation network's probabilities.
        mask: uint8 (H0, W0): 0 background, else the class's number from `mask_values`.
        task: `classification` or `segmentation`.
        removed: Classes that the network's own mask has and that the CRF has removed, most probable first.
    """

    image: NDArray[np.uint8]
    classes: tuple[str, ...]
    probabilities: dict[str, float]
    labels: tuple[str, ...]
    maps: Mapping[str, MapRows]
    mask: NDArray[np.uint8]
    task: str = "classification"
    removed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        height, width = self.mask.shape
        shown = [f"{name} {percent(self.probabilities[name])} %" for name in self.labels[:SHOWN]]
        more = [f"and {len(self.labels) - SHOWN} more"] if len(self.labels) > SHOWN else []
        labels = ", ".join([*shown, *more]) or "none"
        return f"<ImagePrediction {width}x{height}, labels: {labels} (of {len(self.classes)} classes)>"

    def map(self, name: str) -> NDArray[np.float32]:
        """The map of one label as an array (H0, W0).

        Raises:
            ConfigError: It is no label of this image.
        """
        if name not in self.maps:
            if name not in self.classes:
                _check_classes([name], self.classes)
            labels = ", ".join(self.labels[:30]) or "none"
            fault = f"there is no map of {name!r}, which is not among the image's labels ({labels})"
            wanted = list(dict.fromkeys([*self.labels[:30], name]))
            raise ConfigError([Fault("classes", fault, f"ask for it: ImagePredictConfig(classes={wanted!r})")])
        return self.maps[name][slice(0, self.mask.shape[0])]

    def mask_of(self, name: str) -> NDArray[np.bool_]:
        """The pixels (H0, W0) that the mask assigns to one class; none of a class that is not among the labels.

        Raises:
            ConfigError: The model has no such class.
        """
        _check_classes([name], self.classes)
        value = mask_values(self.classes, self.labels).get(name)
        return np.zeros_like(self.mask, bool) if value is None else self.mask == value

    def picture(self) -> Picture:
        """The image beside its mask and the maps of the most probable labels."""
        from attn.prediction.write import panel_of

        return panel_of(self)

    def to_json(self) -> dict[str, Any]:
        """JSON values: sizes, labels, all probabilities, and classes that the CRF removed.

        A label has its probability, its share of the mask, its value there, and its `index` among the classes, which
        is the number in its map's file name. `size` is height and width.
        """
        counts = (np.bincount(row, minlength=256) for row in self.mask)  # by row: bincount takes 8 bytes per pixel
        share = sum(counts, np.zeros(1, np.int64)) / self.mask.size
        values = mask_values(self.classes, self.labels)
        shares = {name: float(share[value]) for name, value in values.items()}
        return {
            "size": [int(side) for side in self.mask.shape],
            "height": int(self.mask.shape[0]),
            "width": int(self.mask.shape[1]),
            "task": self.task,
            "labels": [
                {
                    "class": name,
                    "probability": self.probabilities[name],
                    "share": shares.get(name, 0.0),
                    "value": values.get(name),
                    "index": self.classes.index(name),
                }
                for name in self.labels
            ],
            "removed_by_crf": list(self.removed),
            "probabilities": self.probabilities,
        }


def mask_values(classes: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The number of each class in a mask: its index + 1; with over 254 classes, the label's position + 1.

    Args:
        labels: Labels of the image, most probable first. With over 254 classes, labels after the 254th have no number.
    """
    numbered = classes if len(classes) <= MOST_CLASSES else labels[:MOST_CLASSES]
    return {name: number + 1 for number, name in enumerate(numbered)}


class Predictor(Protocol):
    """A trained model, ready for images.

    Attributes:
        task: `classification` or `segmentation`.
        classes: Names, without the background.
        sha256: Hash of the weights.
    """

    @property
    def task(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str: ...

    @property
    def maps(self) -> dict[str, Any]:
        """How the maps differ from plain ones: `scales`, `flip` and `refinement`, as far as they do."""
        ...

    @property
    def min_side(self) -> int | None:
        """Short side in pixels above which larger images give the same result; None if every pixel counts."""
        ...

    def __call__(self, image_HW3: NDArray[np.uint8], size: tuple[int, int] | None = None) -> ImagePrediction:
        """Predict one upright image.

        Args:
            image_HW3: uint8 RGB.
            size: Size (H0, W0) of the original image, if `image_HW3` is reduced.
        """
        ...

    def batch(self, images: Sequence[SizedImage]) -> list[ImagePrediction]:
        """Predict several images, in order; the network gets together those whose inputs have one size."""
        ...


def open_predictor(model: str | Path, config: ImagePredictConfig, root: str = "runs") -> Predictor:
    """Open a trained model of any task for predictions.

    Args:
        model: A bundle's folder, a run's folder, or a run's id below the root.

    Raises:
        WeightsError: There is no such model, or it is damaged.
        ConfigError: A class is unknown to the model, or a field of the config does not apply to its task.
    """
    return predictor_of(open_any(model, root), config)


def predict_file(predictor: Predictor, location: str, max_pixels: int, field: str = "max_pixels") -> ImagePrediction:
    """Predict a photograph; it is decoded no larger than the predictor needs.

    Args:
        location: A file or an `s3://` URI.
        field: Name of the setting with the limit, for the message.

    Raises:
        DataError: It is missing or is no image.
    """
    image = read_photograph(location, max_pixels, field, min_side=predictor.min_side)
    return predictor(image.pixels, image.size)


def predictor_of(model: Bundle | Segmenter, config: ImagePredictConfig) -> Predictor:
    """As `open_predictor`, for a loaded model."""
    from attn.models.bundle import Bundle
    from attn.prediction.classifier import ClassifierPredictor
    from attn.prediction.segmenter import SegmenterPredictor

    if config.classes is not None:
        _check_classes(config.classes, model.classes)
    if isinstance(model, Bundle):
        return ClassifierPredictor(model, config)
    given = [name for name in ("probability", "threshold") if getattr(config, name) is not None]
    given += [f"maps.{name}" for name in config.maps.changes()]
    if given:
        fault = "applies to classifiers only; this is a segmentation network"
        raise ConfigError([Fault(name, fault, f"leave {name} out") for name in given])
    return SegmenterPredictor(model, config)


def _check_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    import difflib

    faults: list[Fault] = []
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"its classes are {', '.join(known[:30])}"
            faults.append(Fault("classes", f"the model has no class {name!r}", hint))
    if faults:
        raise ConfigError(faults)
