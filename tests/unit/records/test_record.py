"""The records of a batch: reading them, and the index of every malformed one."""

import contextlib
import struct

import crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.errors import CorruptMessage, InvalidRecord
from kgw_core.records import Codec, InflatedTooLarge, Record, RecordBatch, build_batch, iter_records
from kgw_core.records.varint import encode_varint as v

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)

data_or_null = st.none() | st.binary(max_size=300)
timestamps = st.integers(-1, 2**42) | st.integers(-(2**63), 2**63 - 1)
headers = st.lists(st.tuples(st.text(max_size=12), data_or_null), max_size=4)
records = st.builds(Record, data_or_null, data_or_null, timestamps, headers)


def raw_batch(
    body: bytes, count: int = 1, *, last_delta: int | None = None, base_timestamp: int = 0
) -> RecordBatch:
    """A batch with any bytes as records."""
    data = build_batch([], last_offset=max(count - 1 if last_delta is None else last_delta, 0))
    data += body
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">q", data, 27, base_timestamp)
    struct.pack_into(">i", data, 57, count)
    struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
    batch = RecordBatch(data)
    batch.check_crc()
    return batch


def framed(body: bytes) -> bytes:
    return v(len(body)) + body


GOOD = framed(b"\0" + v(0) + v(0) + v(1) + b"k" + v(1) + b"v" + v(0))


@SETTINGS
@given(st.lists(records, min_size=1, max_size=20), st.sampled_from(Codec), st.integers(0, 2**50))
def test_what_is_built_is_read_back(built: list[Record], codec: Codec, base: int) -> None:
    if max(abs(record.timestamp - built[0].timestamp) for record in built) >= 2**63:
        built = built[:1]
    batch = RecordBatch(build_batch(built, base_offset=base, codec=codec))
    batch.check_crc()
    for offset, record in enumerate(built, base):
        record.offset = offset
    assert list(iter_records(batch)) == built
    assert batch.record_count == len(built)
    assert batch.codec is codec
    assert batch.max_timestamp == max(record.timestamp for record in built)


def test_lengths_of_every_varint_width_are_read() -> None:
    built = [
        Record(b"k" * n, b"v" * n, 1000, [("h" * n, b"x" * n)]) for n in (0, 63, 64, 8191, 8192, 1_048_576)
    ]
    batch = RecordBatch(build_batch(built))
    for offset, record in enumerate(built):
        record.offset = offset
    assert list(iter_records(batch)) == built


def test_many_records_have_deltas_of_every_width() -> None:
    built = [(None, None, 5 + i * 1000) for i in range(9000)]
    read = list(iter_records(RecordBatch(build_batch(built, base_offset=10))))
    assert [record.offset for record in read] == list(range(10, 9010))
    assert [record.timestamp for record in read] == [5 + i * 1000 for i in range(9000)]


@pytest.mark.parametrize(
    ("body", "count", "complaint"),
    [
        (GOOD, 2, "record 1 .*ends before"),
        (GOOD, -1, "-1 records"),
        (GOOD + GOOD, 1, "bytes follow the 1 records"),
        (GOOD + b"\0", 1, "1 bytes follow"),
        (b"", 1, "record 0 .*ends before"),
        (GOOD[:-1], 1, "runs over the batch"),
        (v(-1), 1, "negative"),
        (v(2**31 - 1), 1, "runs over"),
        (b"\xff\xff\xff\xff\xff\x01", 1, "does not fit 32 bits"),
        (framed(b"\0" + b"\xff" * 10 + b"\1"), 1, "does not fit 64 bits"),
        (framed(b"\0" + v(0) + v(-1) + v(-1) + v(-1) + v(0)), 1, "outside the batch"),
        (framed(b"\0" + v(0) + v(1) + v(-1) + v(-1) + v(0)), 1, "outside the batch"),
        (framed(b"\0" + v(0) + v(0) + v(-2) + v(-1) + v(0)), 1, "key has a negative"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(-2) + v(0)), 1, "value has a negative"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(-200) + v(0)), 1, "value has a negative"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(-1)), 1, "negative number of headers"),
        (
            framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(1) + v(-1) + v(-1)),
            1,
            "header's key has a negative",
        ),
        (
            framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(1) + v(0) + v(-2)),
            1,
            "header's value has a negative",
        ),
        (framed(b"\0" + v(0) + v(0) + v(100) + b"k" + v(-1) + v(0)), 1, "ends before"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(100) + b"v" + v(0)), 1, "ends before"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(2**30)), 1, "ends before"),
        (framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(0) + b"x"), 1, "do not fill"),
        (framed(b"\0" + v(0) + v(0) + v(3) + b"abc" + v(-1)) + GOOD, 2, "record 0"),
        (framed(b""), 1, "ends before"),
        (framed(b"") + GOOD, 2, "record 0"),
    ],
)
def test_a_malformed_record_is_refused(body: bytes, count: int, complaint: str) -> None:
    with pytest.raises(InvalidRecord, match=complaint):
        list(iter_records(raw_batch(body, count)))


def test_records_before_a_malformed_one_are_given() -> None:
    reading = iter_records(raw_batch(GOOD + framed(b"\0"), 2))
    assert next(reading).key == b"k"
    with pytest.raises(InvalidRecord, match="record 1 of "):
        next(reading)


@pytest.mark.parametrize(
    ("base", "delta"), [(2**63 - 1, 1), (-(2**63), -1), (2**62, 2**63 - 1), (0, 2**63 - 1), (-5, -(2**63))]
)
def test_a_timestamp_past_64_bits_is_refused(base: int, delta: int) -> None:
    body = framed(b"\0" + v(delta) + v(0) + v(-1) + v(-1) + v(0))
    batch = raw_batch(body, base_timestamp=base)
    if -(2**63) <= base + delta < 2**63:
        assert next(iter_records(batch)).timestamp == base + delta
    else:
        with pytest.raises(InvalidRecord, match="timestamp"):
            list(iter_records(batch))


@pytest.mark.parametrize("timestamp", [-1, 0, 2**63 - 1, -(2**63)])
def test_edges_of_time_survive(timestamp: int) -> None:
    batch = RecordBatch(build_batch([(b"k", b"v", timestamp)] * 2))
    assert (batch.base_timestamp, batch.max_timestamp) == (timestamp, timestamp)
    assert [record.timestamp for record in iter_records(batch)] == [timestamp] * 2


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec])
def test_the_limit_of_inflation_holds(codec: Codec) -> None:
    batch = RecordBatch(build_batch([(None, bytes(100_000))], codec=codec))
    assert len(batch.inflate()) == len(batch.inflate(100_011)) == 100_011
    with pytest.raises(InflatedTooLarge):
        list(iter_records(batch, max_inflated=100_010))


@SETTINGS
@given(st.binary(max_size=200), st.integers(0, 5), st.sampled_from(Codec))
def test_any_bytes_are_read_or_refused(body: bytes, count: int, codec: Codec) -> None:
    batch = raw_batch(body, count)
    batch.attributes |= codec
    with contextlib.suppress(InvalidRecord, CorruptMessage):
        assert len(list(iter_records(batch, max_inflated=10_000))) == count


@pytest.mark.parametrize("codec", Codec)
def test_each_flipped_byte_is_read_or_refused(codec: Codec) -> None:
    good = build_batch(
        [Record(b"key", b"value %d" % i, i, [("h", b"x"), ("n", None)]) for i in range(8)], codec=codec
    )
    for at in range(61, len(good)):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(good)
            data[at] ^= flip
            with contextlib.suppress(InvalidRecord, CorruptMessage):
                list(iter_records(RecordBatch(data), max_inflated=10_000))


def test_records_compare_by_what_they_hold() -> None:
    record = Record(b"k", None, 5, [("h", b"x")], 3)
    assert record == Record(b"k", None, 5, (("h", b"x"),), 3)
    assert record != Record(b"k", b"", 5, (("h", b"x"),), 3)
    assert record != "something else"
    assert repr(record) == "Record(b'k', None, timestamp=5, headers=(('h', b'x'),), offset=3)"


def test_the_key_of_a_header_may_be_any_bytes() -> None:
    """Kafka takes it; a batch that holds it is compacted and converted like others."""
    body = framed(b"\0" + v(0) + v(0) + v(-1) + v(-1) + v(1) + v(2) + b"\xffh" + v(1) + b"w")
    (record,) = iter_records(raw_batch(body))
    assert record.headers == (("\udcffh", b"w"),)
    assert RecordBatch(build_batch([record])).payload == body


def test_a_null_may_be_written_in_more_bytes_than_it_needs() -> None:
    null = b"\x81\x00"
    body = framed(b"\0" + v(0) + v(0) + null + null + v(1) + v(1) + b"h" + null)
    (record,) = iter_records(raw_batch(body))
    assert (record.key, record.value, record.headers) == (None, None, (("h", None),))
