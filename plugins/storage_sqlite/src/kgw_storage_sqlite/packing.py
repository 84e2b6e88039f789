"""Packs batches into rows of ``chunks``, and walks along the batches inside one."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from kgw_core.errors import KafkaStorageError
from kgw_core.spi.storage import Batch, Buffer

PACK: Final = 64 << 10
"""Batches share a chunk up to this many bytes; a larger batch has one of its own."""

HEADER: Final = 61
_header = struct.Struct(">qi11xi8xq").unpack_from  # base offset, length, last offset delta, max timestamp


class Chunk(NamedTuple):
    """The contents of one row."""

    base: int
    last: int
    time: int
    data: Buffer
    written: int


class Placed(NamedTuple):
    """A batch and where it lies in its chunk."""

    at: int
    size: int
    base: int
    last: int
    time: int


def pack(batches: Sequence[Batch]) -> list[Chunk]:
    """Chunks for ``batches``; those that hold one batch only do not copy its bytes."""
    chunks: list[Chunk] = []
    first = 0
    size = 0
    for index, batch in enumerate(batches):
        length = len(batch.data)
        if size and size + length > PACK:
            chunks.append(_chunk(batches[first:index]))
            first, size = index, 0
        size += length
    if size:
        chunks.append(_chunk(batches[first:] if first else batches))
    return chunks


def _chunk(batches: Sequence[Batch]) -> Chunk:
    last = batches[-1]
    if len(batches) == 1:
        return Chunk(last[0], last[0] + last[1] - 1, last[2], last[3], last[5])
    time = max(batch[2] for batch in batches)
    written = max(batch[5] for batch in batches)
    data = b"".join([batch[3] for batch in batches])
    return Chunk(batches[0][0], last[0] + last[1] - 1, time, data, written)


def placed(data: Buffer) -> Iterator[Placed]:
    """The batches in a chunk, in order. :raises KafkaStorageError: it is damaged."""
    at, end = 0, len(data)
    while at < end:
        if at + HEADER > end:
            raise KafkaStorageError("a stored batch is damaged: it ends inside its header")
        base, length, delta, time = _header(data, at)
        if length < HEADER - 12 or at + 12 + length > end or delta < 0:
            raise KafkaStorageError(f"a stored batch is damaged: its header says {length} bytes")
        yield Placed(at, 12 + length, base, base + delta, time)
        at += 12 + length


def find(data: Buffer, offset: int) -> Placed | None:
    """The first batch in a chunk whose last offset >= ``offset``."""
    return next((batch for batch in placed(data) if batch.last >= offset), None)
