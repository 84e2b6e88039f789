"""The 61-byte header of a batch: its fields, its checks, and the fields that are rewritten in place."""

import struct

import pytest

from kgw_core.errors import CorruptMessage, UnsupportedCompressionType
from kgw_core.records import (
    HEADER,
    HEADER_SIZE,
    LOG_OVERHEAD,
    Codec,
    RecordBatch,
    build_batch,
    iter_batches,
    iter_records,
    magic_of,
    set_log_append_time,
    stamp,
)

# Written by Kafka's layout by hand: one record, key "k", value "v", header ("h", null), timestamp 1000.
KNOWN = bytes.fromhex(
    "0000000000000007"  # base offset
    "0000003d"  # batch length
    "00000003"  # partition leader epoch
    "02"  # magic
    "7cab5074"  # crc
    "0010"  # attributes: transactional
    "00000000"  # last offset delta
    "00000000000003e8"  # base timestamp
    "00000000000003e8"  # max timestamp
    "0000000000000009"  # producer id
    "0002"  # producer epoch
    "00000005"  # base sequence
    "00000001"  # record count
    "16 00 00 00 02 6b 02 76 02 02 68 01"  # the record
)


def test_the_header_is_61_bytes() -> None:
    assert HEADER_SIZE == HEADER.size == 61
    assert LOG_OVERHEAD == 12


def test_fields_of_a_batch_written_by_hand() -> None:
    batch = RecordBatch(KNOWN)
    batch.check_crc()
    assert batch.size == len(KNOWN) == 12 + batch.batch_length
    assert (batch.base_offset, batch.last_offset, batch.next_offset) == (7, 7, 8)
    assert (batch.partition_leader_epoch, batch.magic, batch.record_count) == (3, 2, 1)
    assert (batch.base_timestamp, batch.max_timestamp) == (1000, 1000)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (9, 2, 5)
    assert batch.is_transactional
    assert not (batch.is_control or batch.log_append_time or batch.has_delete_horizon)
    assert batch.codec is Codec.NONE
    assert bytes(batch.data) == KNOWN
    assert bytes(batch.payload) == KNOWN[61:]
    (record,) = iter_records(batch)
    assert (record.offset, record.timestamp, record.key, record.value) == (7, 1000, b"k", b"v")
    assert record.headers == (("h", None),)


def test_the_builder_writes_the_same_bytes() -> None:
    built = build_batch(
        [(b"k", b"v", 1000, [("h", None)])],
        base_offset=7,
        leader_epoch=3,
        producer_id=9,
        producer_epoch=2,
        base_sequence=5,
        transactional=True,
    )
    assert built == KNOWN


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_a_view_can_stand_anywhere_in_any_buffer(kind) -> None:
    buffer = kind(b"xyz" + KNOWN + b"more")
    batch = RecordBatch(buffer, 3)
    batch.check_crc()
    assert bytes(batch.data) == KNOWN


def test_a_batch_cut_anywhere_is_corrupt() -> None:
    for cut in range(len(KNOWN)):
        with pytest.raises(CorruptMessage):
            RecordBatch(KNOWN[:cut])
    with pytest.raises(CorruptMessage):
        RecordBatch(KNOWN, len(KNOWN) + 5)


@pytest.mark.parametrize("length", [-1, 0, 48, -(2**31), 2**31 - 1])
def test_a_length_that_cannot_be_is_corrupt(length: int) -> None:
    data = bytearray(KNOWN)
    struct.pack_into(">i", data, 8, length)
    with pytest.raises(CorruptMessage):
        RecordBatch(data)
    with pytest.raises(CorruptMessage):
        list(iter_batches(data, allow_partial=False))


@pytest.mark.parametrize("magic", [0, 1, 3, 255])
def test_another_format_is_corrupt(magic: int) -> None:
    data = bytearray(KNOWN)
    data[16] = magic
    assert magic_of(data) == magic
    with pytest.raises(CorruptMessage, match="magic"):
        RecordBatch(data)


def test_the_format_byte_of_too_few_bytes_is_an_error() -> None:
    assert magic_of(KNOWN[:17]) == 2
    with pytest.raises(CorruptMessage):
        magic_of(KNOWN[:16])


def test_offsets_past_64_bits_are_corrupt() -> None:
    data = build_batch([(b"a", b"b"), (b"c", b"d")])
    stamp(data, 2**63 - 2, 0)
    assert RecordBatch(data).last_offset == 2**63 - 1
    stamp(data, 2**63 - 1, 0)
    with pytest.raises(CorruptMessage):
        RecordBatch(data)


def test_each_changed_byte_from_the_attributes_on_breaks_the_crc() -> None:
    for at in range(21, len(KNOWN)):
        data = bytearray(KNOWN)
        data[at] ^= 0x04
        with pytest.raises(CorruptMessage, match="CRC"):
            RecordBatch(data).check_crc()


@pytest.mark.parametrize("number", [5, 6, 7])
def test_an_unknown_codec_is_unsupported(number: int) -> None:
    data = bytearray(KNOWN)
    data[22] = number
    batch = RecordBatch(data)
    with pytest.raises(UnsupportedCompressionType):
        _ = batch.codec
    with pytest.raises(UnsupportedCompressionType):
        list(iter_records(batch))


@pytest.mark.parametrize(
    ("base", "delta", "last"), [(-1, 4, -1), (0, 4, 4), (2**31 - 1, 0, 2**31 - 1), (2**31 - 3, 4, 1)]
)
def test_the_last_sequence_wraps_to_zero(base: int, delta: int, last: int) -> None:
    records = [(None, b"x")] * (delta + 1)
    assert RecordBatch(build_batch(records, base_sequence=base)).last_sequence == last


def test_batches_back_to_back_are_walked() -> None:
    parts = [build_batch([(b"k%d" % i, b"v")], base_offset=i) for i in range(5)]
    joined = b"".join(parts)
    assert [bytes(batch.data) for batch in iter_batches(memoryview(joined))] == parts
    assert list(iter_batches(b"")) == []


def test_a_batch_cut_off_at_the_end_ends_the_walk_or_is_corrupt() -> None:
    for cut in range(1, len(KNOWN)):
        data = KNOWN + KNOWN[:cut]
        assert len(list(iter_batches(data))) == 1
        with pytest.raises(CorruptMessage):
            list(iter_batches(data, allow_partial=False))


@pytest.mark.parametrize("writable", [bytearray, lambda data: memoryview(bytearray(data))])
def test_stamping_moves_a_batch_and_keeps_its_crc(writable) -> None:
    buffer = writable(b"head" + KNOWN)
    stamp(buffer, 2**40, 17, at=4)
    batch = RecordBatch(buffer, 4)
    batch.check_crc()
    assert (batch.base_offset, batch.partition_leader_epoch) == (2**40, 17)
    assert [record.offset for record in iter_records(batch)] == [2**40]
    assert bytes(batch.data[16:]) == KNOWN[16:]


@pytest.mark.parametrize("codec", Codec)
def test_log_append_time_is_set_in_place_with_a_new_crc(codec: Codec) -> None:
    data = b"head" + build_batch([(b"a", b"1", 100), (b"b", b"2", 50)], codec=codec)
    buffer = bytearray(data)
    set_log_append_time(buffer, 777, at=4)
    batch = RecordBatch(buffer, 4)
    batch.check_crc()
    assert batch.log_append_time
    assert (batch.base_timestamp, batch.max_timestamp, batch.codec) == (100, 777, codec)
    assert [(record.key, record.timestamp) for record in iter_records(batch)] == [(b"a", 777), (b"b", 777)]
    assert buffer[:4] == b"head"


def test_log_append_time_of_what_is_no_batch_is_corrupt() -> None:
    with pytest.raises(CorruptMessage):
        set_log_append_time(bytearray(60), 1)


def test_a_batch_shows_itself() -> None:
    assert repr(RecordBatch(KNOWN)) == "<RecordBatch 7..7: 1 records, 73 bytes, attributes 0x10>"
