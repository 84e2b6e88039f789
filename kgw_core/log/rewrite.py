"""Rewrites a produced batch: the times in its header, and its records with another codec."""

from __future__ import annotations

import struct

from crc32c import crc32c

from kgw_core.errors import KafkaError, MessageTooLarge
from kgw_core.records.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CRC_AT,
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAX_TIMESTAMP_AT,
    RecordBatch,
)
from kgw_core.records.compression import Codec, Data, InflatedTooLarge, compress
from kgw_core.topics.configs import TopicConfigs

INLINE = 16 << 10
"""A stored batch of more bytes, or of four times as many inflated bytes, is read in a thread."""

_LZ4_FAST = 9
"""The default of ``compression.lz4.level``, for which Kafka uses its fast compressor instead."""

_ATTRIBUTES = struct.Struct(">h")
_TIMESTAMP = struct.Struct(">q")


def is_large(batch: RecordBatch) -> bool:
    """Whether reading the records of a stored batch may hold the event loop for too long."""
    if batch.size > INLINE:
        return True
    try:
        batch.inflate(4 * INLINE)
    except InflatedTooLarge:
        return True
    except KafkaError:
        return False  # it is malformed, which reading finds as soon
    return False


def target_codec(configs: TopicConfigs, codec: int) -> int:
    """The stored codec of a batch that was produced with ``codec``."""
    target = configs.compression_type
    return codec if target == "producer" else Codec.of_label(target)


def set_times(data: memoryview, attributes: int, max_timestamp: int) -> None:
    """Write attributes, max timestamp (ms) and CRC into the header of a batch, in place."""
    _ATTRIBUTES.pack_into(data, ATTRIBUTES_AT, attributes)
    _TIMESTAMP.pack_into(data, MAX_TIMESTAMP_AT, max_timestamp)
    data[CRC_AT:ATTRIBUTES_AT] = crc32c(data[ATTRIBUTES_AT:]).to_bytes(4, "big")


def repacked(data: memoryview, codec: int, records: Data, configs: TopicConfigs) -> memoryview:
    """The same batch with its uncompressed records compressed by ``codec``.

    :raises MessageTooLarge: the result exceeds ``max.message.bytes``.
    """
    payload = compress(codec, records, _level(codec, configs))
    size = HEADER_SIZE + len(payload)
    if size > configs.max_message_bytes:
        raise MessageTooLarge(
            f"batch of {size} bytes, repacked with {Codec.of_number(codec).label}, "
            f"is over max.message.bytes = {configs.max_message_bytes}"
        )
    packed = bytearray(size)
    packed[:HEADER_SIZE] = data[:HEADER_SIZE]
    packed[HEADER_SIZE:] = payload
    packed[8:12] = (size - LOG_OVERHEAD).to_bytes(4, "big")
    packed[ATTRIBUTES_AT + 1] = packed[ATTRIBUTES_AT + 1] & ~CODEC_MASK | codec
    packed[CRC_AT:ATTRIBUTES_AT] = crc32c(memoryview(packed)[ATTRIBUTES_AT:]).to_bytes(4, "big")
    return memoryview(packed)


def _level(codec: int, configs: TopicConfigs) -> int | None:
    """The topic's compression level of ``codec``; None is the level of Kafka's clients."""
    if codec == Codec.GZIP:
        return configs.compression_gzip_level
    if codec == Codec.LZ4 and configs.compression_lz4_level != _LZ4_FAST:
        return configs.compression_lz4_level
    return configs.compression_zstd_level if codec == Codec.ZSTD else None
