"""What the answer about an image contains, made of a prediction as JSON values."""

from __future__ import annotations

__all__ = ["MASKS", "Wanted", "answer_of"]

import base64
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from attn.annotations import FORMATS, MaskedImage, Shapes
from attn.annotations.image import AnnotatedImage, regions_of
from attn.prediction import ImagePrediction
from attn.prediction.predictor import mask_values
from attn.prediction.write import map_png
from attn.segmentation.masks import encode_mask

MASKS = ("png", "rle", "none")


@dataclass(frozen=True)
class Wanted:
    """What a client asks for, beside labels and probabilities.

    Attributes:
        mask: `png`: a palette PNG; `rle`: COCO's run-length code of each class; `none`.
        maps: Whether the maps of all labels.
        form: An annotation tool's format, a name of `attn.annotations.FORMATS`.
        polygons: Whether the format's regions are polygons instead of masks.
    """

    mask: Literal["png", "rle", "none"] = "png"
    maps: bool = False
    form: str | None = None
    polygons: bool = False


def answer_of(predicted: ImagePrediction, wanted: Wanted) -> dict[str, Any]:
    """The content of `prediction.json`, without files, and what else is wanted.

    Returns:
        Also `mask`: `{"png": BASE64}` or `{"rle": {CLASS: {"size", "counts"}}}`; `maps`: a base64 PNG by class;
        `annotations`: the content of the files that `attn export` writes, by path: texts, and others as base64.
    """
    answer = predicted.to_json()
    if wanted.mask == "png":
        answer["mask"] = {"png": _base64(encode_mask(predicted.mask))}
    elif wanted.mask == "rle":
        answer["mask"] = {"rle": _run_length_codes(predicted)}
    if wanted.maps:
        answer["maps"] = {name: _base64(map_png(predicted.maps[name])) for name in predicted.labels}
    if wanted.form is not None:
        answer["annotations"] = _annotations(predicted, wanted.form, Shapes(polygons=wanted.polygons))
    return answer


def _run_length_codes(predicted: ImagePrediction) -> dict[str, Any]:
    from pycocotools import mask

    values = mask_values(predicted.classes, predicted.labels)
    codes: dict[str, Any] = {}
    for name in predicted.labels:
        pixels = predicted.mask == values.get(name, 256)
        code: Any = mask.encode(np.asfortranarray(pixels.view(np.uint8)))
        codes[name] = {"size": list(code["size"]), "counts": code["counts"].decode()}
    return codes


def _annotations(predicted: ImagePrediction, form: str, shapes: Shapes) -> dict[str, str]:
    indices = {name: predicted.classes.index(name) for name in predicted.labels}
    values = mask_values(predicted.classes, predicted.labels)
    classes = {values[name]: index for name, index in indices.items() if name in values}
    scores = {index: predicted.probabilities[name] for name, index in indices.items()}
    image = MaskedImage("image", "image.jpg", predicted.mask, classes, bytes, scores)
    size = (predicted.mask.shape[0], predicted.mask.shape[1])
    writer = FORMATS[form](predicted.classes, shapes)
    files = dict(writer.add(AnnotatedImage(1, image.file, size, image.mask, classes, regions_of(image))))
    return {name: _text(content) for name, content in (files | dict(writer.end())).items()}


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _base64(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
