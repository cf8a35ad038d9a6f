"""Labels of a segmentation network: cues from maps, files, or the true masks."""

from __future__ import annotations

__all__ = ["CUES_FILE", "CueLabels", "FileLabels", "LabelReader", "LabelsConfig", "MaskLabels", "read_labels"]

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np
from pydantic import field_validator, model_validator

from attn.config.base import Location, Variant
from attn.data.cells import text_of
from attn.data.classes import check_classes
from attn.data.decode import read_mask
from attn.data.sample import Record
from attn.errors import DataError
from attn.files.locations import FileFault, join, list_files, missing_folder_note, read_bytes
from attn.files.packed import load_arrays
from attn.files.transfer import exists
from attn.notices import renamed
from attn.parsing import load_json
from attn.saliency.config import SaliencyKind, SaliencySettings
from attn.segmentation.cues import IGNORE, CueRule, Labels, SecRule
from attn.segmentation.map_sources import MapSourceConfig
from attn.segmentation.masks import mask_name

CUES_FILE = "cues.json"
"""File beside cues that attn has made; it describes them, including their classes."""
SHOWN = 4


class LabelReader(Protocol):
    """Labels of an image by its id.

    Attributes:
        needs_mask: Whether the example must come with its mask.
    """

    needs_mask: bool

    def __call__(self, record: Record, size: tuple[int, int], mask: Labels | None) -> Labels:
        """Index map over the whole image, on any grid: 0 background, class index + 1, 255 open.

        Args:
            size: (height, width) of the image.
            mask: The image's own, where `needs_mask` asks for it.

        Raises:
            DataError: The file is missing or damaged.
        """
        ...


class LabelsConfig(Variant, tag="source"):
    """Pixel labels that a network learns from; `source` selects the kind."""


class CueLabels(LabelsConfig, SaliencySettings):
    """Cues that are made of maps when the run begins, and kept in its folder.

    Attributes:
        threshold: Of the maps: `fixed`, the rule's `foreground`; `saliency_agreement`, the one at which the maps of all
            images agree best with saliency, in place of `foreground`: maps are read twice, and no mask is needed.
        saliency: `given` by the data; of `u2netp`; of the image's `border`; `none`; `auto`: given where every image has
            it, else of the border.
    """

    source: Literal["cues"] = "cues"
    maps: MapSourceConfig
    rule: CueRule = SecRule()
    threshold: Literal["fixed", "saliency_agreement"] = "fixed"
    saliency: SaliencyKind | Literal["auto"] = "auto"

    @field_validator("saliency", mode="before")
    @classmethod
    def _former_name(cls, value: Any) -> Any:
        if value == "computed":
            renamed("labels.saliency=computed", "labels.saliency=border")
            return "border"
        return value

    @model_validator(mode="after")
    def _check_threshold(self) -> Self:
        if self.threshold == "saliency_agreement" and self.saliency == "none":
            raise ValueError("threshold=saliency_agreement needs saliency, which is none: set saliency=u2netp")
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        unused: dict[str, tuple[str, ...]] = {}
        if self.threshold == "fixed":
            unused["threshold"] = ("saliency_threshold",)
        else:
            unused["threshold"] = ("rule.foreground",)
        if self.saliency == "none":
            unused["saliency"] = ("rule.background",)
        elif self.saliency != "given":
            unused["saliency"] = ("rule.background_map",)
        return unused


class FileLabels(LabelsConfig):
    """Labels that are there already.

    Attributes:
        path: A folder of index PNGs `<image id>.png` at the images' size, or an NPZ file with `ids` (N,) and `cues`
            (N, h, w) over the whole image, such as SEC's published ones.
    """

    source: Literal["files"] = "files"
    path: Location


class MaskLabels(LabelsConfig):
    """The data's own masks: full supervision, the ceiling of everything else."""

    source: Literal["masks"] = "masks"


def read_labels(config: LabelsConfig, records: Sequence[Record], classes: Sequence[str]) -> LabelReader:
    """The reader of a run's labels. Raises before training if an image has none.

    Cues that are not made yet cannot be read: the run makes them, and continues with `FileLabels` of their folder.

    Args:
        classes: Of the data, in its order.

    Raises:
        DataError: An image has no labels, a file is damaged, or its labels are of other classes.
    """
    if isinstance(config, MaskLabels):
        bare = [record.image_id for record in records if record.mask is None]
        if bare:
            raise DataError(
                f"labels.source=masks, but these have no mask: {_some(bare, len(records))}. Give their masks too, or "
                "make a data set or split of the images with masks"
            )
        return _Masks()
    if not isinstance(config, FileLabels):
        return _Unmade()
    path = config.path
    reader = _Archive(path, len(classes)) if path.endswith(".npz") else _Folder(path, classes)
    missing = reader.missing(records)
    if missing:
        raise DataError(f"{path} has no labels for {_some(missing, len(records))}{missing_folder_note(path)}")
    return reader


class _Unmade:
    needs_mask = False

    def __call__(self, record: Record, size: tuple[int, int], mask: Labels | None) -> Labels:
        raise TypeError("the cues are not made yet")


class _Masks:
    needs_mask = True

    def __call__(self, record: Record, size: tuple[int, int], mask: Labels | None) -> Labels:
        if mask is None:
            raise DataError(f"image {record.image_id!r} has no mask")
        return mask


class _Folder:
    needs_mask = False

    def __init__(self, folder: str, classes: Sequence[str]) -> None:
        self.folder, self.num_classes = folder, len(classes)
        if exists(location := join(folder, CUES_FILE)):
            try:
                theirs = load_json(read_bytes(location))["classes"][1:]
            except (ValueError, KeyError, TypeError):
                raise FileFault(location, "is no description of cues: make them again") from None
            check_classes(theirs, classes, what=folder)

    def missing(self, records: Sequence[Record]) -> list[str]:
        there: dict[str, set[str]] = {}
        absent = []
        for record in records:
            below, _, name = mask_name(record.image_id).rpartition("/")
            if below not in there:
                there[below] = set(list_files(join(self.folder, below) if below else self.folder))
            if name not in there[below]:
                absent.append(record.image_id)
        return absent

    def __call__(self, record: Record, size: tuple[int, int], mask: Labels | None) -> Labels:
        return read_mask(join(self.folder, mask_name(record.image_id)), size, self.num_classes)


class _Archive:
    needs_mask = False

    def __init__(self, path: str, num_classes: int) -> None:
        try:
            archive = load_arrays(read_bytes(path))
            ids, cues = archive["ids"], archive["cues"]
        except (ValueError, KeyError) as error:
            raise FileFault(path, f"is no NPZ file with the arrays ids and cues ({error})") from None
        if cues.ndim != 3 or not cues.size or ids.shape != cues.shape[:1] or cues.dtype != np.uint8:
            raise FileFault(path, f"ids {ids.shape} and cues {cues.dtype} {cues.shape}; expected (N,), uint8 (N, h, w)")
        if ((cues > num_classes) & (cues != IGNORE)).any():
            raise FileFault(path, f"holds labels that are no class; 0 is background, up to {num_classes} the classes")
        if (cues == IGNORE).all():
            raise FileFault(path, "leaves every pixel open: there is nothing to learn from")
        self.rows = {text_of(name): row for row, name in enumerate(ids.tolist())}
        self.cues = cues

    def missing(self, records: Sequence[Record]) -> list[str]:
        return [record.image_id for record in records if record.image_id not in self.rows]

    def __call__(self, record: Record, size: tuple[int, int], mask: Labels | None) -> Labels:
        return self.cues[self.rows[record.image_id]]


def _some(names: list[str], of: int) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} of {of} images: {', '.join(names[:SHOWN])}{rest}"
