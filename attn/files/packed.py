"""Read compressed tables and arrays from untrusted files, with a limit on their decompressed size."""

from __future__ import annotations

__all__ = ["MAX_COLUMNS", "load_arrays", "parquet_rows"]

import io
import zipfile
import zlib
from typing import Any

import numpy as np

MAX_UNPACKED_BYTES, MAX_RATIO = 64 << 20, 100
"""A file may decompress to 64 MiB plus 100 times its own size."""
ROWS_PER_BYTE = 64
BATCH = 4096
MAX_COLUMNS = 1000
"""Of a table. Looking for misspelled column names takes time."""


def load_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file.

    Raises:
        ValueError: It is damaged, contains Python objects, or decompresses to more than the limit.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _refuse_more(sum(entry.file_size for entry in archive.infolist()), len(data))
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError:
        raise ValueError("its arrays need more memory than is available") from None
    except (OSError, EOFError, SyntaxError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # zipfile raises RuntimeError for encrypted entries or unknown compression; NumPy raises the first four.
        raise ValueError(str(error) or type(error).__name__) from None


def parquet_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        ValueError: It is damaged, has too many columns, or decompresses to more than the limit.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    held = 0
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > ROWS_PER_BYTE * len(data):
            raise ValueError(f"it claims {file.metadata.num_rows} rows in {len(data)} bytes")
        if file.metadata.num_columns > MAX_COLUMNS:
            raise ValueError(f"it has {file.metadata.num_columns} columns, more than {MAX_COLUMNS}")
        for batch in file.iter_batches(batch_size=BATCH):
            # A dictionary-encoded text is stored once but becomes a string in every row.
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
    if unpacked > MAX_UNPACKED_BYTES + MAX_RATIO * packed:
        raise ValueError(f"it decompresses from {packed} bytes to {unpacked >> 20} MiB or more")
