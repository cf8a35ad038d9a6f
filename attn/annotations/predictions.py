"""Reads the masks in a folder that `attn predict` has written."""

from __future__ import annotations

__all__ = ["has_predictions", "read_predictions"]

import posixpath
from collections.abc import Iterator
from typing import Any

from attn.annotations.image import MaskedImage, MaskSet
from attn.data.decode import read_mask
from attn.errors import DataError
from attn.files.locations import FileFault, join, list_below, read_bytes
from attn.files.transfer import exists
from attn.parsing import load_json
from attn.prediction.images import RESULT
from attn.prediction.summary import SUMMARY
from attn.segmentation.masks import MOST_CLASSES


def has_predictions(folder: str) -> bool:
    """Whether `attn predict` has written a folder."""
    return exists(join(folder, SUMMARY))


def read_predictions(folder: str) -> MaskSet:
    """The masks of a folder of predictions.

    Raises:
        DataError: It has none, or one of them is damaged.
    """
    names = [name for name in list_below(folder) if posixpath.basename(name) == RESULT and "/" in name]
    if not names:
        raise DataError(f"{folder} has no prediction: no image could be read")
    classes = tuple(_read(join(folder, names[0]))["probabilities"])

    def read() -> Iterator[MaskedImage]:
        for name in names:
            yield _masked(folder, posixpath.dirname(name), classes)

    return MaskSet(classes, len(names), read)


def _masked(folder: str, name: str, classes: tuple[str, ...]) -> MaskedImage:
    result = join(folder, name, RESULT)
    described = _read(result)
    if tuple(described["probabilities"]) != classes:
        raise DataError(
            f"{result} is of other classes than the first prediction of {folder}: predict into a new folder"
        )
    location, size = described["image"], (described["height"], described["width"])
    indices = {label["class"]: label["index"] for label in described["labels"]}
    values = {label["value"]: label["index"] for label in described["labels"] if label["value"] is not None}
    mask = read_mask(join(folder, name, described["files"]["mask"]), size, MOST_CLASSES)

    def content() -> bytes:
        try:
            return read_bytes(location)
        except FileFault as fault:
            raise DataError(f"{fault}; {result} names it: run the command in the folder where `attn predict` ran, or "
                            "leave the images out by --no-images") from None  # fmt: skip

    return MaskedImage(
        image_id=name,
        # The folder's name has its special characters replaced, and as many parts as the image's id.
        file=posixpath.join(*location.split("/")[-1 - name.count("/") :]),
        mask=mask,
        classes=values,
        read=content,
        scores={indices[label["class"]]: float(label["probability"]) for label in described["labels"]},
    )


def _read(location: str) -> dict[str, Any]:
    """The content of a `prediction.json`, with the values that are used checked.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        content = load_json(read_bytes(location))
        classes = list(content["probabilities"])
        sound = (
            all(type(content[name]) is int and content[name] > 0 for name in ("height", "width"))
            and all(isinstance(text, str) for text in (content["image"], content["files"]["mask"], *classes))
            and all(_is_label(label, classes) for label in content["labels"])
        )
    except (ValueError, KeyError, TypeError):
        sound, content = False, {}
    if not sound:
        raise DataError(f"{location} is no prediction: predict its image again")
    return content


def _is_label(label: Any, classes: list[str]) -> bool:
    value = label["value"]
    return (
        type(label["index"]) is int
        and 0 <= label["index"] < len(classes)
        and classes[label["index"]] == label["class"]
        and (value is None or (type(value) is int and 0 < value <= MOST_CLASSES))
        and type(label["probability"]) in (int, float)
    )
