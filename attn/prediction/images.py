"""Which images a user means: files, all images of folders, on this machine or in an object store."""

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


def find_images(places: Iterable[str]) -> dict[str, str]:
    """Images by name: each file that is given, and those right inside each folder, in order.

    A name is the file's without its suffix, made fit for a file of its own, with a number behind it where it is taken.

    Args:
        places: Paths, or `s3://bucket/key` URIs; of the latter a folder is what ends in `/` or has no image's suffix.

    Returns:
        Location by name. A file that is not there is listed all the same: opening it says so.

    Raises:
        DataError: A folder holds no image.
    """
    named: dict[str, str] = {}
    for place in places:
        for location in _files(os.path.expanduser(place)):
            plain = re.sub(r"[^\w.-]", "_", stem_of(location)).lstrip(".") or "image"
            name, number = plain, 2
            while name in named:
                name, number = f"{plain}-{number}", number + 1
            named[name] = location
    return named


def _files(place: str) -> list[str]:
    remote_folder = is_remote(place) and (place.endswith("/") or not _is_image(place))
    if not remote_folder and not os.path.isdir(place):
        return [place]
    found = [join(place, name) for name in list_files(place) if _is_image(name)]
    if not found:
        raise DataError(f"{place}: no images in it; known are {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _is_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES
