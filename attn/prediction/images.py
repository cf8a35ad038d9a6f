"""Finds images: files and folders of images, on this machine or in an object store."""

from __future__ import annotations

__all__ = ["ImageFile", "find_images"]

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from attn.config.base import is_remote
from attn.data.sources.folder import IMAGE_SUFFIXES
from attn.errors import DataError
from attn.files.locations import join, list_files, list_folders
from attn.prediction.summary import SUMMARY
from attn.segmentation.masks import CLASSES_TABLE

RESULT = "prediction.json"
"""The file by which a folder of results is known; its pictures are no images to predict."""
RESULT_PICTURE = re.compile(r"panel\.png|mask\.png|map-\d+-.*\.png")


class ImageFile(NamedTuple):
    """An image.

    Attributes:
        image_id: Its path below the given folder, without suffix; of a file that is given itself its name.
    """

    location: str
    image_id: str


def find_images(locations: Iterable[str]) -> dict[str, ImageFile]:
    """Find the given images, and the images in the given folders and in their subfolders, in order.

    Hidden folders and the pictures of earlier predictions are left out.

    Args:
        locations: Paths or `s3://bucket/key` URIs of images and folders. A URI is a folder if it ends in `/` or does
            not have the suffix of an image.

    Returns:
        Images by name. The name is the image's id, with special characters replaced and a number appended if it is not
        unique. Files that do not exist are included; opening them fails.

    Raises:
        DataError: A folder contains no images.
    """
    named: dict[str, ImageFile] = {}
    for given in locations:
        for file in _files(os.path.expanduser(given)):
            plain = "/".join(_plain(part) for part in file.image_id.split("/"))
            name, number = plain, 2
            while name in named or name in (SUMMARY, CLASSES_TABLE):
                name, number = f"{plain}-{number}", number + 1
            named[name] = file
    return named


def _plain(part: str) -> str:
    return re.sub(r"[^\w.-]", "_", part).lstrip(".") or "image"


def _files(location: str) -> list[ImageFile]:
    remote_folder = is_remote(location) and (location.endswith("/") or not _is_image(location))
    if not remote_folder and not os.path.isdir(location):
        return [ImageFile(location, posixpath.splitext(posixpath.basename(location))[0])]
    results = [ImageFile(join(location, name), posixpath.splitext(name)[0]) for name in _below(location)]
    if not results:
        supported = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{location} and its subfolders contain no images; supported are {supported}")
    return results


def _below(folder: str) -> Iterator[str]:
    """Relative names of the images in a folder and its subfolders; a folder that links lead to again is read once."""
    seen, ahead = set[str](), [""]
    while ahead:
        prefix = ahead.pop()
        here = join(folder, prefix.rstrip("/")) if prefix else folder
        place = here if is_remote(here) else os.path.realpath(here)
        if place in seen:
            continue
        seen.add(place)
        files = list_files(here)
        results = bool(prefix) and RESULT in files
        yield from (
            f"{prefix}{name}" for name in files if _is_image(name) and not (results and RESULT_PICTURE.fullmatch(name))
        )
        ahead += [f"{prefix}{name}/" for name in reversed(list_folders(here))]


def _is_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES
