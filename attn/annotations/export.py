"""Writes images with masks into a folder, in the format of an annotation tool."""

from __future__ import annotations

__all__ = ["FORMATS", "AnnotationError", "ExportedMasks", "check_format", "export_masks", "require_new"]

import difflib
import posixpath
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attn.annotations.coco import CocoFormat
from attn.annotations.cvat import CvatFormat
from attn.annotations.format import AnnotationFormat, Files, Shapes
from attn.annotations.image import AnnotatedImage, MaskedImage, regions_of
from attn.annotations.label_studio import LabelStudioFormat
from attn.annotations.labelme import LabelMeFormat
from attn.annotations.voc import VocFormat
from attn.annotations.yolo_seg import YoloFormat
from attn.config.base import is_remote
from attn.data.names import file_stem, name_fault, text_fault
from attn.errors import AttnError, ConfigError, Fault
from attn.segmentation.masks import MOST_CLASSES

FORMATS: dict[str, type[AnnotationFormat]] = {
    "coco": CocoFormat,
    "cvat": CvatFormat,
    "label-studio": LabelStudioFormat,
    "labelme": LabelMeFormat,
    "voc": VocFormat,
    "yolo-seg": YoloFormat,
}


class AnnotationError(AttnError):
    """Masks cannot be exported."""

    code = "annotations"


@dataclass(frozen=True)
class ExportedMasks:
    """What was written.

    Attributes:
        images, regions: How many.
        empty: Images without a region.
    """

    images: int
    regions: int
    empty: int


def export_masks(
    images: Iterable[MaskedImage],
    classes: Sequence[str],
    form: str,
    folder: str,
    *,
    shapes: Shapes | None = None,
    copy: bool = True,
) -> ExportedMasks:
    """Write masks in a format. The folder appears when all of it is written.

    Every connected part of a class is a region of its own. Pixels that are open or void are no region.

    Args:
        form: A name of `FORMATS`.
        folder: It must not exist, or be empty.
        shapes: Masks by default.
        copy: Copy the image files, too.

    Raises:
        ConfigError: The format is unknown, or cannot hold the shapes or the classes.
        AnnotationError: The folder is not empty, or cannot be written, or a name cannot be a file's.
        DataError: An image or a mask cannot be read.
    """
    writer = _open(form, classes, shapes or Shapes())
    require_new(folder)
    target = Path(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            part = Path(scratch, "part")
            part.mkdir()
            exported = _write(writer, images, part, copy=copy)
            part.replace(target)  # which replaces an empty folder
    except OSError as error:
        raise AnnotationError(f"{folder} cannot be written: {error.strerror or type(error).__name__}") from None
    return exported


def require_new(folder: str) -> None:
    """Check that an export may be written to a folder.

    Raises:
        AnnotationError: It is in an object store, or it is a file, or a folder that is not empty.
    """
    if is_remote(folder):
        raise AnnotationError(f"{folder} is not a folder of this machine: export to one, then copy it")
    target = Path(folder)
    if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise AnnotationError(f"{folder} is there already, and nothing is overwritten: choose another folder")


def check_format(form: str, shapes: Shapes) -> None:
    """Check that there is a format, and that it can hold the shapes.

    Raises:
        ConfigError: There is not, or it cannot.
    """
    if form not in FORMATS:
        near = difflib.get_close_matches(form.lower(), FORMATS, 1)
        hint = f"one of {', '.join(FORMATS)}" + (f"; did you mean {near[0]}?" if near else "")
        raise ConfigError([Fault("--format", f"{form!r} is not available", hint)])
    if shapes.polygons and not FORMATS[form].polygons:
        raise ConfigError([Fault("--polygons", f"{form} holds masks only", "leave it out")])


def _open(form: str, classes: Sequence[str], shapes: Shapes) -> AnnotationFormat:
    check_format(form, shapes)
    kind = FORMATS[form]
    if form == "voc" and len(classes) > MOST_CLASSES:
        fault = f"voc holds {MOST_CLASSES} classes at most, and there are {len(classes)}"
        raise ConfigError([Fault("--format", fault, "choose coco")])
    faults = [Fault("classes", f"{name!r} {fault}") for name in classes if (fault := text_fault(name))]
    if faults:
        raise ConfigError(faults)
    return kind(classes, shapes if kind.masks else Shapes(polygons=True, tolerance=shapes.tolerance))


def _write(writer: AnnotationFormat, images: Iterable[MaskedImage], folder: Path, *, copy: bool) -> ExportedMasks:
    stems, count, regions, empty = set[str](), 0, 0, 0
    for count, image in enumerate(images, 1):
        size = (image.mask.shape[0], image.mask.shape[1])
        name = _file_name(image, stems, flat=writer.flat)
        annotated = AnnotatedImage(count, name, size, image.mask, image.classes, regions_of(image))
        regions += len(annotated.regions)
        empty += not annotated.regions
        _save(folder, writer.add(annotated))
        if copy:
            _save(folder, {writer.file_of(annotated): image.read()})
    if not count:
        raise AnnotationError("there is no mask to export")
    _save(folder, writer.end())
    return ExportedMasks(count, regions, empty)


def _file_name(image: MaskedImage, stems: set[str], *, flat: bool) -> str:
    """A name for the image's file that no other has, whatever its suffix; upper and lower case count as the same.

    Raises:
        AnnotationError: The image's name cannot be a file's.
    """
    stem, suffix = posixpath.splitext(image.file)
    if fault := name_fault(image.file):
        raise AnnotationError(f"image {image.image_id!r} cannot be exported: its name {image.file!r} {fault}")
    if flat:
        stem = file_stem(stem)
    name, number = stem, 2
    while name.casefold() in stems:
        name, number = f"{stem}-{number}", number + 1
    stems.add(name.casefold())
    return name + suffix


def _save(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
