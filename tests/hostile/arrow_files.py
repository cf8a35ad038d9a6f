"""Arrow files that are not what their place in a map store asks for."""

from __future__ import annotations

__all__ = ["claiming_much", "index_of", "with_a_level", "with_fewer_rows"]

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa


def index_of(ids: list[str], classes: list[list[int]]) -> bytes:
    schema = pa.schema([("image_id", pa.large_string()), ("classes", pa.large_list(pa.int32()))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_batch(pa.record_batch([pa.array(ids, schema[0].type), pa.array(classes, schema[1].type)], schema))
    return sink.getvalue().to_pybytes()


def with_a_level(data: bytes, _: np.random.Generator) -> bytes:
    """A row of a level that there is not."""
    return _recoded(data, lambda batch: {**batch, "level": [200, *batch["level"][1:]]})


def with_fewer_rows(data: bytes, _: np.random.Generator) -> bytes:
    return _recoded(data, lambda batch: {name: values[1:] for name, values in batch.items()})


def claiming_much(data: bytes, _: np.random.Generator) -> bytes:
    """A compressed buffer that claims 10^12 bytes."""
    with pa.ipc.open_file(pa.py_buffer(data)) as file:
        schema, batches = file.schema, [file.get_batch(number) for number in range(file.num_record_batches)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        for batch in batches:
            file.write_batch(batch)
    whole = bytearray(sink.getvalue().to_pybytes())
    location = whole.index(b"\x28\xb5\x2f\xfd") - 8  # zstd's mark, behind the size that the buffer will have
    whole[location : location + 8] = struct.pack("<q", 10**12)
    return _with_table(data, bytes(whole))


def _recoded(data: bytes, edit: Callable[[dict[str, list[Any]]], dict[str, list[Any]]]) -> bytes:
    with pa.ipc.open_file(pa.py_buffer(data)) as file:
        schema, batches = file.schema, [file.get_batch(number) for number in range(file.num_record_batches)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as file:
        for batch in batches:
            file.write_batch(pa.RecordBatch.from_pydict(edit(batch.to_pydict()), schema=schema))
    return _with_table(data, sink.getvalue().to_pybytes())


def _with_table(before: bytes, after: bytes) -> bytes:
    """Other record batches in an object of the same layout: batches, then a table that is right for them."""
    with pa.ipc.open_file(pa.py_buffer(before)) as file:
        table = file.metadata[b"attn.table"]
    begin = 8 + 8 + int(struct.unpack_from("<i", after, 12)[0])
    end = begin
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(memoryview(after)[begin:])):
        end += 8 + message.metadata.size + message.body.size
    location = before.index(table)
    assert end <= location, "the batches have become larger"
    whole = bytearray(after[:end].ljust(location, b"\0") + before[location:])
    text = struct.pack(">QII", begin, end - begin, zlib.crc32(after[begin:end])).hex().encode()
    whole[location : location + len(text)] = text
    return bytes(whole)
