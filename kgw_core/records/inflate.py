"""Decompression with a limit of output bytes.

A few kilobytes can inflate to gigabytes. So no decompressor here allocates its own output: it gets a buffer,
which grows up to the limit, or it is asked for a number of bytes. An input that inflates past the limit costs
at most ``limit`` bytes of memory. An input within the limit costs that twice while the result is copied.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam

from kgw_core.errors import CorruptMessage

Data = bytes | bytearray | memoryview


class InflatedTooLarge(CorruptMessage):
    """A compressed batch inflates past the limit (code ``CORRUPT_MESSAGE``).

    Kafka has no such limit and no such error.
    """


_FIRST = 16 * 1024
_TOO_SMALL = "failed to write whole buffer"  # the error of Rust's Write::write_all for a full slice


def most_blocks(limit: int) -> int:
    """The most blocks of a frame of at most ``limit`` bytes: small blocks take time, too."""
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

    :param says: the content size that ``data`` declares, or 0. It is the first size of the buffer, unless it
        is far more than usual.
    :param room: memory for the output instead of a new buffer; at most ``limit`` bytes of it are used.
    :raises InflatedTooLarge: the output does not fit ``limit`` bytes or ``room``.
    :raises CorruptMessage: the data cannot be decompressed.
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
        del out  # free it before the next one is made
        size = min(limit, 4 * size)


def inflate_into(name: str, decompress_into: Callable[[Any, Any], int], data: Data, limit: int) -> bytes:
    """:func:`inflate_view`, as bytes."""
    return bytes(inflate_view(name, decompress_into, data, limit))


def inflate_gzip(data: Data, limit: int) -> bytes:
    """Decompress gzip members. zlib is faster for one member, cramjam for many.

    :raises InflatedTooLarge: the output has more than ``limit`` bytes.
    :raises CorruptMessage: the data is malformed, or has bytes after the last member.
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
