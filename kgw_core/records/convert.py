"""Converts legacy message sets to v2 batches for old producers, and back for old consumers."""

from __future__ import annotations

from collections.abc import Iterator

from kgw_core.errors import InvalidRecord, UnsupportedCompressionType
from kgw_core.records.batch import iter_batches
from kgw_core.records.builder import build_batch
from kgw_core.records.compression import MAX_INFLATED, Codec, Data, check_count
from kgw_core.records.legacy import iter_messages, unwrap
from kgw_core.records.legacy_build import build_message_set
from kgw_core.records.record import Record, iter_records


def upconvert(
    message_set: Data, *, codec: Codec | None = None, max_inflated: int = MAX_INFLATED
) -> bytearray:
    """A v2 batch with the records of a v0 or v1 message set, numbered from 0, without producer id.

    As in Kafka's brokers, the client's offsets are ignored, records of v0 have no timestamp (-1), and a
    compressed message has to be the only one of its set. A producer's LogAppendTime flag is dropped, but its
    time is kept. An empty set gives no bytes. Kafka silently drops a message that is cut off at the end; here
    it is an error, as it would be acknowledged.

    :param codec: the batch's; by default that of the set.
    :param max_inflated: the most bytes that the set may inflate to.
    :raises InvalidRecord: a compressed message is not the only one, v0 and v1 are mixed, or a message is
        malformed, cut off, or cannot be decompressed.
    :raises InflatedTooLarge: the set inflates to more than ``max_inflated``.
    :raises CorruptMessage: a message is damaged.
    :raises UnsupportedCompressionType: v0 and v1 do not have the codec.
    """
    records: list[Record] = []
    magic = -1
    found = Codec.NONE
    for index, message in enumerate(iter_messages(message_set, allow_partial=False)):
        if index and (found or message.codec):
            raise InvalidRecord("a compressed message is not the only one of its message set")
        if index and message.magic != magic:
            raise InvalidRecord(f"a message of format v{message.magic} in a message set of v{magic}")
        magic = message.magic
        found = message.codec
        if found:
            records = unwrap(message, max_inflated=max_inflated)
        else:
            records.append(Record(message.key, message.value, message.timestamp))
            check_count(len(records), max_inflated)
    if not records:
        return bytearray()
    for offset, record in enumerate(records):
        record.offset = offset
    return build_batch(records, codec=found if codec is None else codec)


def downconvert(
    batches: Data, magic: int, *, start_offset: int = 0, max_inflated: int = MAX_INFLATED
) -> Iterator[bytes]:
    """The v2 batches in ``batches`` as message sets of format ``magic`` (0 or 1), one piece for each batch.

    An old consumer gets the joined pieces. Offsets, codec and LogAppendTime stay, headers are dropped.
    Control batches and empty batches are left out. Records of an uncompressed batch before ``start_offset``
    are left out too, as old clients expect that the first message is the one they asked for. A batch that is
    cut off at the end is ignored.

    :raises UnsupportedCompressionType: a batch is compressed with zstd; the pieces before it were yielded.
    :raises CorruptMessage, InvalidRecord: a batch is damaged, or inflates to more than ``max_inflated``.
    :raises ValueError: the format is neither 0 nor 1.
    """
    if magic not in (0, 1):
        raise ValueError(f"records are converted down to format v0 or v1, not v{magic}")
    for batch in iter_batches(batches):
        if batch.is_control:
            continue
        codec = batch.codec
        if codec > Codec.LZ4:
            raise UnsupportedCompressionType(f"{codec.label} batches cannot be converted down")
        records = list(iter_records(batch, max_inflated=max_inflated))
        if not codec:
            records = [record for record in records if record.offset >= start_offset]
        if records:
            append_time = batch.max_timestamp if batch.log_append_time else None
            yield build_message_set(records, magic, codec=codec, log_append_time=append_time)
