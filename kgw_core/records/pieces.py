"""Decompresses a produced batch as Kafka's broker does, and tells whether all clients can read it.

Several gzip members, xerial streams or LZ4 frames may follow each other, and other bytes may follow them.
Kafka reads all gzip members and ignores the bytes after them, reads all xerial streams, and reads the first
LZ4 frame. librdkafka reads one member and one stream, and fails on bytes after an LZ4 frame. Python clients
fail on bytes after a gzip member. All clients read several Zstandard frames.
"""

from __future__ import annotations

import zlib

import cramjam

from kgw_core.errors import CorruptMessage
from kgw_core.records.compression import Codec, Data, decompress
from kgw_core.records.inflate import InflatedTooLarge, inflate_into, inflate_view, most_blocks
from kgw_core.records.snappy import is_plain, snappy_view

_MOST_MEMBERS = 100
"""The most gzip members that are read one by one, if other bytes follow the members."""
_MEMBER, _MEMBER_HEAD = b"\x1f\x8b\x08", 10

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_VERSION, _INDEPENDENT = 0x40, 0x20
_BLOCK_CHECKSUM, _CONTENT_SIZE, _CONTENT_CHECKSUM = 0x10, 0x08, 0x04
_RESERVED_FLAGS = 0x83
"""The second version bit, a reserved bit, and the dictionary flag: Kafka's reader refuses them."""
_BLOCK_SIZES = {0x40: 64 << 10, 0x50: 256 << 10, 0x60: 1 << 20, 0x70: 4 << 20}
_STORED = 0x8000_0000


def inflate_arrived(codec: int, data: Data, limit: int, room: memoryview | None = None) -> tuple[Data, bool]:
    """Decompress ``data``, compressed with ``codec`` (not ``NONE``); also tell whether all clients read it.

    :param room: memory of at least ``limit`` bytes that may hold the result.
    :raises InflatedTooLarge: the data inflates to more than ``limit`` bytes, or has too many blocks.
    :raises CorruptMessage: Kafka or most clients cannot read the data.
    :raises UnsupportedCompressionType: the codec number is unknown.
    """
    if not len(data):
        raise CorruptMessage(f"{Codec.of_number(codec).label}: no bytes to decompress")
    if codec == Codec.GZIP:
        return _gzip(data, limit, room)
    if codec == Codec.LZ4:
        end = _lz4_end(memoryview(data), limit)
        frame = memoryview(data)[:end]
        return inflate_view("lz4", cramjam.lz4.decompress_into, frame, limit, room), end == len(data)
    if codec == Codec.ZSTD:
        says = _zstd_says(data)
        return inflate_view("zstd", cramjam.zstd.decompress_into, data, limit, room, says), True
    if codec == Codec.SNAPPY:
        return snappy_view(data, limit, room), is_plain(data)
    return decompress(codec, data, limit), True


def _gzip(data: Data, limit: int, room: memoryview | None) -> tuple[Data, bool]:
    if bytes(data).find(_MEMBER, 1) < 0:  # there is one member
        try:
            says = int.from_bytes(data[-4:], "little")
            return inflate_view("gzip", cramjam.gzip.decompress_into, data, limit, room, says), True
        except InflatedTooLarge:
            raise
        except CorruptMessage:
            pass  # other bytes may follow the member; zlib tells
    out, rest = _gzip_member(data, limit)
    if not rest:
        return out, True
    if not _begins_member(rest):
        return out, False
    try:
        return inflate_into("gzip", cramjam.gzip.decompress_into, data, limit), False
    except InflatedTooLarge:
        raise
    except CorruptMessage:
        pass  # other bytes after the last member may be the reason
    parts = [out]
    while _begins_member(rest):
        if len(parts) == _MOST_MEMBERS:
            raise CorruptMessage(f"gzip: more than {_MOST_MEMBERS} members and other bytes after them")
        limit -= len(out)
        out, rest = _gzip_member(rest, limit)
        parts.append(out)
    return b"".join(parts), False


def _begins_member(rest: bytes) -> bool:
    """Whether a member begins here. Other bytes are ignored, as in Java's reader."""
    return len(rest) >= _MEMBER_HEAD and rest.startswith(_MEMBER)


def _gzip_member(data: Data, limit: int) -> tuple[bytes, bytes]:
    """The inflated first member, and the bytes after it."""
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        out = member.decompress(data, limit + 1)  # 0 would mean no limit
    except zlib.error as error:
        raise CorruptMessage(f"gzip: {error}") from None
    if len(out) > limit:
        raise InflatedTooLarge(f"gzip: inflates to more than {limit} bytes")
    if not member.eof:
        raise CorruptMessage("gzip: cut short")
    return out, member.unused_data


def _zstd_says(data: Data) -> int:
    """The content size in the header of the first frame (RFC 8878), 0 without one."""
    if len(data) < 18 or data[:4] != _ZSTD_MAGIC:
        return 0
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    at = 6 - single_segment + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)


def _lz4_end(data: memoryview, limit: int) -> int:
    """The end of the first frame. The decompressor checks its checksums.

    :raises CorruptMessage: the frame is cut short, or Kafka's reader does not read it: it has dependent
        blocks, a dictionary, or a block that is larger than the frame's limit.
    """
    if data[:4] != _LZ4_MAGIC or len(data) < 7:
        raise CorruptMessage("lz4: there is no frame")
    flags, size = data[4], data[5]
    largest = _BLOCK_SIZES.get(size)
    if flags & (_VERSION | _INDEPENDENT | _RESERVED_FLAGS) != _VERSION | _INDEPENDENT or largest is None:
        raise CorruptMessage(
            f"lz4: a frame with the flags {flags:#04x} {size:#04x}, which Kafka does not read"
        )
    at = 7 + (8 if flags & _CONTENT_SIZE else 0)
    after = 4 if flags & _BLOCK_CHECKSUM else 0
    for _ in range(most_blocks(limit)):
        word = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at > len(data):
            break
        if not word:
            at += 4 if flags & _CONTENT_CHECKSUM else 0
            if at > len(data):
                break
            return at
        if word & ~_STORED > largest:
            raise CorruptMessage(f"lz4: a block of {word & ~_STORED} bytes in a frame of at most {largest}")
        at += (word & ~_STORED) + after
    else:
        raise InflatedTooLarge(f"lz4: more than {most_blocks(limit)} blocks")
    raise CorruptMessage("lz4: cut short")
