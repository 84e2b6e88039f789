"""Checks the header and the checksum of a produced v2 batch, as Kafka's UnifiedLog.analyzeAndValidateRecords.

:mod:`kgw_core.log.validator` checks its records. The order of the checks and their errors are Kafka's.
"""

from __future__ import annotations

from typing import TypeAlias

from crc32c import crc32c

from kgw_core.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    MessageTooLarge,
    UnsupportedCompressionType,
)
from kgw_core.records.batch import (
    CODEC_MASK,
    CONTROL,
    HEADER,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    MAGIC_AT,
)
from kgw_core.topics.configs import TopicConfigs

Header: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
"""base offset, length, leader epoch, magic, CRC, attributes, last offset delta, base timestamp,
max timestamp, producer id, producer epoch, base sequence, record count"""

_HIGHEST_CODEC = 4


def check_batch(data: memoryview, configs: TopicConfigs) -> Header:
    """Return the header of the single batch in ``data``.

    :raises InvalidRecord: ``data`` is not exactly one whole batch, or its header contradicts itself.
    :raises CorruptMessage: a length or the format is impossible, or the CRC32C is wrong.
    :raises MessageTooLarge: the batch is larger than the topic's ``max.message.bytes``.
    :raises UnsupportedCompressionType: the codec is unknown.
    """
    size = len(data)
    if size < HEADER_SIZE:
        raise too_short(data)
    header: Header = HEADER.unpack_from(data)
    base, length, _, magic, crc, attributes, last_delta = header[:7]
    producer, _, sequence, count = header[9:]
    if magic != 2:
        raise wrong_magic(magic)
    if length + LOG_OVERHEAD != size:
        raise wrong_length(length + LOG_OVERHEAD, size)
    if size > configs.max_message_bytes:
        raise MessageTooLarge(
            f"batch of {size} bytes is over max.message.bytes = {configs.max_message_bytes}"
        )
    if crc32c(data[21:]) != crc:
        raise CorruptMessage(f"CRC of the batch is not {crc:#010x} as its header says")
    if base != 0:
        raise InvalidRecord(f"base offset of a batch from a client must be 0, not {base}")
    if count <= 0 or last_delta + 1 != count:
        raise InvalidRecord(f"batch says {count} records and last offset delta {last_delta}")
    if attributes & CONTROL:
        raise InvalidRecord("clients may not write control records")
    if producer >= 0 and sequence < 0:
        raise InvalidRecord(f"batch of producer {producer} has base sequence {sequence}")
    if attributes & CODEC_MASK > _HIGHEST_CODEC:
        raise UnsupportedCompressionType(f"compression codec {attributes & CODEC_MASK}")
    return header


def check_header_times(header: Header, configs: TopicConfigs, now: int) -> None:
    """Check the times in the header. ``now`` is in ms since the epoch.

    :raises InvalidTimestamp: the client has set LogAppendTime, or a time is outside the topic's
        ``message.timestamp.before/after.max.ms``.
    """
    attributes, base_time, max_time = header[5], header[7], header[8]
    if attributes & LOG_APPEND_TIME:
        raise InvalidTimestamp("clients may not set the timestamp type to LogAppendTime")
    if not configs.log_append_time:
        earliest = now - configs.timestamp_before_max_ms
        latest = now + configs.timestamp_after_max_ms
        if max_time > latest or (base_time < earliest and base_time >= 0) or base_time > latest:
            raise InvalidTimestamp(
                f"timestamps {base_time} to {max_time} are not between {earliest} and {latest}"
            )


def too_short(data: memoryview) -> InvalidRecord | CorruptMessage:
    """The error for bytes that cannot hold a v2 header."""
    if len(data) == 0:
        return InvalidRecord("no record batch: a partition of a Produce request holds exactly one")
    if len(data) > MAGIC_AT and data[MAGIC_AT] != 2:
        return wrong_magic(data[MAGIC_AT])
    if len(data) > MAGIC_AT and int.from_bytes(data[8:LOG_OVERHEAD], "big") + LOG_OVERHEAD <= len(data):
        return CorruptMessage(f"record batch of {len(data)} bytes is shorter than its header")
    return InvalidRecord(f"no whole record batch: {len(data)} bytes are shorter than its header")


def wrong_magic(magic: int) -> InvalidRecord | CorruptMessage:
    """The error for a format other than v2."""
    if magic in (0, 1):
        return InvalidRecord(f"message of magic {magic}, this version of Produce takes magic 2")
    return CorruptMessage(f"no record batch: there is no magic {magic}")


def wrong_length(said: int, size: int) -> InvalidRecord | CorruptMessage:
    """The error for a batch that does not end at the end of its partition's bytes."""
    if said < HEADER_SIZE:
        return CorruptMessage(f"record batch says that it has {said} bytes, which is less than its header")
    if said < size:
        return InvalidRecord("more than one record batch: a partition of a Produce request holds exactly one")
    return InvalidRecord(f"no whole record batch: it says {said} bytes, there are {size}")
