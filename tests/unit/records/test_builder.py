"""Building batches: numbering, gaps, and the header's fields."""

import pytest

from kgw_core.errors import InvalidTimestamp, UnsupportedCompressionType
from kgw_core.records import Codec, Record, RecordBatch, build_batch, iter_records, set_log_append_time


def offsets(data: bytearray) -> list[int]:
    return [record.offset for record in iter_records(RecordBatch(data))]


def test_records_without_offsets_are_numbered_from_the_base() -> None:
    assert offsets(build_batch([(b"a", b"1"), Record(b"b", b"2")])) == [0, 1]
    assert offsets(build_batch([(b"a", b"1"), Record(b"b", b"2")], base_offset=7)) == [7, 8]


def test_gaps_between_offsets_stay() -> None:
    data = build_batch([Record(b"a", offset=12), Record(b"b", offset=15)], base_offset=10, last_offset=19)
    batch = RecordBatch(data)
    assert (batch.base_offset, batch.last_offset, batch.record_count) == (10, 19, 2)
    assert offsets(data) == [12, 15]


def test_the_base_offset_is_the_first_records_unless_given() -> None:
    batch = RecordBatch(build_batch([Record(b"a", offset=12), Record(b"b", offset=15)]))
    assert (batch.base_offset, batch.last_offset) == (12, 15)


def test_a_record_without_an_offset_follows_the_one_before() -> None:
    assert offsets(build_batch([Record(offset=5), Record(), Record(offset=9), Record()])) == [5, 6, 9, 10]


@pytest.mark.parametrize(
    ("records", "options"),
    [
        ([Record(offset=5), Record(offset=5)], {}),
        ([Record(offset=5), Record(offset=4)], {}),
        ([Record(offset=5)], {"base_offset": 6}),
        ([Record(offset=5)], {"last_offset": 4}),
        ([Record(offset=0), Record(offset=2**31)], {}),
        ([], {}),
        ([], {"base_offset": 3, "last_offset": 2}),
    ],
)
def test_offsets_that_make_no_batch_are_refused(records: list[Record], options: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        build_batch(records, **options)


def test_an_empty_batch_keeps_its_place_and_has_no_codec() -> None:
    batch = RecordBatch(
        build_batch([], base_offset=10, last_offset=19, codec=Codec.ZSTD, producer_id=4, base_sequence=2)
    )
    batch.check_crc()
    assert (batch.base_offset, batch.last_offset, batch.record_count, batch.size) == (10, 19, 0, 61)
    assert (batch.base_timestamp, batch.max_timestamp, batch.codec) == (-1, -1, Codec.NONE)
    assert (batch.producer_id, batch.last_sequence) == (4, 11)
    assert list(iter_records(batch)) == []


def test_log_append_time_is_all_records_time() -> None:
    batch = RecordBatch(build_batch([(b"a", b"1", 5), (b"b", b"2", 9)], log_append_time=100))
    assert batch.log_append_time
    assert (batch.base_timestamp, batch.max_timestamp) == (5, 100)
    assert [record.timestamp for record in iter_records(batch)] == [100, 100]
    in_place = build_batch([(b"a", b"1", 5), (b"b", b"2", 9)])
    set_log_append_time(in_place, 100)
    assert batch.data == in_place


def test_a_delete_horizon_takes_the_base_timestamps_place() -> None:
    batch = RecordBatch(build_batch([(b"a", None, 5), (b"b", None, 9)], delete_horizon=1000))
    assert batch.has_delete_horizon
    assert (batch.base_timestamp, batch.max_timestamp) == (1000, 9)
    assert [record.timestamp for record in iter_records(batch)] == [5, 9]


def test_times_in_any_order_give_the_latest_as_maximum() -> None:
    batch = RecordBatch(build_batch([(b"a", b"", 50), (b"b", b"", 90), (b"c", b"", 10)]))
    assert (batch.base_timestamp, batch.max_timestamp) == (50, 90)
    assert [record.timestamp for record in iter_records(batch)] == [50, 90, 10]


@pytest.mark.parametrize("times", [(2**63,), (-(2**63) - 1,), (-(2**63), 0), (5, 2**63 - 1, -(2**63))])
def test_times_past_64_bits_or_too_far_apart_are_refused(times: tuple[int, ...]) -> None:
    with pytest.raises(InvalidTimestamp):
        build_batch([(b"a", b"", time) for time in times])


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(UnsupportedCompressionType):
        build_batch([(b"a", b"")], codec=5)


def test_a_level_is_the_codecs() -> None:
    text = b"".join(b"%d is not %d. " % (i, i * i) for i in range(5000))
    low, high = (len(build_batch([(None, text)], codec=Codec.ZSTD, level=level)) for level in (1, 19))
    assert high < low
