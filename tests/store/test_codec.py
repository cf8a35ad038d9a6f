"""Encoded files: Arrow alone reads them back, for any size, and they fit into the memory allocated beforehand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from attn.store.format.algebra import FUSIONS
from attn.store.format.codec import arrow_schema, encode, parse_table, table_length
from attn.store.format.delta import ROW
from attn.store.protocol.overlap_io import overlap_io

GRIDS = ((1, 1), (7, 9), (300, 300))


@pytest.mark.parametrize(("fusion", "delta", "compress"), list(product(("max", "mean"), (False, True), (False, True))))
@pytest.mark.parametrize("grid", GRIDS)
def test_noise_of_any_grid_fits_and_is_read_back_by_arrow(
    fusion: str, delta: bool, compress: bool, grid: tuple[int, int]
) -> None:
    """The worst cases: noise grows when compressed, and files of small rows consist mostly of batch headers."""
    algebra = FUSIONS[fusion]
    schema = arrow_schema((ROW, *algebra.added) if delta else algebra.kept, fusion, grid)
    count, batch = (23, 4) if grid == (300, 300) else (700, 64)
    noise = np.random.default_rng(0)
    rows = {field.name: noise.integers(0, 256, (count, field.type.bit_width // 8), dtype=np.uint8) for field in schema}
    given = {name: values[:, 0] if values.shape[1] == 1 else values for name, values in rows.items()}
    stripe = 4 * batch
    parts = [
        {name: values[start : start + stripe] for name, values in given.items()} for start in range(0, count, stripe)
    ]
    batches = -(-count // batch)
    encoded = encode(parts, schema, batches=batches, rows=count, batch=batch, compress=compress, table=not delta)

    file = pa.ipc.open_file(pa.py_buffer(encoded.data))
    assert file.num_record_batches == batches
    result = file.read_all().combine_chunks()
    for name, values in rows.items():
        assert result[name].chunk(0).buffers()[1].to_pybytes()[: values.size] == values.tobytes()
    assert len(encoded.ends) == batches + 1
    if not delta:
        text = bytes(encoded.data[encoded.table : encoded.table + table_length(batches)])
        assert parse_table(text, len(encoded.data))[0].tolist() == encoded.ends


def test_overlap_io_returns_both_results_and_raises_the_first_error() -> None:
    assert overlap_io(lambda: "beside", lambda: "here") == ("beside", "here")
    with pytest.raises(ValueError, match="beside"):
        overlap_io(lambda: int("beside"), lambda: int("here"))
    with pytest.raises(ValueError, match="here"):
        overlap_io(lambda: "beside", lambda: int("here"))
    ended: list[bool] = []
    with pytest.raises(ValueError, match="beside"):
        overlap_io(lambda: int("beside"), lambda: ended.append(True))
    assert ended
