"""The few topics on which a batch is not stored as it came.

LogAppendTime rewrites the header, a ``compression.type`` of the topic's own repacks the records, and a
compacted topic looks for records without a key. Everywhere else batches stay opaque.
"""

from __future__ import annotations

from crc32c import crc32c

from kgw_core.errors import InvalidRecord, KafkaError, MessageTooLarge
from kgw_core.records.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CRC_AT,
    HEADER_SIZE,
    LOG_OVERHEAD,
    RecordBatch,
    set_log_append_time,
)
from kgw_core.records.compression import Codec, InflatedTooLarge, compress, decompress
from kgw_core.records.record import iter_records
from kgw_core.records.scan import has_null_key
from kgw_core.topics.configs import TopicConfigs

_LZ4_FAST = 9
"""The default of ``compression.lz4.level``, with which Kafka takes its fast compressor instead."""


class RefusedRecords(InvalidRecord):
    """A batch refused because of some of its records; ``batch_indexes`` tells which (KIP-467)."""

    def __init__(self, message: str, batch_indexes: list[int]) -> None:
        super().__init__(message)
        self.batch_indexes = batch_indexes


INLINE = 16 << 10
"""Looking into a batch of more bytes, or one that inflates to four times as many, is left to a thread."""


def takes_long(data: memoryview, configs: TopicConfigs) -> bool:
    """Whether :func:`rewritten` may hold up the event loop: what a batch inflates to is tried."""
    codec = data[ATTRIBUTES_AT + 1] & CODEC_MASK
    if not configs.compact and configs.compression_type in ("producer", Codec.of_number(codec).label):
        return False
    return is_large(RecordBatch(data))


def is_large(batch: RecordBatch) -> bool:
    """Whether looking into the batch may hold up the event loop."""
    if batch.size > INLINE:
        return True
    try:
        batch.inflate(4 * INLINE)
    except InflatedTooLarge:
        return True
    except KafkaError:
        return False  # which is found out as soon
    return False


def looked_into(data: memoryview, configs: TopicConfigs, max_inflated: int) -> memoryview:
    """The part of :func:`rewritten` that takes long, to be done in a thread. Raises as that does."""
    _check_keys(data, configs, max_inflated)
    return _packed(data, configs, max_inflated)


def rewritten(
    data: memoryview, configs: TopicConfigs, now: int, stable: bool, max_inflated: int, looked: bool = False
) -> tuple[memoryview, int, int, bool]:
    """Return the batch as it is to be stored, its max timestamp, its log append time (ms or -1), and
    whether the bytes are stable. ``looked``: :func:`looked_into` has given the bytes.

    :raises RefusedRecords: a record without a key on a compacted topic.
    :raises CorruptMessage: the records cannot be read.
    :raises MessageTooLarge: repacked, the batch is over ``max.message.bytes``.
    """
    if not looked:
        _check_keys(data, configs, max_inflated)
    packed = _packed(data, configs, max_inflated)
    if packed is not data:
        data, stable = packed, True
    log_append_time = -1
    if configs.log_append_time:
        set_log_append_time(data, now)
        log_append_time = now
    return data, RecordBatch(data).max_timestamp, log_append_time, stable


def _check_keys(data: memoryview, configs: TopicConfigs, max_inflated: int) -> None:
    if configs.compact:
        batch = RecordBatch(data)
        if has_null_key(batch, max_inflated=max_inflated) is not None:
            records = iter_records(batch, max_inflated=max_inflated)
            without = [index for index, record in enumerate(records) if record.key is None]
            raise RefusedRecords("compacted topics take no record without a key", without)


def _packed(data: memoryview, configs: TopicConfigs, max_inflated: int) -> memoryview:
    target = configs.compression_type
    if target != "producer":
        codec = Codec.NONE if target == "uncompressed" else Codec.of_label(target)
        if codec != data[ATTRIBUTES_AT + 1] & CODEC_MASK:
            data = repacked(data, codec, max_inflated, _level(codec, configs))
            if len(data) > configs.max_message_bytes:
                raise MessageTooLarge(
                    f"batch of {len(data)} bytes, repacked with {target}, "
                    f"is over max.message.bytes = {configs.max_message_bytes}"
                )
    return data


def _level(codec: Codec, configs: TopicConfigs) -> int | None:
    """The effort that the topic asks of ``codec``; None is what Kafka's clients take."""
    if codec == Codec.GZIP:
        return configs.compression_gzip_level
    if codec == Codec.LZ4 and configs.compression_lz4_level != _LZ4_FAST:
        return configs.compression_lz4_level
    return configs.compression_zstd_level if codec == Codec.ZSTD else None


def repacked(data: memoryview, codec: Codec, max_inflated: int, level: int | None = None) -> memoryview:
    """The same batch with its records compressed by ``codec``; header otherwise unchanged, CRC made anew."""
    batch = RecordBatch(data)
    payload = compress(codec, decompress(batch.codec, batch.payload, max_inflated), level)
    packed = bytearray(HEADER_SIZE + len(payload))
    packed[:HEADER_SIZE] = data[:HEADER_SIZE]
    packed[HEADER_SIZE:] = payload
    packed[8:12] = (len(packed) - LOG_OVERHEAD).to_bytes(4, "big")
    packed[ATTRIBUTES_AT + 1] = packed[ATTRIBUTES_AT + 1] & ~CODEC_MASK | codec
    packed[CRC_AT:ATTRIBUTES_AT] = crc32c(memoryview(packed)[ATTRIBUTES_AT:]).to_bytes(4, "big")
    return memoryview(packed)
