"""Finds images: files and folders of images, on this machine or in an object store."""

from __future__ import annotations

__all__ = ["find_images"]

import os
import posixpath
import re
from collections.abc import Iterable

from attn.config.base import is_remote
from attn.data.sources.folder import IMAGE_SUFFIXES
from attn.errors import DataError
from attn.files.locations import join, list_files, stem_of
from attn.prediction.summary import SUMMARY


def find_images(locations: Iterable[str]) -> dict[str, str]:
    """Find the given images, and the images directly inside the given folders, in order.

    Args:
        locations: Paths or `s3://bucket/key` URIs of images and folders. A URI is a folder if it ends in `/` or does
            not have the suffix of an image.

    Returns:
        Location by name. The name is the file's without suffix, with special characters replaced and a number appended
        if it is not unique. Files that do not exist are included; opening them fails.

    Raises:
        DataError: A folder contains no images.
    """
    named: dict[str, str] = {}
    for given in locations:
        for location in _files(os.path.expanduser(given)):
            plain = re.sub(r"[^\w.-]", "_", stem_of(location)).lstrip(".") or "image"
            name, number = plain, 2
            while name in named or name == SUMMARY:
                name, number = f"{plain}-{number}", number + 1
            named[name] = location
    return named


def _files(location: str) -> list[str]:
    remote_folder = is_remote(location) and (location.endswith("/") or not _is_image(location))
    if not remote_folder and not os.path.isdir(location):
        return [location]
    results = [join(location, name) for name in list_files(location) if _is_image(name)]
    if not results:
        raise DataError(f"{location} contains no images; supported are {', '.join(sorted(IMAGE_SUFFIXES))}")
    return results


def _is_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES
