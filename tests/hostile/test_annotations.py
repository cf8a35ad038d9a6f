"""Annotations, tables and masks that are made to break what reads them: the check and training say the same of each."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn.data.check import check_config
from attn.data.outlines import decode_outline
from attn.data.source import SourceConfig
from attn.errors import DataError
from attn.files.packed import load_arrays, parquet_rows
from tests.hostile.data_sets import DATA_SETS, HEAVY, write_data_set

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of NumPy 2, in pycocotools
SECONDS = 20
"""Of CPU time: beside other work a data set takes several times as long."""


def load_all(config: SourceConfig) -> str | None:
    """What keeps training from the images, masks, saliency maps and boxes of a data set."""
    try:
        source = config.build()
        for index in range(len(source.records)):
            example = source.load(index)
            if example.boxes_fault:
                raise example.boxes_fault
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [name for name in DATA_SETS if name not in HEAVY])
def test_a_data_set_is_read_or_refused_by_both(name: str, tmp_path: Path) -> None:
    entry = DATA_SETS[name]
    config = write_data_set(entry, tmp_path / "data", np.random.default_rng(0))
    began = time.process_time()
    report, refusal = check_config(config), load_all(config)
    assert report.ok == (refusal is None) == (entry.verdict == "read"), refusal or str(report)
    assert all(len(str(finding)) < 1000 for finding in report.findings)
    assert time.process_time() - began < SECONDS


def test_many_polygons_give_what_they_give_one_by_one() -> None:
    rng = np.random.default_rng(5)
    polygons = [corners.reshape(-1).tolist() for corners in rng.uniform(-3, 40, (100, 4, 2)).round(1)]
    single = [decode_outline([polygon], (30, 35)) for polygon in polygons]
    together = decode_outline(polygons, (30, 35))
    np.testing.assert_array_equal(together.pixels(), np.any([one.pixels() for one in single], 0))
    assert together.area == together.pixels().sum()
    runs = [5, 10, 15, 20, 1000]
    coded = decode_outline({"size": [30, 35], "counts": runs}, (30, 35))
    assert coded.area == coded.pixels().sum() == 30


@pytest.mark.parametrize(
    "outline",
    [
        [[10**400, 1, 5, 5, 9, 9]], [[True, 1, 5, 5, 9, 9]], [[1, 1, 5, 5, 9, 1e10]], [[1, 1, 5, 5, 9, float("nan")]],
        {"size": [20, 30], "counts": [True, 599]}, {"size": [20, 30], "counts": "~" * 100}, {"counts": 5}, True, "",
    ],
)  # fmt: skip
def test_an_outline_of_no_use_is_one_fault(outline: Any) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        decode_outline(outline, (20, 30))
    assert len(str(caught.value)) < 300


def test_what_unpacks_to_much_is_refused_before_it_is_unpacked() -> None:
    from tests.hostile.data_sets import rows_of_nothing, rows_of_one_long_text, zeros

    for read, data in ((load_arrays, zeros(100)), (parquet_rows, rows_of_nothing(1_000_000))):
        began = time.process_time()
        with pytest.raises(ValueError, match=r"to 100 MiB|claims 1000000 rows"):
            read(data)
        assert time.process_time() - began < 1
    with pytest.raises(ValueError, match="decompresses from"):
        parquet_rows(rows_of_one_long_text(100_000))
    assert parquet_rows(rows_of_one_long_text(3))[2]["image"] == "x" * 4000
    json.dumps(parquet_rows(rows_of_nothing(100)))
