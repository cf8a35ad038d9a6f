"""Reads from an Arrow record batch's header how many rows and bytes it claims, before Arrow allocates memory for it.

A compressed buffer starts with its decompressed size, and Arrow allocates that much memory without checking it. The
header is a flatbuffer: a table starts with the relative offset of its vtable, which lists the offsets of its fields
(Arrow's format/Message.fbs).
"""

from __future__ import annotations

__all__ = ["batch_claims"]

import struct

import pyarrow as pa

from attn.store.errors import DamagedError

_HEADER, _ROWS, _BUFFERS, _COMPRESSION = 2, 0, 2, 3


def batch_claims(message: pa.ipc.Message) -> tuple[int, int]:
    """Rows of a record batch, and bytes of its decompressed buffers, as its header claims.

    Raises:
        DamagedError: The message is not a record batch.
    """
    try:
        if message.type != "record batch" or message.body is None:
            raise ValueError
        data, body = memoryview(message.metadata), memoryview(message.body)
        batch = _follow(data, _field(data, _follow(data, 0), _HEADER))
        rows = struct.unpack_from("<q", data, _field(data, batch, _ROWS))[0] if _field(data, batch, _ROWS) else 0
        buffers = _follow(data, _field(data, batch, _BUFFERS))
        compressed, total = _field(data, batch, _COMPRESSION) != 0, 0
        for number in range(struct.unpack_from("<I", data, buffers)[0]):
            offset, length = struct.unpack_from("<qq", data, buffers + 4 + 16 * number)
            claimed = struct.unpack_from("<q", body, offset)[0] if compressed and length else length
            total += length if claimed == -1 else claimed
            if min(offset, length) < 0 or claimed < -1 or offset + length > len(body):
                raise ValueError
    except (struct.error, ValueError, IndexError):
        raise DamagedError("a record batch has an invalid header") from None
    if rows < 0:
        raise DamagedError(f"a record batch claims {rows} rows")
    return rows, total


def _follow(data: memoryview, offset: int) -> int:
    """The position that the relative offset at `offset` points to."""
    return offset + int(struct.unpack_from("<I", data, offset)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    """The position of a table's field; 0 if the field has its default value."""
    offsets = table - int(struct.unpack_from("<i", data, table)[0])
    if offsets < 0 or 4 + 2 * number >= struct.unpack_from("<H", data, offsets)[0]:
        return 0
    result = int(struct.unpack_from("<H", data, offsets + 4 + 2 * number)[0])
    return table + result if result else 0
