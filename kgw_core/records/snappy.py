"""Snappy in the two forms of Kafka's clients: raw, or in the framing of the xerial library.

The Java client writes an 8-byte magic, two int32 (version 1, compatible since 1), then blocks: an int32 size
and a raw snappy block of at most 32 KiB. Other clients write one raw block. Streams may follow each other,
each with its magic. The version numbers are ignored: some clients write them little-endian (kafka-python
issue 2414), and there is only one version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cramjam

from kgw_core.errors import CorruptMessage
from kgw_core.records.inflate import InflatedTooLarge, most_blocks

_MAGIC = b"\x82SNAPPY\x00"
_HEADER = _MAGIC + struct.pack(">ii", 1, 1)
_BLOCK_SIZE = 32 * 1024
_SIZE = struct.Struct(">i")

_MOST_A_BYTE = 22
"""The most output bytes for each input byte: a snappy copy element makes at most 64 bytes of 3."""


def compress_snappy(data: bytes | bytearray | memoryview) -> bytes:
    """Xerial framing in blocks of 32 KiB."""
    view = memoryview(data)
    parts = [_HEADER]
    for at in range(0, len(view), _BLOCK_SIZE):
        block = bytes(cramjam.snappy.compress_raw(view[at : at + _BLOCK_SIZE]))
        parts += _SIZE.pack(len(block)), block
    return b"".join(parts)


def is_plain(data: bytes | bytearray | memoryview) -> bool:
    """Whether all clients can read it: one raw block, or one stream in xerial's framing with the version that
    the Java client writes. aiokafka reads no other version."""
    found = bytes(data)
    return not found.startswith(_MAGIC) or (found.startswith(_HEADER) and found.count(_MAGIC) == 1)


def decompress_snappy(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress a raw or xerial-framed input, after checking the sizes that it declares.

    :raises InflatedTooLarge: the output has more than ``limit`` bytes, or the input has too many blocks.
    :raises CorruptMessage: the input is malformed.
    """
    return bytes(snappy_view(data, limit))


def snappy_view(
    data: bytes | bytearray | memoryview, limit: int, room: memoryview | None = None
) -> memoryview:
    """:func:`decompress_snappy` into new memory, or into ``room``."""
    if room is not None:
        limit = min(limit, len(room))
    view = memoryview(data)
    blocks = _xerial_blocks(view) if view[: len(_MAGIC)] == _MAGIC else iter((view,))
    plan: list[tuple[memoryview, int]] = []
    total = 0
    for block in blocks:
        size = _declared_size(block)
        total += size
        if total > limit:
            raise InflatedTooLarge(f"snappy: inflates to more than {limit} bytes")
        plan.append((block, size))
        if len(plan) > most_blocks(limit):
            raise InflatedTooLarge(f"snappy: more than {len(plan) - 1} blocks")
    into = memoryview(bytearray(total)) if room is None else room
    at = 0
    for block, size in plan:
        try:
            made = cramjam.snappy.decompress_raw_into(block, into[at : at + size]) if size else 0
        except cramjam.DecompressionError as error:
            raise CorruptMessage(f"snappy: {error}") from None
        if made != size:
            raise CorruptMessage(f"snappy: a block declares {size} bytes and holds {made}")
        at += size
    return into[:at]


def _declared_size(block: memoryview) -> int:
    try:
        size = cramjam.snappy.decompress_raw_len(block)
    except cramjam.DecompressionError as error:
        raise CorruptMessage(f"snappy: {error}") from None
    if size > len(block) * _MOST_A_BYTE or not len(block):
        raise CorruptMessage(f"snappy: a block of {len(block)} bytes declares {size}")
    return size


def _xerial_blocks(view: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(view):
        if view[at : at + len(_MAGIC)] == _MAGIC:
            at += len(_HEADER)
            if at > len(view):
                raise CorruptMessage("snappy: cut short in its header")
            continue
        if at + 4 > len(view):
            raise CorruptMessage("snappy: cut short in the size of a block")
        (size,) = _SIZE.unpack_from(view, at)
        at += 4
        if not 0 < size <= len(view) - at:
            raise CorruptMessage(f"snappy: a block of {size} bytes where {len(view) - at} are left")
        yield view[at : at + size]
        at += size
