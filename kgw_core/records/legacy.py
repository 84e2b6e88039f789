"""Reads message sets of formats v0 and v1 (Produce v0-v2; v1 is KIP-32).

A set is messages back to back: int64 offset, int32 size, uint32 CRC-32 of the rest, int8 magic, int8
attributes (low three bits the codec; bit 3 LogAppendTime, v1 only), int64 timestamp (v1 only), key and value
with int32 lengths (-1 for null). A message with a codec is a wrapper: its value is a compressed set, and its
offset is that of the last message inside. Offsets inside are absolute in v0 and relative in v1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

from kgw_core.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kgw_core.records.batch import CODEC_MASK, LOG_APPEND_TIME, LOG_OVERHEAD, NO_TIMESTAMP
from kgw_core.records.compression import MAX_INFLATED, Codec, Data, InflatedTooLarge, check_count
from kgw_core.records.lz4_legacy import with_right_checksum
from kgw_core.records.pieces import inflate_arrived
from kgw_core.records.record import MAX_INT64, Record

_HEAD = struct.Struct(">qiIbb")
_INT64 = struct.Struct(">q")
_INT32 = struct.Struct(">i")
_MAGIC_FROM_OFFSET = 16
_SMALLEST = (14, 22)
"""The fewest bytes of a message of v0 and of v1 after offset and size."""


class LegacyMessage:
    """One message of a set with a correct CRC. The ``value`` of a wrapper is its compressed set."""

    __slots__ = ("attributes", "key", "magic", "offset", "timestamp", "value")

    def __init__(
        self, offset: int, magic: int, attributes: int, timestamp: int, key: bytes | None, value: bytes | None
    ) -> None:
        self.offset = offset
        self.magic = magic
        self.attributes = attributes
        self.timestamp = timestamp
        self.key = key
        self.value = value

    @property
    def codec(self) -> Codec:
        """The codec of a wrapper, or ``NONE``.

        :raises UnsupportedCompressionType: v0 and v1 do not have the codec.
        """
        codec = self.attributes & CODEC_MASK
        if codec > Codec.LZ4:
            raise UnsupportedCompressionType(f"message format v{self.magic} has no compression codec {codec}")
        return Codec.of_number(codec)

    @property
    def log_append_time(self) -> bool:
        """Whether a broker set the timestamp. A wrapper's timestamp is then that of all messages inside."""
        return self.magic == 1 and self.attributes & LOG_APPEND_TIME != 0


def iter_messages(message_set: Data, *, allow_partial: bool = True) -> Iterator[LegacyMessage]:
    """The messages of a set, with closed wrappers.

    A message that is cut off at the end ends the iteration, as in old brokers' answers with a size limit.

    :raises CorruptMessage: a CRC or a size is wrong, or a format is neither v0 nor v1.
    :raises InvalidRecord: the fields of a message do not fill it, or it is cut off and ``allow_partial`` is
        false.
    """
    data = bytes(message_set)
    at, end = 0, len(data)
    while at < end:
        if end - at < LOG_OVERHEAD or (size := _INT32.unpack_from(data, at + 8)[0]) > end - at - LOG_OVERHEAD:
            if allow_partial:
                return
            raise InvalidRecord(f"a message set ends {end - at} bytes into a message")
        if size < _SMALLEST[0]:
            raise CorruptMessage(f"a message says that it has {size} bytes")
        after = at + LOG_OVERHEAD + size
        yield _message(data, at, after)
        at = after


def iter_legacy_records(
    message_set: Data, *, max_inflated: int = MAX_INFLATED, allow_partial: bool = True
) -> Iterator[Record]:
    """The records of a set with absolute offsets, also those in wrappers. Records of v0 have no timestamp
    (-1).

    :param max_inflated: the most bytes that one wrapper may inflate to.
    :raises CorruptMessage, InvalidRecord: as :func:`iter_messages` and :func:`unwrap`.
    :raises UnsupportedCompressionType: these formats do not have a wrapper's codec.
    """
    for message in iter_messages(message_set, allow_partial=allow_partial):
        if message.codec:
            yield from unwrap(message, max_inflated=max_inflated)
        else:
            yield Record(message.key, message.value, message.timestamp, (), message.offset)


def unwrap(wrapper: LegacyMessage, *, max_inflated: int = MAX_INFLATED) -> list[Record]:
    """The records inside a wrapper, with absolute offsets.

    A v1 wrapper at offset 0 was never numbered by its client, so its records get offsets from 0 on. In other
    v1 wrappers the last record has the wrapper's offset, and the others' offsets follow from that.

    The value is decompressed as in a batch (:mod:`kgw_core.records.pieces`).

    :raises InvalidRecord: a null value, nothing inside, another format inside, a wrapper inside, an offset
        below the last one inside, a message inside that is cut off, or it does not decompress.
    :raises InflatedTooLarge: it decompresses to more than ``max_inflated``.
    :raises CorruptMessage: a message inside is damaged.
    :raises UnsupportedCompressionType: the codec is not one of these formats.
    """
    codec = wrapper.codec
    compressed = wrapper.value
    if compressed is None:
        raise InvalidRecord("a compressed message has a null value")
    if codec == Codec.LZ4 and wrapper.magic == 0:
        compressed = with_right_checksum(compressed)
    try:
        inside, _ = inflate_arrived(codec, compressed, max_inflated)
    except InflatedTooLarge:
        raise
    except CorruptMessage as error:  # the message's CRC was right
        raise InvalidRecord(f"a compressed message cannot be decompressed: {error}") from None
    records: list[Record] = []
    for message in iter_messages(inside, allow_partial=False):
        if message.magic != wrapper.magic:
            raise InvalidRecord(f"a message of format v{message.magic} inside one of format v{wrapper.magic}")
        if message.attributes & CODEC_MASK:
            raise InvalidRecord("a compressed message inside a compressed message")
        timestamp = wrapper.timestamp if wrapper.log_append_time else message.timestamp
        records.append(Record(message.key, message.value, timestamp, (), message.offset))
        check_count(len(records), max_inflated)
    if not records:
        raise InvalidRecord("a compressed message with no messages inside")
    if wrapper.magic == 1 and wrapper.offset != 0:
        base = wrapper.offset - records[-1].offset
        if base < 0:
            raise InvalidRecord(
                f"a compressed message at offset {wrapper.offset} has offset {records[-1].offset} inside"
            )
        for record in records:
            record.offset += base
            if record.offset > MAX_INT64:
                raise InvalidRecord("an offset inside a compressed message does not fit 64 bits")
    return records


def _message(data: bytes, at: int, end: int) -> LegacyMessage:
    offset, size, crc, magic, attributes = _HEAD.unpack_from(data, at)
    if magic not in (0, 1):
        raise CorruptMessage(f"a message of format (magic) {magic} in a message set")
    if size < _SMALLEST[magic]:
        raise CorruptMessage(f"a message of format v{magic} says that it has {size} bytes")
    found = crc32(memoryview(data)[at + _MAGIC_FROM_OFFSET : end])
    if found != crc:
        raise CorruptMessage(f"message at offset {offset} has CRC {found:#010x} and says {crc:#010x}")
    at += _HEAD.size
    timestamp = NO_TIMESTAMP
    if magic:
        (timestamp,) = _INT64.unpack_from(data, at)
        at += 8
    key, at = _field(data, at, end, "key", offset)
    value, at = _field(data, at, end, "value", offset)
    if at != end:
        raise InvalidRecord(f"{end - at} bytes follow the value of the message at offset {offset}")
    return LegacyMessage(offset, magic, attributes, timestamp, key, value)


def _field(data: bytes, at: int, end: int, name: str, offset: int) -> tuple[bytes | None, int]:
    if at + 4 <= end:
        (length,) = _INT32.unpack_from(data, at)
        at += 4
        if length == -1:
            return None, at
        if 0 <= length <= end - at:
            return data[at : at + length], at + length
    raise InvalidRecord(f"the {name} of the message at offset {offset} does not fit it")
