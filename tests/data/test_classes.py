"""Differing class lists are refused with the differences, wherever indices of one are used with the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attn import store
from attn.data.classes import check_classes
from attn.data.soft_labels import StoredMaps, open_maps
from attn.data.sources.generated import ScenesConfig
from attn.data.view import SourceView
from attn.errors import DataError
from attn.evaluation.predictions import read_predictions, write_predictions

ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (("a", "c", "b"), r'in another order.*data.classes=\["a", "b", "c"\]'),
        (("a", "b"), "has 3 classes, the data 2, .*: the data lacks c\\. .*or list all of them in data.classes"),
        (("a", "b", "c", "d"), "they differ: the model lacks d\\. Use data with the same classes$"),
        (("a", "b", "d"), "the data lacks c; the model lacks d"),
    ],
)
def test_what_differs_is_named(ours: tuple[str, ...], words: str) -> None:
    check_classes(ABC, list(ABC))
    with pytest.raises(DataError, match=words):
        check_classes(ABC, ours)


def test_a_store_and_predictions_of_another_order(tmp_path: Path) -> None:
    source = ScenesConfig(count=4, size=32).build()
    turned = SourceView(source, range(4), tuple(reversed(source.classes)))
    rows = [(record.image_id, label) for record in source.records for label in range(len(source.classes))]
    result = store.create(str(tmp_path / "store"), rows=rows, grid=(2, 2), classes=source.classes)
    session = result.begin("run")
    writer = session.writer(0)
    for row in rows:
        writer.add(*row, np.ones((2, 2), np.float32))
    session.publish(session.commit(1, [writer.seal()]))
    assert open_maps(StoredMaps(result.uri), source).version == 1
    with pytest.raises(DataError, match="another order"):
        open_maps(StoredMaps(result.uri), turned)
    location = str(tmp_path / "predictions.parquet")
    write_predictions(location, {"x": np.zeros(len(source.classes))}, source.classes)
    assert list(read_predictions(location, source.classes)) == ["x"]
    with pytest.raises(DataError, match="another order"):
        read_predictions(location, turned.classes)
