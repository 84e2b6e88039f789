"""kafka-python and aiokafka, which share no code with us, read our batches, and we read theirs."""

from typing import Any

import pytest
from aiokafka.record import default_records as aiokafka_v2
from aiokafka.record import legacy_records as aiokafka_legacy
from kafka.record import default_records as kafka_python_v2
from kafka.record import legacy_records as kafka_python_legacy

from kgw_core.records import (
    Codec,
    Record,
    RecordBatch,
    build_batch,
    build_end_marker,
    downconvert,
    iter_legacy_records,
    iter_records,
    set_log_append_time,
    stamp,
    upconvert,
)
from kgw_core.records.legacy_build import build_message_set

# kafka-python needs further packages for the codecs that aiokafka has through cramjam.
AIOKAFKA = [(aiokafka_v2, aiokafka_legacy, codec) for codec in Codec]
KAFKA_PYTHON = [(kafka_python_v2, kafka_python_legacy, codec) for codec in (Codec.NONE, Codec.GZIP)]
EVERYONE = AIOKAFKA + KAFKA_PYTHON
OLD = [
    (legacy, codec, magic)
    for _, legacy, codec in EVERYONE
    for magic in (0, 1)
    if codec != Codec.ZSTD and (codec, magic) != (Codec.LZ4, 0)  # neither has the LZ4 of v0
]


def some() -> list[Record]:
    records = [
        Record(b"key", b"value", 1_700_000_000_000, [("h1", b"x"), ("h2", None), ("h1", b"")]),
        Record(None, b"v" * 3000, 1_699_999_999_000, [("ключ", b"\xff")]),
        Record(b"", None, 1_700_000_900_000),
        Record(b"k" * 200, b"", 0),
    ]
    records += [Record(b"key%d" % i, b"the same text again " * 5, 1_700_000_000_000 + i) for i in range(300)]
    for offset, record in enumerate(records):
        record.offset = offset
    return records


def plain(records: list[Record], *, timestamps: bool = True) -> list[Record]:
    """As formats without headers, and v0 without timestamps, keep them."""
    return [Record(r.key, r.value, r.timestamp if timestamps else -1, (), r.offset) for r in records]


def ours(read: Any) -> list[Record]:
    """Their records as ours."""
    return [
        Record(
            r.key,
            r.value,
            -1 if r.timestamp is None else r.timestamp,
            [tuple(h) for h in r.headers],
            r.offset,
        )
        for r in read
    ]


@pytest.mark.parametrize(("v2", "codec"), [(v2, codec) for v2, _, codec in EVERYONE])
def test_we_read_their_v2_batches(v2: Any, codec: Codec) -> None:
    theirs = v2.DefaultRecordBatchBuilder(
        magic=2,
        compression_type=int(codec),
        is_transactional=1,
        producer_id=77,
        producer_epoch=3,
        base_sequence=11,
        batch_size=1 << 20,
    )
    for r in some():
        assert theirs.append(r.offset, r.timestamp, r.key, r.value, list(r.headers)) is not None
    data = bytes(theirs.build())
    batch = RecordBatch(data)
    batch.check_crc()
    assert batch.size == len(data)
    assert (batch.codec, batch.is_transactional, batch.is_control) == (codec, True, False)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (77, 3, 11)
    assert (batch.base_offset, batch.last_offset, batch.record_count) == (0, 303, 304)
    assert (batch.base_timestamp, batch.max_timestamp) == (1_700_000_000_000, 1_700_000_900_000)
    assert list(iter_records(batch)) == some()


@pytest.mark.parametrize(("v2", "codec"), [(v2, codec) for v2, _, codec in EVERYONE])
def test_they_read_our_v2_batches_rewritten_in_place(v2: Any, codec: Codec) -> None:
    data = build_batch(
        some(), codec=codec, producer_id=77, producer_epoch=3, base_sequence=11, transactional=True
    )
    stamp(data, 1000, 6)
    theirs = v2.DefaultRecordBatch(bytes(data))
    assert theirs.validate_crc()
    assert theirs.is_transactional
    wanted = some()
    for record in wanted:
        record.offset += 1000
    assert ours(theirs) == wanted

    set_log_append_time(data, 123_456)
    theirs = v2.DefaultRecordBatch(bytes(data))
    assert theirs.validate_crc()
    assert theirs.timestamp_type == 1
    assert {record.timestamp for record in theirs} == {123_456}


def test_uncompressed_batches_are_the_same_bytes() -> None:
    for module in (aiokafka_v2, kafka_python_v2):
        theirs = module.DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1 << 20,
        )
        for r in some():
            theirs.append(r.offset, r.timestamp, r.key, r.value, list(r.headers))
        built = bytes(theirs.build())
        epoch = RecordBatch(built).partition_leader_epoch  # kafka-python writes another one than -1
        assert build_batch(some(), leader_epoch=epoch) == built


def test_they_read_our_transaction_markers() -> None:
    data = build_end_marker(True, producer_id=5, producer_epoch=0, coordinator_epoch=1, timestamp=10)
    for module in (aiokafka_v2, kafka_python_v2):
        theirs = module.DefaultRecordBatch(bytes(data))
        assert theirs.is_control_batch
        assert theirs.validate_crc()
        (record,) = theirs
        assert record.key == bytes.fromhex("00000001")
    assert record.commit


@pytest.mark.parametrize(("legacy", "codec", "magic"), OLD)
def test_we_read_and_convert_their_message_sets(legacy: Any, codec: Codec, magic: int) -> None:
    theirs = legacy.LegacyRecordBatchBuilder(magic=magic, compression_type=int(codec), batch_size=1 << 20)
    for r in some():
        theirs.append(r.offset, r.timestamp, r.key, r.value)
    data = bytes(theirs.build())
    wanted = plain(some(), timestamps=magic == 1)
    assert list(iter_legacy_records(data, allow_partial=False)) == wanted
    batch = RecordBatch(upconvert(data))
    batch.check_crc()
    assert batch.codec is codec
    assert list(iter_records(batch)) == wanted


@pytest.mark.parametrize(("legacy", "codec", "magic"), OLD)
def test_they_read_our_message_sets(legacy: Any, codec: Codec, magic: int) -> None:
    wanted = plain(some(), timestamps=magic == 1)
    for record in wanted:
        record.offset += 500
    batch = build_batch(some(), codec=codec)
    stamp(batch, 500, 0)
    (piece,) = downconvert(batch, magic)
    assert build_message_set(wanted, magic, codec=codec) == piece
    if codec:
        theirs = legacy.LegacyRecordBatch(piece, magic)
        assert theirs.validate_crc()
        assert ours(theirs) == wanted
    else:
        read, at = [], 0
        while at < len(piece):
            end = at + 12 + int.from_bytes(piece[at + 8 : at + 12], "big")
            theirs = legacy.LegacyRecordBatch(piece[at:end], magic)
            assert theirs.validate_crc()
            read += ours(theirs)
            at = end
        assert read == wanted
