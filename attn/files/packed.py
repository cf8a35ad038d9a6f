"""Compressed tables and arrays of others: how much they unpack to is bounded before it fills the memory."""

from __future__ import annotations

__all__ = ["MOST_COLUMNS", "load_arrays", "parquet_rows"]

import io
import zipfile
import zlib
from typing import Any

import numpy as np

ALWAYS, RATIO = 64 << 20, 100
"""Bytes that a file may unpack to: these, and so many times its own."""
ROWS_PER_BYTE = 64
BATCH = 4096
MOST_COLUMNS = 1000
"""Of a table; to look for names that may be mistyped takes time."""


def load_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file.

    Raises:
        ValueError: It is damaged, holds Python objects, or unpacks to much more than its own size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _refuse_more(sum(entry.file_size for entry in archive.infolist()), len(data))
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError:
        raise ValueError("its arrays take more memory than there is") from None
    except (OSError, EOFError, SyntaxError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # zipfile raises a RuntimeError for an entry with a password or an unknown compression, NumPy the first four.
        raise ValueError(str(error) or type(error).__name__) from None


def parquet_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        ValueError: It is damaged, or unpacks to much more than its own size.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    held = 0
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > ROWS_PER_BYTE * len(data):
            raise ValueError(f"it says that it has {file.metadata.num_rows} rows, in {len(data)} bytes")
        if file.metadata.num_columns > MOST_COLUMNS:
            raise ValueError(f"it has {file.metadata.num_columns} columns, where at most {MOST_COLUMNS} are read")
        for batch in file.iter_batches(batch_size=BATCH):
            # A category is written once and becomes a text in every row.
            whole: list[Any] = [
                column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
                for column in batch.columns
            ]
            held += sum(column.nbytes for column in whole)
            _refuse_more(held, len(data))
            rows += pa.RecordBatch.from_arrays(whole, names=batch.schema.names).to_pylist()
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    return rows


def _refuse_more(unpacked: int, packed: int) -> None:
    if unpacked > ALWAYS + RATIO * packed:
        raise ValueError(f"it unpacks to {unpacked >> 20} MiB or more, from {packed} bytes")
