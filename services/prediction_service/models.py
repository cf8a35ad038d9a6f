"""The JSON objects that the prediction service returns."""

from __future__ import annotations

__all__ = ["ImageAnswers", "Mask", "ServedModelDetail", "ServedModelName"]

from typing import Any, Literal

from pydantic import BaseModel, Field

Mask = Literal["png", "rle", "none"]


class ServedModelName(BaseModel):
    """The model that has predicted an image.

    Attributes:
        version: In the registry; null of a folder.
        sha256: Of the weights.
    """

    name: str
    version: int | None
    sha256: str


class ServedModelDetail(ServedModelName):
    """The model that a replica has.

    Attributes:
        maps: How a classifier's maps differ from plain ones.
        opened: Seconds since 1970, UTC.
        problem: Why the replica could not follow the alias, when it last looked.
    """

    alias: str | None
    task: str
    classes: list[str]
    maps: dict[str, Any]
    opened: float
    problem: str | None


class Label(BaseModel):
    """A predicted or requested class.

    Attributes:
        share: Of the mask.
        value: In the mask.
        index: Among the classes.
    """

    name: str = Field(alias="class")
    probability: float
    share: float
    value: int | None
    index: int


class ImageAnswer(BaseModel):
    """The prediction of an image, as `prediction.json` of `attn predict`, and what else was asked for.

    Attributes:
        size: Height and width.
        labels: The most probable first.
        mask: `png`: base64 of a palette PNG; `rle`: COCO's run-length code by class.
        maps: Base64 of a grey PNG by class, 255 for 1.
        annotations: The content of an annotation tool's files by path; base64 of those that are no text.
    """

    model: ServedModelName
    size: list[int]
    height: int
    width: int
    task: str
    labels: list[Label]
    removed_by_crf: list[str]
    probabilities: dict[str, float]
    mask: dict[str, Any] | None = None
    maps: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ImageAnswers(BaseModel):
    """The predictions of a request's images, in order."""

    images: list[ImageAnswer]
