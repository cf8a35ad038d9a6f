"""What is said of the data that something is scored on: for the protocol, and where the model had other data."""

from __future__ import annotations

__all__ = ["describe_data", "other_outputs"]

from attn.data.source import Source, SourceConfig
from attn.data.view import declared_outputs
from attn.evaluation.result import DataDescription
from attn.models.bundle import Bundle
from jobs.runs.open_model import data_name, masks_name


def describe_data(data: SourceConfig, source: Source, resize: str) -> DataDescription:
    """The data in a score's protocol.

    Args:
        source: Built from the config.
        resize: How images become inputs.
    """
    return DataDescription(
        source=data_name(data),
        split=data.split,
        resize=resize,
        masks=masks_name(data),
        outputs=declared_outputs(source),
    )


def other_outputs(bundle: Bundle, source: Source) -> tuple[str, ...]:
    """A note if the model was trained for other probabilities than it is scored by."""
    # Models of earlier versions do not say that their classes are exclusive, though they may be.
    if bundle.exclusive == source.exclusive or (source.exclusive and declared_outputs(source) is None):
        return ()
    now, then = ("softmax", "a sigmoid per class")[:: 1 if source.exclusive else -1]
    value = str(bundle.exclusive).lower()
    return (
        f"the probabilities are those of {now}, and the model was trained for {then}: their scores do not compare "
        f"with those of its training; data.exclusive={value} scores it as it was trained",
    )
