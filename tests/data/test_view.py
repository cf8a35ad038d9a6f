"""Parts of sources, and sources under other class numbers."""

from __future__ import annotations

import numpy as np
import pytest

from attn.data.sources import SourceConfig
from attn.data.sources.generated import ScenesConfig
from attn.data.view import SourceView, single_labelled, with_classes
from attn.errors import DataError

NAMES = ("boat", "plane", "sheep", "cow")


def test_single_label_keeps_the_images_of_one_class_as_they_are() -> None:
    config = ScenesConfig(count=12, size=32, objects=(1, 3))
    whole, kept = config.build(), config.model_copy(update={"single_label": True}).build()
    wanted = [record for record in whole.records if len(record.labels) == 1]
    assert 0 < len(wanted) < 12
    assert list(kept.records) == wanted
    positions = [record.image_id for record in whole.records]
    for index, record in enumerate(kept.records):
        theirs = whole.load(positions.index(record.image_id))
        ours = kept.load(index)
        assert ours.record == record
        assert (ours.image == theirs.image).all()
        assert (ours.saliency == theirs.saliency).all()
    assert kept.load(0, mask=False, saliency=False).mask is None


def test_every_kind_of_source_keeps_to_single_label() -> None:
    for name, member in SourceConfig.members.items():
        assert "build" not in vars(member), f"{name}: overrides build(), which is where single_label works"


def test_classes_are_matched_by_name() -> None:
    theirs = ScenesConfig(count=8, size=32, classes=NAMES[:3])
    source = theirs.build()
    turned = with_classes(source, tuple(reversed(NAMES)), name="a", other="b")
    for index, record in enumerate(turned.records):
        old, new = source.load(index), turned.load(index)
        names = {source.classes[label] for label in old.record.labels}
        assert {turned.classes[label] for label in record.labels} == names
        assert list(record.labels) == sorted(record.labels)
        assert {turned.classes[label] for label, _ in record.boxes} == names
        shown = {turned.classes[value - 1] for value in np.unique(new.mask) if value}
        assert shown == {source.classes[value - 1] for value in np.unique(old.mask) if value}
    assert with_classes(source, NAMES[:3], name="a", other="b") is source


def test_unknown_classes_are_an_error_that_names_them() -> None:
    source = ScenesConfig(count=8, size=32, classes=NAMES).build()
    with pytest.raises(DataError, match="method.source has images of .*sheep.* data does not have.*boat, plane, cow"):
        with_classes(source, ("boat", "plane", "cow"), name="method.source", other="data")


def test_classes_without_images_are_allowed_and_255_is_kept() -> None:
    source = ScenesConfig(count=6, size=32, classes=NAMES[:2]).build()
    view = SourceView(source, range(6), ("plane", "boat"))
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert view._mask_values[mask].tolist() == [[0, 2, 1, 255]]
    assert single_labelled(source).classes == source.classes
    assert view.fingerprint() != source.fingerprint()
