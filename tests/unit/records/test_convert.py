"""Up to v2 for old producers, down to v0 and v1 for old consumers, as Kafka's brokers convert."""

import pytest

from kgw_core.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kgw_core.records import (
    Codec,
    InflatedTooLarge,
    Record,
    RecordBatch,
    build_batch,
    build_end_marker,
    downconvert,
    iter_legacy_records,
    iter_records,
    upconvert,
)
from kgw_core.records.legacy import iter_messages
from kgw_core.records.legacy_build import build_message_set

OLD_CODECS = [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4]


def some(count: int = 4, base: int = 0) -> list[Record]:
    return [Record(b"k%d" % i, b"v%d" % i if i else None, 1000 + i, (), base + i) for i in range(count)]


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", OLD_CODECS)
def test_a_set_becomes_one_batch_numbered_from_0(codec: Codec, magic: int) -> None:
    data = upconvert(build_message_set(some(base=70), magic, codec=codec))
    batch = RecordBatch(data)
    batch.check_crc()
    assert batch.size == len(data)
    assert (batch.base_offset, batch.last_offset, batch.record_count, batch.codec) == (0, 3, 4, codec)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (-1, -1, -1)
    assert batch.attributes == codec
    wanted = some()
    if magic == 0:
        assert (batch.base_timestamp, batch.max_timestamp) == (-1, -1)
        for record in wanted:
            record.timestamp = -1
    else:
        assert (batch.base_timestamp, batch.max_timestamp) == (1000, 1003)
    assert list(iter_records(batch)) == wanted


def test_the_codec_can_be_the_topics() -> None:
    data = build_message_set(some(), 1, codec=Codec.GZIP)
    assert RecordBatch(upconvert(data, codec=Codec.ZSTD)).codec is Codec.ZSTD
    assert RecordBatch(upconvert(data, codec=Codec.NONE)).codec is Codec.NONE


def test_a_producers_log_append_time_mark_goes() -> None:
    for codec in OLD_CODECS:
        data = build_message_set(some(), 1, codec=codec, log_append_time=55)
        batch = RecordBatch(upconvert(data))
        assert not batch.log_append_time
        assert [record.timestamp for record in iter_records(batch)] == [55] * 4


def test_no_messages_make_no_batch() -> None:
    assert upconvert(b"") == b""


def test_a_message_cut_off_at_the_end_is_refused_as_it_would_be_acknowledged() -> None:
    data = build_message_set(some(), 1)
    for cut in (data[:-1], data[:20], data[:5]):
        with pytest.raises(InvalidRecord, match="bytes into a message"):
            upconvert(cut)


def test_a_compressed_message_must_be_alone() -> None:
    plain, packed = build_message_set(some(1), 1), build_message_set(some(), 1, codec=Codec.GZIP)
    for data in (plain + packed, packed + plain, packed + packed):
        with pytest.raises(InvalidRecord, match="not the only one"):
            upconvert(data)


def test_formats_must_not_be_mixed() -> None:
    with pytest.raises(InvalidRecord, match="v1 in a message set of v0"):
        upconvert(build_message_set(some(1), 0) + build_message_set(some(1), 1))


def test_converting_up_holds_the_limit() -> None:
    data = build_message_set([Record(None, bytes(50_000), 0, (), 0)], 1, codec=Codec.GZIP)
    with pytest.raises(InflatedTooLarge):
        upconvert(data, max_inflated=50_000)


def test_a_damaged_message_is_corrupt() -> None:
    data = bytearray(build_message_set(some(), 1))
    data[-1] ^= 1
    with pytest.raises(CorruptMessage):
        upconvert(data)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", OLD_CODECS)
def test_batches_become_sets_with_the_same_offsets_and_codec(codec: Codec, magic: int) -> None:
    first = [
        Record(b"a", b"1", 10, [("h", b"gone")], 5),
        Record(b"b", None, 30, (), 8),
        Record(None, b"3", 20, (), 9),
    ]
    second = some(base=100)
    data = build_batch(first, codec=codec, base_offset=4) + build_batch(second, codec=codec)
    pieces = list(downconvert(memoryview(data), magic))
    assert len(pieces) == 2
    records = list(iter_legacy_records(b"".join(pieces), allow_partial=False))
    for record in first + second:
        record.headers = ()
        if magic == 0:
            record.timestamp = -1
    assert records == first + second
    outer = list(iter_messages(b"".join(pieces)))
    assert {message.magic for message in outer} == {magic}
    assert {message.codec for message in outer} == {codec}
    if codec:
        assert [message.offset for message in outer] == [9, 103]
        assert [message.timestamp for message in outer] == ([30, 1003] if magic else [-1, -1])


@pytest.mark.parametrize("codec", OLD_CODECS)
def test_log_append_time_is_kept_in_v1(codec: Codec) -> None:
    data = build_batch(some(), codec=codec, log_append_time=77)
    (piece,) = downconvert(data, 1)
    assert all(message.log_append_time for message in iter_messages(piece))
    assert [record.timestamp for record in iter_legacy_records(piece)] == [77] * 4


def test_control_batches_and_empty_ones_are_left_out() -> None:
    marker = build_end_marker(
        True, producer_id=1, producer_epoch=0, coordinator_epoch=0, timestamp=5, base_offset=4
    )
    empty = build_batch([], base_offset=5, last_offset=9)
    data = build_batch(some()) + marker + empty + build_batch(some(base=10))
    records = iter_legacy_records(b"".join(downconvert(data, 1)))
    assert [record.offset for record in records] == [0, 1, 2, 3, 10, 11, 12, 13]
    assert list(downconvert(marker + empty, 0)) == []


def test_an_uncompressed_batch_begins_at_the_offset_asked_for() -> None:
    def offsets(codec: Codec, start: int) -> list[int]:
        data = build_batch(some(base=10), codec=codec)
        return [r.offset for r in iter_legacy_records(b"".join(downconvert(data, 1, start_offset=start)))]

    assert offsets(Codec.NONE, 12) == [12, 13]
    assert offsets(Codec.NONE, 14) == []
    assert offsets(Codec.GZIP, 12) == [10, 11, 12, 13]


def test_zstd_cannot_go_down_but_what_is_before_it_does() -> None:
    data = build_batch(some()) + build_batch(some(base=4), codec=Codec.ZSTD)
    pieces = downconvert(data, 1)
    assert len(list(iter_legacy_records(next(pieces)))) == 4
    with pytest.raises(UnsupportedCompressionType, match="zstd"):
        next(pieces)


def test_a_batch_cut_off_at_the_end_is_not_looked_at() -> None:
    data = build_batch(some()) + build_batch(some(base=4))
    assert len(list(downconvert(data[:-1], 1))) == 1


def test_converting_down_holds_the_limit() -> None:
    data = build_batch([(None, bytes(50_000))], codec=Codec.LZ4)
    with pytest.raises(InflatedTooLarge):
        list(downconvert(data, 1, max_inflated=50_000))


@pytest.mark.parametrize("magic", [-1, 2])
def test_there_are_two_formats_to_go_down_to(magic: int) -> None:
    with pytest.raises(ValueError, match="v0 or v1"):
        list(downconvert(b"", magic))


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", OLD_CODECS)
def test_down_and_up_again_is_the_same(codec: Codec, magic: int) -> None:
    (piece,) = downconvert(build_batch(some(), codec=codec), magic)
    again = list(iter_records(RecordBatch(upconvert(piece))))
    wanted = some()
    if magic == 0:
        for record in wanted:
            record.timestamp = -1
    assert again == wanted
