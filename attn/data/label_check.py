"""Finds labels that a classifier cannot learn from, and those that are of exclusive classes but not declared so."""

from __future__ import annotations

__all__ = ["constant_labels_fault", "one_label_notice"]

from attn.data.source import Source

FEW_IMAGES = 10
"""Fewer may all have one label by chance."""


def constant_labels_fault(source: Source) -> str | None:
    """A message if all images have the same labels, so that a classifier cannot learn anything; else None."""
    kinds = {record.labels for record in source.records}
    if len(kinds) != 1:
        return None
    names = ", ".join(source.classes[label] for label in next(iter(kinds)))
    way = "images of at least two classes" if source.exclusive else "images with and without each class"
    labelled = f"have the label {names} and no other" if names else "have no label"
    return f"all {len(source.records)} images {labelled}: a classifier cannot learn from them; give {way}"


def one_label_notice(source: Source) -> str | None:
    """A message if each image has one label, but is trained on as if it could have several; else None."""
    images = len(source.records)
    if source.exclusive or images < FEW_IMAGES or any(len(record.labels) != 1 for record in source.records):
        return None
    return (
        f"each of the {images} images has one label, but data.source does not say that classes exclude each other. If "
        "they do, data.exclusive=true trains by softmax and cross-entropy, with learning rates for that, and scores "
        "accuracy"
    )
