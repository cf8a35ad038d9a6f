"""A trained model as an object of Python: `attn.open_model("gain").predict("photo.jpg")`."""

from __future__ import annotations

__all__ = ["TrainedModel", "open_model"]

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.config.document import dump_values
from attn.config.resolve import resolve
from attn.prediction import ImagePredictConfig, ImagePrediction, Predictor, open_predictor, predict_file
from attn.registry import lookup
from attn.tracking.model_lookup import ModelLookup

SHOWN = 5
"""Classes in the text of a model."""


class TrainedModel:
    """A trained classifier or segmentation network, ready for images.

    Attributes:
        task: `classification` or `segmentation`.
        classes: Names, without the background.
        sha256: Hash of the weights.
    """

    def __init__(self, predictor: Predictor, config: ImagePredictConfig) -> None:
        self.task, self.classes, self.sha256 = predictor.task, predictor.classes, predictor.sha256
        self._predictor, self._config = predictor, config

    def __repr__(self) -> str:
        names = ", ".join([*self.classes[:SHOWN], *(["..."] if len(self.classes) > SHOWN else [])])
        return f"<TrainedModel for {self.task}, {len(self.classes)} classes: {names}; weights {self.sha256[:12]}>"

    def predict(self, image: str | Path | NDArray[np.uint8]) -> ImagePrediction:
        """Predict labels with probabilities, maps and a mask of one image.

        Args:
            image: A file, an `s3://` URI, or RGB pixels: uint8 (H0, W0, 3).

        Raises:
            DataError: The file is missing or is no image.
            ValueError: The array is not RGB pixels.
        """
        if isinstance(image, (str, Path)):
            return predict_file(self._predictor, os.path.expanduser(image), self._config.max_pixels)
        pixels: NDArray[Any] = image
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(
                f"an image is a uint8 array (height, width, 3), RGB, not {pixels.dtype} {pixels.shape}; of a Pillow "
                'image: np.asarray(image.convert("RGB"))'
            )
        return self._predictor(image)


def open_model(
    model: str | Path,
    *,
    root: str = "runs",
    tracking_uri: str | None = None,
    config: ImagePredictConfig | None = None,
) -> TrainedModel:
    """Open a trained model. Needs neither Ray nor, unless the model is a registered one, MLflow.

    Args:
        model: A run's id or folder, a model's folder, an `s3://` URI of these, or a registered model as `name@alias` or
            `name/version`.
        root: Folder or `s3://` prefix of the runs.
        tracking_uri: MLflow server or database of registered models; by default MLFLOW_TRACKING_URI, else the SQLite
            file below the root.
        config: Choices of the predictions: classes, probability, CRF, device.

    Raises:
        WeightsError: There is no such model, or it is damaged.
        ConfigError: The config does not fit the model, or the URI is not valid.
    """
    values = {"root": root, "tracking": {"enabled": False} | ({"uri": tracking_uri} if tracking_uri else {})}
    places = resolve(ModelLookup, dump_values(values), "open_model", [])
    chosen = config or ImagePredictConfig()
    with lookup.open_model(
        os.path.expanduser(model), places, lambda target, at: open_predictor(target, chosen, at)
    ) as result:
        return TrainedModel(result, chosen)
