"""Names of images and classes: which are valid, in which order classes stand, and the names of files made of ids."""

from __future__ import annotations

__all__ = ["file_stem", "in_order", "name_fault", "normal", "text_fault"]

import hashlib
import re
import unicodedata
from collections.abc import Iterable

LONGEST_PART = 240
"""Bytes of one part of an id: file systems allow 255, of which `_253.png` takes some."""
LONGEST = 800
"""Bytes of an id: an object store allows keys of 1024."""
NO_PART = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
STEM = 100
HASHED = re.compile(r".*-[0-9a-f]{10}")


def normal(name: str) -> str:
    """A class's name in Unicode's composed form (NFC), so that names that look alike are alike.

    A Mac's folders have theirs in the other form.
    """
    return unicodedata.normalize("NFC", name)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted, each once; by value where all of them are whole numbers, so that 10 comes after 9."""
    distinct = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in distinct):
        distinct.sort(key=int)
    return tuple(distinct)


def text_fault(text: str) -> str | None:
    """Why a text cannot be written into files and messages; None where it can."""
    if text.isascii() and text.isprintable() and not text.isspace() and text:
        return None
    if not text.strip():
        return "is blank"
    kinds = {unicodedata.category(character) for character in text}
    if "Cs" in kinds:  # how Python shows bytes of a file's name that are no text
        return "is not UTF-8"
    return "has a control character, such as a line break" if "Cc" in kinds else None


def name_fault(image_id: str) -> str | None:
    """Why an id cannot be the path of a file below a folder, as cues, masks and maps need it; None where it can."""
    if fault := text_fault(image_id):
        return fault
    if NO_PART.search(image_id):
        return "has an empty part, '.' or '..' between slashes"
    if "\\" in image_id:
        return "has a backslash"
    written = image_id.encode()
    if len(written) > LONGEST_PART and (len(written) > LONGEST or max(map(len, written.split(b"/"))) > LONGEST_PART):
        return f"is too long: {LONGEST_PART} bytes between slashes, and {LONGEST} in all, are allowed"
    return None


def file_stem(image_id: str) -> str:
    """A file's name for an image, of letters, digits and `_.-` alone, without extension; no two ids have the same one.

    Such an id stays as it is. Any other has what is allowed of it, so that people recognise it, and a hash.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", image_id)[:STEM]
    if plain and plain == image_id and not plain.startswith(".") and not HASHED.fullmatch(plain):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(image_id.encode()).hexdigest()[:10]}"
