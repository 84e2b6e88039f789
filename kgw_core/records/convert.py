"""Between the legacy message sets and v2 batches: up for old producers, down for old consumers."""

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
    """One v2 batch of the records of a v0 or v1 set, numbered from 0, without producer id.

    As Kafka's brokers do it: offsets that the client wrote do not matter, records of v0 have no timestamp
    (-1), and a set with a compressed message has no other. A LogAppendTime mark from a producer is dropped,
    the time kept. No bytes give no bytes. A message that is cut off at the end, which Kafka leaves out
    without a word, is an error: it would be acknowledged.

    :param codec: of the batch; left out, the one of the set.
    :param max_inflated: the most bytes the set may decompress to.
    :raises InvalidRecord: several messages and a compressed one among them, v0 and v1 mixed, or a message
        that is not well formed, cut off, or does not decompress.
    :raises InflatedTooLarge: it inflates past ``max_inflated``.
    :raises CorruptMessage: a message is damaged.
    :raises UnsupportedCompressionType: a codec that v0 and v1 do not have.
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
    """The v2 batches in ``batches`` as message sets of format ``magic`` (0 or 1), one piece a batch.

    The pieces, joined, are what an old consumer is sent. Offsets, codec and LogAppendTime stay; headers go;
    control batches are left out, and so are batches with no records. From an uncompressed batch records
    before ``start_offset`` are left out: old clients count on the first message being the one they asked for.
    A batch cut off at the end is not looked at.

    :raises UnsupportedCompressionType: a zstd batch; the pieces before it have been given.
    :raises CorruptMessage, InvalidRecord: a batch is damaged, or inflates past ``max_inflated``.
    :raises ValueError: a format other than 0 and 1.
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
