"""The saliency that cues are made of."""

from __future__ import annotations

__all__ = ["cue_saliency", "saliency_notices", "without_saliency"]

from attn.data.source import Source
from attn.saliency.source import SaliencySource, with_saliency
from attn.segmentation.labels import CueLabels
from attn.wording import counted


def cue_saliency(
    source: Source, config: CueLabels, root: str | None, *, field: str = "labels.saliency"
) -> SaliencySource | None:
    """The images with the saliency that their cues are made of; None without any.

    Args:
        root: Folder or prefix of runs, below which computed maps are kept; None: nowhere.
        field: Name of the setting, for messages.

    Raises:
        DataError: An image has no saliency although the data is to give it.
        WeightsError: There is no usable file of the saliency network.
    """
    kind = config.saliency
    if kind == "auto":
        kind = "border" if without_saliency(source) else "given"
    return with_saliency(source, kind, config, root=root, field=field)


def saliency_notices(images: int, without: int, config: CueLabels, *, field: str = "labels.saliency") -> list[str]:
    """A message where `auto` makes the image's border the saliency, which nobody has chosen.

    Args:
        images, without: How many there are, and how many of them have no saliency map.
        field: Name of the setting.
    """
    if config.saliency != "auto" or not without:
        return []
    return [
        f"{field}=auto: no saliency map for {without} of {counted(images, 'image')}, so that of all images is computed "
        "from the colours at their border, which finds few objects. On photographs a network is far better: set "
        f"{field}=u2netp, and {field.removesuffix('saliency')}threshold=saliency_agreement to fit the threshold to it"
    ]


def without_saliency(source: Source) -> int:
    """How many images have no saliency map."""
    return sum(record.saliency is None for record in source.records)
