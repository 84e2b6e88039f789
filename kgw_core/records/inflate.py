"""Decompression that never makes more bytes than it may.

A few kilobytes can inflate to gigabytes, so nothing here lets a decompressor allocate its own output: it is
given a buffer, which grows up to the limit and no further, or it is asked for so many bytes and no more.
An input that inflates past the limit costs at most ``limit`` bytes; one within it costs that twice, for the
moment in which the result is copied.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam

from kgw_core.errors import CorruptMessage

Data = bytes | bytearray | memoryview


class InflatedTooLarge(CorruptMessage):
    """A compressed batch inflates past the limit it was read with (code of ``CORRUPT_MESSAGE``).

    Kafka has no such limit and no such error.
    """


_FIRST = 16 * 1024
_TOO_SMALL = "failed to write whole buffer"  # what Rust's Write::write_all says of a full slice


def most_blocks(limit: int) -> int:
    """Blocks that a frame of at most ``limit`` bytes may have: one of few bytes takes time too."""
    return 1000 + limit // 64


def inflate_view(
    name: str,
    decompress_into: Callable[[Any, Any], int],
    data: Data,
    limit: int,
    room: memoryview | None = None,
    says: int = 0,
) -> memoryview:
    """Run one of cramjam's ``decompress_into`` with a buffer that grows fourfold up to ``limit`` bytes.

    :param says: bytes that ``data`` says it inflates to, 0 for nothing said: the buffer to begin with, unless
        that is far more than usual.
    :param room: memory to use in its place, of which at most ``limit`` bytes are used.
    :raises InflatedTooLarge: ``limit`` bytes, or those of ``room``, do not hold it.
    :raises CorruptMessage: it cannot be decompressed.
    """
    size = min(limit, max(_FIRST, says if 0 < says <= 64 * len(data) else 8 * len(data)))
    if room is not None:
        size = limit = min(limit, len(room))
    while True:
        out = bytearray(size) if room is None else room[:size]
        try:
            made = decompress_into(data, out)
        except cramjam.DecompressionError as error:
            if _TOO_SMALL not in str(error):
                raise CorruptMessage(f"{name}: {error}") from None
        else:
            return memoryview(out)[:made]
        if size >= limit:
            raise InflatedTooLarge(f"{name}: inflates to more than {limit} bytes")
        del out  # before the next one is made
        size = min(limit, 4 * size)


def inflate_into(name: str, decompress_into: Callable[[Any, Any], int], data: Data, limit: int) -> bytes:
    """:func:`inflate_view`, as bytes."""
    return bytes(inflate_view(name, decompress_into, data, limit))


def inflate_gzip(data: Data, limit: int) -> bytes:
    """What gzip members inflate to, one after the other; zlib is the quicker for one, cramjam for many.

    :raises InflatedTooLarge: more than ``limit`` bytes.
    :raises CorruptMessage: anything else is wrong, bytes after the last member too.
    """
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        out = member.decompress(data, limit + 1)  # 0 would mean no limit
    except zlib.error as error:
        raise CorruptMessage(f"gzip: {error}") from None
    if len(out) > limit:
        raise InflatedTooLarge(f"gzip: inflates to more than {limit} bytes")
    if member.unused_data:
        return inflate_into("gzip", cramjam.gzip.decompress_into, data, limit)
    if not member.eof:
        raise CorruptMessage("gzip: cut short")
    return out
