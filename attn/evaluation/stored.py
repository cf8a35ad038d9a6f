"""Score the maps that a store holds: resized as they are read, and held against the masks as a network's own maps are.

Shapes: H0×W0 image, h×w grid of the store.
"""

from __future__ import annotations

__all__ = ["evaluate_stored"]

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.geometry import Geometry
from attn.data.sample import Example
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.config import ScoringConfig
from attn.evaluation.evaluate import Counted, DataDescription, Evaluation, scored, with_unread
from attn.evaluation.inference import ImageMaps
from attn.maps import normalize_max

if TYPE_CHECKING:
    from attn.store import Snapshot

Probabilities = Mapping[str, NDArray[np.float64]]


def evaluate_stored(
    snapshot: Snapshot,
    source: Source,
    config: ScoringConfig,
    *,
    data: DataDescription,
    map_kind: str,
    given: bool = True,
    probabilities: Probabilities | None = None,
    observe: Callable[[ImageMaps], None] | None = None,
) -> Evaluation:
    """Score a version's maps on the images of a source, each map divided by its own maximum at the image's size.

    Args:
        snapshot: Has a row for every label of every image where `given`: see `attn.data.soft_labels.open_maps`.
        map_kind: What the maps are, for the protocol.
        given: Score the maps of the given labels, as seeds. One that is still zero is zero.
        probabilities: By image id, float64 (C,): whose classes count as predicted, to score their maps directly and the
            classifier too. An image that is not among them is a fault.
        observe: Called with each image's maps, as they come.

    Raises:
        DataError: There is no image, an image cannot be read, or has no prediction where there are any.
    """
    counted = Counted(len(source.classes), config, given=given, exclusive=source.exclusive)
    skipped = list[str]()
    for index, record in enumerate(source.records):
        try:
            example = source.load(index, mask=True, saliency=False)
        except DataError:
            if source.on_error == "raise":
                raise
            skipped.append(record.image_id)
            continue
        if probabilities is not None and record.image_id not in probabilities:
            raise DataError(f"image {record.image_id!r} has no prediction; give the predictions of this data")
        of_image = None if probabilities is None else probabilities[record.image_id]
        found = ImageMaps(record, of_image, _at_image_size(snapshot, example, given=given), example.mask)
        if counted.add(found) and observe is not None:
            observe(found)
    if not counted.records:
        raise DataError(f"{data.source} {data.split!r} gives no image to evaluate")
    evaluation = scored(counted, tuple(source.classes), config, data, map_kind=map_kind, layer=None)
    return with_unread(evaluation, skipped)


def _at_image_size(snapshot: Snapshot, example: Example, *, given: bool) -> dict[int, NDArray[np.float32]]:
    try:
        found = snapshot[example.record.image_id]
    except KeyError:  # an image without a row has no label or, where only predictions were mapped, no prediction
        found = dict[int, NDArray[np.uint8]]()
    size = (example.image.shape[0], example.image.shape[1])
    nothing = [label for label in example.record.labels if given and label not in found]
    maps = {label: np.zeros(size, np.float32) for label in nothing}
    if found:
        stored_Nhw = torch.from_numpy(np.stack(list(found.values()))).float()
        in_image, _ = Geometry.whole(size).to_image(stored_Nhw)
        maps |= dict(zip(found, normalize_max(in_image).numpy(), strict=True))
    return maps
