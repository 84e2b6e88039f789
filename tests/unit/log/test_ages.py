"""Which batches are old: by their records' times, or where these say nothing, by when they were written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from uuid import UUID

import pytest
from broker_kit import NO_TIMES, NOW, UncheckedStore, a_kit, altered, batch
from hypothesis import given, settings
from hypothesis import strategies as st
from kgw_storage_memory.store import MemoryStore

from kgw_core.log.ages import Ages, written_before
from kgw_core.records import Codec, RecordBatch, build_batch
from kgw_core.spi.storage import TopicPartition

pytestmark = pytest.mark.anyio

ZERO, AGO = -62_135_596_800_000, NOW - 60_000


class Told(MemoryStore):
    """A log of one offset a batch, of which only the write times are there."""

    def __init__(self, times: Sequence[int]) -> None:
        super().__init__()
        self.times = times
        self.asked = 0

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        self.asked += 1
        return self.times[offset]


TP = TopicPartition("t", UUID(int=1), 0)


@settings(deadline=None)
@given(st.lists(st.integers(-1, 20), max_size=40), st.integers(0, 21))
async def test_what_was_written_before_is_found_by_halving(times: list[int], time: int) -> None:
    """Times need not ascend, as clocks are put back: what lies before a batch that was written before a time
    was written before it, too."""
    store = Told(times)
    found = await written_before(store, TP, 0, len(times), time)
    assert 0 <= found <= len(times)
    if found:
        assert 0 <= times[found - 1] < time
    if times == sorted(times) and (not times or times[0] >= 0):
        assert found == sum(each < time for each in times)
    assert store.asked <= 2 + math.log2(len(times) + 1) + 1


async def test_an_idle_log_takes_one_question() -> None:
    store = Told([5] * 1000)
    assert await written_before(store, TP, 0, 1000, 6) == 1000
    assert store.asked == 1


async def is_old(
    data: bytes | bytearray, *, unchecked: bool, write_time: int = NOW, max_inflated: int = 1 << 20
) -> bool:
    """Whether the one batch of a log, written at ``write_time``, is older than NOW."""
    store = UncheckedStore()
    kit = await a_kit(store)
    [log] = (await kit.topic()).partitions
    await store.put(log.tp, data, write_time=write_time)
    found = RecordBatch((await store.read(log.tp, 0, 1))[0].data)
    ages = Ages(
        store, log.tp, 0, found.next_offset,
        unchecked=found.next_offset if unchecked else 0, young_from=NOW, max_inflated=max_inflated,
    )  # fmt: skip
    await kit.close()
    return await ages.is_old(found)


@pytest.mark.parametrize("unchecked", [False, True])
@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
@pytest.mark.parametrize(
    ("times", "old"),
    [
        ([NOW], False),
        ([NOW - 1], True),
        ([AGO, NOW, AGO], False),
        ([0], True),
        ([ZERO, AGO, -1], True),
        ([-1, NOW + 5], False),
    ],
)
async def test_the_latest_time_of_a_record_counts(
    times: list[int], old: bool, codec: Codec, unchecked: bool
) -> None:
    """However long ago, or lately, it was written."""
    data = build_batch([(b"k", b"v", time) for time in times], codec=codec)
    for write_time in (AGO, NOW, NOW + 5, -1):
        assert await is_old(data, unchecked=unchecked, write_time=write_time) is old


@pytest.mark.parametrize("unchecked", [False, True])
@pytest.mark.parametrize("time", NO_TIMES)
async def test_without_a_time_it_counts_when_a_batch_was_written(time: int, unchecked: bool) -> None:
    data = batch("a", "b", time=time)
    assert await is_old(data, unchecked=unchecked, write_time=NOW - 1)
    assert not await is_old(data, unchecked=unchecked, write_time=NOW)


@pytest.mark.parametrize("time", [*NO_TIMES, AGO])
async def test_what_nobody_knows_the_age_of_is_not_old(time: int) -> None:
    """No time that counts, and no write time."""
    data = altered(batch("a", time=time), record_count=2)  # cannot be read
    assert not await is_old(data, unchecked=True, write_time=-1)
    if time < 0:
        assert not await is_old(data, unchecked=False, write_time=-1)


@pytest.mark.parametrize("header", [-1, 0, AGO, NOW - 1])
@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP])
async def test_a_header_in_doubt_makes_nothing_older_than_its_records(header: int, codec: Codec) -> None:
    data = altered(build_batch([(b"k", b"v", AGO), (b"k", b"v", NOW)], codec=codec), max_timestamp=header)
    assert not await is_old(data, unchecked=True, write_time=AGO)


async def test_a_header_that_says_more_than_its_records_keeps_them() -> None:
    """As before, and as in Kafka."""
    assert not await is_old(altered(batch("a", time=AGO), max_timestamp=NOW), unchecked=True)


@pytest.mark.parametrize(
    "data",
    [
        altered(batch("a", time=AGO), record_count=2),
        altered(batch("a" * 100, time=AGO, codec=Codec.GZIP), attributes=4),
        altered(batch("a" * 100, time=AGO, codec=Codec.GZIP), attributes=7),
        batch("a" * 100_000, time=AGO, codec=Codec.ZSTD),
        altered(batch(time=AGO)[:61], batch_length=49, record_count=0),
    ],
    ids=["count", "wrong codec", "unknown codec", "too large", "empty"],
)
async def test_records_that_cannot_be_read_are_as_old_as_their_writing(data: bytearray) -> None:
    assert await is_old(data, unchecked=True, write_time=NOW - 1, max_inflated=10_000)
    assert not await is_old(data, unchecked=True, write_time=NOW, max_inflated=10_000)
