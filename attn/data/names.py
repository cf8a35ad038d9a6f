"""Names of images and classes: validity, order of classes, and file names from image ids."""

from __future__ import annotations

__all__ = ["file_stem", "name_fault", "normalize_name", "sort_class_names", "text_fault"]

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_PART_BYTES = 240
"""Maximum bytes of a part of an id. File systems allow 255, minus a suffix such as `_253.png`."""
MAX_ID_BYTES = 800
"""Maximum bytes of an id; object stores allow keys of 1024 bytes."""
INVALID_PART = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
STEM = 100
HASHED = re.compile(r".*-[0-9a-f]{10}")


def normalize_name(name: str) -> str:
    """A class's name in Unicode's composed form (NFC). Folder names on a Mac are in the decomposed form (NFD)."""
    return unicodedata.normalize("NFC", name)


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted without duplicates; numerically if all are whole numbers."""
    distinct = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in distinct):
        distinct.sort(key=int)
    return tuple(distinct)


def text_fault(text: str) -> str | None:
    """Why a text cannot be used in files and messages; None if it can."""
    if text.isascii() and text.isprintable() and not text.isspace() and text:
        return None
    if not text.strip():
        return "is blank"
    kinds = {unicodedata.category(character) for character in text}
    if "Cs" in kinds:  # Python's surrogate escapes for undecodable bytes of file names
        return "is not UTF-8"
    return "has a control character, such as a line break" if "Cc" in kinds else None


def name_fault(image_id: str) -> str | None:
    """Why an image id cannot be a relative file path, which cues, masks and maps need; None if it can."""
    if fault := text_fault(image_id):
        return fault
    if INVALID_PART.search(image_id):
        return "has an empty part, '.' or '..' between slashes"
    if "\\" in image_id:
        return "has a backslash"
    encoded = image_id.encode()
    if len(encoded) > MAX_PART_BYTES and (
        len(encoded) > MAX_ID_BYTES or max(map(len, encoded.split(b"/"))) > MAX_PART_BYTES
    ):
        return f"is too long: {MAX_PART_BYTES} bytes between slashes, and {MAX_ID_BYTES} in all, are allowed"
    return None


def file_stem(image_id: str) -> str:
    """A unique file name for an image id, without extension, of letters, digits and `_.-` only.

    An id of only these characters is returned unchanged. In other ids, other characters are replaced, and a hash is
    added.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", image_id)[:STEM]
    if plain and plain == image_id and not plain.startswith(".") and not HASHED.fullmatch(plain):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(image_id.encode()).hexdigest()[:10]}"
