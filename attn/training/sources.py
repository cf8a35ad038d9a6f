"""The images that a run trains and validates on, and a worker's share of them."""

from __future__ import annotations

__all__ = ["build_sampler", "build_source", "build_validation", "check_validated_classes", "overlap_notices"]

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attn.data.classes import check_classes
from attn.data.overlap import shared_images
from attn.data.sampler import BatchSampler
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.errors import DataError

if TYPE_CHECKING:
    from attn.methods.base import Supervision
    from attn.training.run_config import RunConfig

SHOWN = 4


def build_source(config: RunConfig, sources: SourceCache) -> Source:
    """The images to train on.

    Raises:
        DataError: There are none.
    """
    source = sources.get(config.data)
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    return source


def build_validation(config: RunConfig, source: Source, sources: SourceCache) -> Source | None:
    """The validation images; None for a run without validation.

    Args:
        source: The training images.

    Raises:
        DataError: There is no such split, or its classes are others; names the field that chose it.
    """
    split = config.validation.split
    if split is None:
        return None
    try:
        validated = sources.get(config.data.model_copy(update={"split": split}))
    except DataError as error:
        problem = f"validation.split={split}: {error} (set validation.split, or null to train without validation)"
        raise DataError(problem) from error
    check_validated_classes(config, source, validated)
    return validated


def check_validated_classes(config: RunConfig, source: Source, validated: Source) -> None:
    """Check that the training and the validation images have the same classes.

    Raises:
        DataError: They do not.
    """
    what, of = f"split {config.data.split!r}", f"split {config.validation.split!r}"
    check_classes(source.classes, validated.classes, what=what, of=of)


def overlap_notices(config: RunConfig, source: Source, validated: Source | None, *more: Source) -> list[str]:
    """Messages for the user about images in both training and validation; empty if there are none.

    Args:
        source: The training images.
        more: More training images.

    Raises:
        DataError: There are some, and `validation.allow_overlap` is false.
    """
    if validated is None:
        return []
    shared = [pair for trained in (source, *more) for pair in shared_images(trained, validated)]
    if not shared:
        return []
    shown = ", ".join(ours if ours == theirs else f"{theirs} (trained on as {ours})" for ours, theirs in shared[:SHOWN])
    number = len({theirs for _, theirs in shared})
    text = (
        f"{number} of the {len(validated.records)} images of validation.split={config.validation.split} "
        f"{'is' if number == 1 else 'are'} also trained on (data.split={config.data.split}): {shown}"
        f"{', ...' if len(shared) > SHOWN else ''}. Their scores say nothing of other images"
    )
    if config.validation.allow_overlap:
        return [text]
    raise DataError(
        f"{text}: choose splits that share none, set validation.split=null to train without validation, or "
        "validation.allow_overlap=true where it is meant"
    )


def build_sampler(
    config: RunConfig,
    source: Source,
    *,
    rank: int,
    world: int,
    supervision: Supervision | None = None,
    supervised: Sequence[int] = (),
) -> BatchSampler:
    """The sampler of a worker's share of each micro-batch.

    Args:
        supervision: How images with extra supervision are drawn for it.
        supervised: Indices of these images.
    """
    return BatchSampler(
        len(source.records),
        config.training.batch_size // (world * config.training.accumulate_steps),
        rank=rank,
        world=world,
        seed=config.seed,
        shuffle=config.training.shuffle,
        supervised=supervised,
        batch_fraction=supervision.batch_fraction if supervision else 0.0,
        supervised_from=supervision.first_epoch if supervision else 0,
        labels=[record.labels for record in source.records] if config.training.sampling == "balanced" else None,
    )
