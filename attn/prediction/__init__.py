"""Predictions of a trained model for any images: labels with probabilities, attention maps, a mask."""

from __future__ import annotations

__all__ = [
    "ImagePrediction",
    "ImagePredictConfig",
    "Predictor",
    "find_images",
    "open_predictor",
    "predict_file",
    "write_prediction",
]

from attn.prediction.config import ImagePredictConfig
from attn.prediction.images import find_images
from attn.prediction.predictor import ImagePrediction, Predictor, open_predictor, predict_file
from attn.prediction.write import write_prediction
