"""Look-ups by time and the check for null keys agree with reading every record."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.errors import InvalidRecord
from kgw_core.records import (
    Codec,
    InflatedTooLarge,
    Record,
    RecordBatch,
    build_batch,
    find_by_time,
    has_null_key,
    iter_records,
    max_time_record,
)

SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)

batches = st.builds(
    lambda records, codec, base: RecordBatch(build_batch(records, codec=codec, base_offset=base)),
    st.lists(
        st.builds(Record, st.none() | st.binary(max_size=100), st.binary(max_size=100), st.integers(-1, 500)),
        min_size=1,
        max_size=150,
    ),
    st.sampled_from(Codec),
    st.integers(0, 1000),
)


@SETTINGS
@given(batches, st.integers(-2, 501), st.integers(0, 1200))
def test_find_by_time_is_the_first_record_at_or_after_it(batch: RecordBatch, time: int, start: int) -> None:
    wanted = [
        (r.offset, r.timestamp) for r in iter_records(batch) if r.timestamp >= time and r.offset >= start
    ]
    assert find_by_time(batch, time, start_offset=start) == (wanted[0] if wanted else None)


@SETTINGS
@given(batches)
def test_the_latest_record_is_the_first_with_the_latest_time(batch: RecordBatch) -> None:
    wanted = max(iter_records(batch), key=lambda record: (record.timestamp, -record.offset))
    assert max_time_record(batch) == (wanted.offset, wanted.timestamp)


@SETTINGS
@given(batches)
def test_the_first_null_key_is_found(batch: RecordBatch) -> None:
    wanted = [index for index, record in enumerate(iter_records(batch)) if record.key is None]
    assert has_null_key(batch) == (wanted[0] if wanted else None)


def test_an_empty_key_is_not_null() -> None:
    assert has_null_key(RecordBatch(build_batch([(b"", b"v")]))) is None


def test_offsets_count_gaps() -> None:
    batch = RecordBatch(
        build_batch([Record(b"a", timestamp=1, offset=8), Record(b"b", timestamp=5, offset=300)])
    )
    assert find_by_time(batch, 2) == (300, 5)
    assert max_time_record(batch) == (300, 5)


def test_log_append_time_makes_the_first_record_the_one() -> None:
    batch = RecordBatch(build_batch([(b"a", b"", 1), (b"b", b"", 2)], base_offset=4, log_append_time=100))
    assert find_by_time(batch, 100) == find_by_time(batch, 0) == max_time_record(batch) == (4, 100)
    assert find_by_time(batch, 50, start_offset=5) == (5, 100)
    assert find_by_time(batch, 101) is None


@pytest.mark.parametrize(("at", "byte"), [(63, 0x01), (63, 0x02), (62, 0x02)])
def test_an_answer_that_cannot_be_is_refused(at: int, byte: int) -> None:
    """The first record's offset lies outside the batch, or its time past 64 bits."""
    data = build_batch([(b"k", b"v", 2**63 - 1)])
    data[at + 1] = byte
    with pytest.raises(InvalidRecord):
        find_by_time(RecordBatch(data), 0)
    with pytest.raises(InvalidRecord):
        max_time_record(RecordBatch(data))


def test_an_empty_batch_has_no_record_at_any_time() -> None:
    batch = RecordBatch(build_batch([], last_offset=3))
    assert find_by_time(batch, 0) is None
    assert max_time_record(batch) is None
    assert has_null_key(batch) is None


@pytest.mark.parametrize("ask", [lambda b: find_by_time(b, 10**6), max_time_record, has_null_key])
def test_any_damage_is_an_answer_or_a_declared_error(ask) -> None:
    good = build_batch([(b"key", b"value" * 20, i) for i in range(20)])
    for at in range(57, len(good)):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(good)
            data[at] ^= flip
            with contextlib.suppress(InvalidRecord):
                ask(RecordBatch(data))
    for count in (-1, 0, 19, 21, 2**31 - 1):
        batch = RecordBatch(good)
        batch.record_count = count
        with pytest.raises(InvalidRecord):
            ask(batch)


def test_the_limit_of_inflation_holds() -> None:
    batch = RecordBatch(build_batch([(b"k", bytes(50_000))], codec=Codec.GZIP))
    for call in (
        lambda: find_by_time(batch, 9, max_inflated=40_000),
        lambda: max_time_record(batch, max_inflated=40_000),
        lambda: has_null_key(batch, max_inflated=40_000),
    ):
        with pytest.raises(InflatedTooLarge):
            call()
