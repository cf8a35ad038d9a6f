"""Reads and writes class probabilities of a data set's images as a Parquet file. C classes."""

from __future__ import annotations

__all__ = ["join_predictions", "read_predictions", "write_predictions"]

import io
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attn.data.classes import check_classes
from attn.errors import DataError
from attn.files.locations import read_bytes
from attn.files.transfer import write_in_pieces
from attn.parsing import load_json


def write_predictions(location: str, probabilities: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> None:
    """Write probabilities (C,) by image id: columns `image_id` and `probabilities`, class names in the metadata.

    Raises:
        AttnError: The location cannot be written.
    """
    join_predictions(location, [probabilities], classes)


def join_predictions(location: str, parts: Iterable[Mapping[str, NDArray[np.float64]]], classes: Sequence[str]) -> None:
    """As `write_predictions`, of any number of images: one part of them after the other is in memory.

    Args:
        parts: Each with images of its own.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"image_id": pa.string(), "probabilities": pa.list_(pa.float64(), len(classes))}
    schema = pa.schema(kinds, {"classes": json.dumps(list(classes))})
    with write_in_pieces(location) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for probabilities in parts:
            ids = sorted(probabilities)
            values = np.stack([probabilities[name] for name in ids]) if ids else np.zeros((0, len(classes)))
            lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kinds["probabilities"])
            writer.write_table(pa.Table.from_arrays([pa.array(ids, pa.string()), lists], schema=schema))


def read_predictions(location: str, classes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Read a file of `write_predictions`.

    Raises:
        DataError: The file does not exist, is not such a file, or has other classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(read_bytes(location)))
        theirs = load_json((table.schema.metadata or {})[b"classes"])
        if not isinstance(theirs, list) or not all(isinstance(name, str) for name in theirs):
            raise ValueError("its metadata 'classes' must be a list of names")
        ids = table["image_id"].to_pylist()
        values = table["probabilities"].combine_chunks().flatten().to_numpy().reshape(len(ids), len(theirs))
        values = values.astype(np.float64)
        if not all(isinstance(name, str) for name in ids) or len(set(ids)) < len(ids):
            raise ValueError("an image id is not text, or appears twice")
        if not ((values >= 0) & (values <= 1)).all():  # false for NaN, too
            raise ValueError("a probability is not in [0, 1]")
    except (pa.ArrowException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{location} is not a file of predictions written by `attn maps`: {error}") from None
    check_classes(theirs, classes, what=location)
    return dict(zip(ids, values, strict=True))
