"""Offsets by time, inside of batches and after trims."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from broker_kit import (
    NO_TIMES,
    NOW,
    Kit,
    SlowStore,
    UncheckedStore,
    a_kit,
    altered,
    batch,
    records,
    turns,
    view,
)

from kgw_core.log.lookup import epoch_at, offset_for_time, offset_of_max_time
from kgw_core.log.partition import PartitionLog
from kgw_core.log.stored_records import LARGE
from kgw_core.records import MAX_INFLATED, Codec, build_batch

pytestmark = pytest.mark.anyio


async def filled(kit: Kit, *times: list[int], codec: Codec = Codec.NONE, size: int = 1) -> PartitionLog:
    """A log with one batch a list, one record a time."""
    log = await kit.log()
    for each in times:
        log.append(view(build_batch([(b"k", b"v" * size, time) for time in each], codec=codec)), False)
    await turns()
    return log


async def at(log: PartitionLog, time: int) -> tuple[int, int] | None:
    """Offset and time."""
    found = await offset_for_time(log, time, MAX_INFLATED)
    return None if found is None else found[:2]


async def latest(log: PartitionLog) -> tuple[int, int] | None:
    found = await offset_of_max_time(log, MAX_INFLATED)
    return None if found is None else found[:2]


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
async def test_the_first_record_at_or_after_a_time_is_found_inside_its_batch(kit: Kit, codec: Codec) -> None:
    log = await filled(kit, [10, 20, 30], [25, 40], codec=codec)
    assert await at(log, 0) == (0, 10)
    assert await at(log, 20) == (1, 20)
    assert await at(log, 21) == (2, 30)
    assert await at(log, 31) == (4, 40)
    assert await at(log, 41) is None
    assert await latest(log) == (4, 40)


async def test_an_empty_log_has_no_times(kit: Kit) -> None:
    log = await kit.log()
    assert await at(log, 0) is None
    assert await latest(log) is None


async def test_the_first_of_several_records_with_the_latest_time_is_the_one(kit: Kit) -> None:
    log = await filled(kit, [10, 50, 50], [50])
    assert await latest(log) == (1, 50)


async def test_a_large_batch_is_looked_into_off_the_event_loop(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyio import to_thread

    log = await filled(kit, [10, 20], size=LARGE)
    outside: list[object] = []
    run_sync = to_thread.run_sync

    async def counted(work: object, *arguments: object, **options: object) -> object:
        outside.append(work)
        return await run_sync(work, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(to_thread, "run_sync", counted)
    assert await at(log, 15) == (1, 20)
    assert await latest(log) == (1, 20)
    assert len(outside) == 2


async def test_trimmed_records_are_not_found_even_inside_the_batch_that_stayed(kit: Kit) -> None:
    log = await filled(kit, [10, 90, 30], [40])
    await log.trim(2)
    assert await at(log, 0) == (2, 30)
    assert await at(log, 35) == (3, 40)
    assert await latest(log) == (3, 40), "not what is left of the batch that had the latest time"
    await log.trim(3)
    assert await latest(log) == (3, 40)


async def test_what_is_left_of_a_batch_may_have_the_latest_time(kit: Kit) -> None:
    log = await filled(kit, [10, 90, 80], [40], [80])
    await log.trim(2)
    assert await latest(log) == (2, 80)


async def test_after_everything_was_trimmed_there_are_no_times(kit: Kit) -> None:
    log = await filled(kit, [10, 20])
    await log.trim(2)
    assert await at(log, 0) is None
    assert await latest(log) is None


async def test_under_log_append_time_it_is_the_brokers_time_that_counts(kit: Kit) -> None:
    log = await kit.log(message_timestamp_type="LogAppendTime")
    log.append(view(build_batch(records("a", "b", time=5))), False)
    await kit.clock.advance(10)
    log.append(view(batch("c", "d", time=7)), False)
    assert await at(log, 0) == (0, NOW)
    assert await at(log, NOW + 1) == (2, NOW + 10_000)
    assert await at(log, NOW + 10_001) is None
    assert await latest(log) == (2, NOW + 10_000)


async def test_what_the_store_has_but_has_not_acknowledged_is_not_found(slow: Kit, store: SlowStore) -> None:
    log = await slow.log()
    store.patient = False
    log.append(view(batch("a", time=10)), False)
    await turns()
    store.patient = True
    for time in (20, 30):
        log.append(view(batch("b", time=time)), False)
    held = await store.arrived()
    await store.inner.append_many(held.appends)
    assert await at(log, 20) is None
    assert await at(log, 30) is None
    assert await latest(log) == (0, 10), "the newest is on its way, the latest that is there is known"
    assert await at(log, 5) == (0, 10)


@pytest.mark.parametrize("time", NO_TIMES)
async def test_records_without_a_time_are_not_found_by_one(kit: Kit, time: int) -> None:
    log = await filled(kit, [time, 20, time], [time], [15])
    assert await at(log, 0) == (1, 20)
    assert await at(log, 21) is None
    assert await latest(log) == (1, 20)


@pytest.mark.parametrize("time", NO_TIMES)
async def test_the_latest_of_nothing_but_unknown_times(kit: Kit, time: int) -> None:
    """Kafka 4.4.0 finds the first record without a time, but none from before 1970."""
    log = await filled(kit, [time, time], [time])
    assert await latest(log) == ((0, -1) if time == -1 else None)
    assert await at(log, 0) is None


# -- batches whose headers lie, or that cannot be read


def lying(header: int, *times: int, codec: Codec = Codec.NONE) -> bytearray:
    return altered(build_batch([(b"k", b"v", time) for time in times], codec=codec), max_timestamp=header)


@pytest.fixture
async def unchecked() -> AsyncIterator[tuple[UncheckedStore, PartitionLog]]:
    """A store for batches that nobody looked into, and a log in it that is not open yet."""
    store = UncheckedStore()
    kit = await a_kit(store)
    [log] = (await kit.topic()).partitions
    yield store, log
    await kit.close()


Unchecked = tuple[UncheckedStore, PartitionLog]


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])
@pytest.mark.parametrize("header", [-1, 0, 15])
async def test_headers_that_say_less_than_their_records_hide_none(
    unchecked: Unchecked, header: int, codec: Codec
) -> None:
    """Sarama 1.43 left the header at -1, and such batches were stored as they came."""
    store, log = unchecked
    await store.put(log.tp, *[lying(header, 20 * n, 20 * n + 10, codec=codec) for n in range(1, 40)])
    await log.open()
    for time in (100, 105, 110, 111, 600, 780, 790):
        expected = next(
            2 * n + inside - 2 for n in range(1, 40) for inside in (0, 1) if 20 * n + 10 * inside >= time
        )
        assert await at(log, time) == (expected, 20 * (expected // 2 + 1) + 10 * (expected % 2)), time
    assert await at(log, 791) is None
    assert await latest(log) == (77, 790)
    log.append(view(build_batch([(b"k", b"v", 795)])), False)
    assert await at(log, 400) == (38, 400)
    assert await at(log, 791) == (78, 795)
    assert await latest(log) == (78, 795)
    await log.trim(50)
    assert await at(log, 400) == (50, 520)
    await log.trim(78)
    assert await at(log, 400) == (78, 795)


async def test_a_true_header_before_those_in_doubt_is_found_first(unchecked: Unchecked) -> None:
    store, log = unchecked
    await store.put(log.tp, lying(10, 10), lying(500, 500), lying(-1, 20), lying(-1, 600))
    assert await at(log, 400) == (1, 500)
    assert await at(log, 550) == (3, 600)
    assert await at(log, 601) is None


async def test_looking_behind_headers_takes_few_reads(unchecked: Unchecked) -> None:
    store, log = unchecked
    await store.put(log.tp, *[lying(-1, time) for time in range(1000)])
    await log.open()
    reads = []
    read = store.read_now
    store.read_now = lambda *each: (reads.append(each), read(*each))[1]  # type: ignore[method-assign, func-returns-value]
    assert await at(log, 777) == (777, 777)
    assert len(reads) <= 12


def unreadable(time: int) -> bytearray:
    """Its header says two records more than there are."""
    return altered(build_batch([(b"k", b"v", time), (b"k", b"v", 5)]), record_count=4)


async def test_a_batch_that_cannot_be_read_answers_with_its_first_offset_and_its_headers_time(
    unchecked: Unchecked,
) -> None:
    """Who starts there misses nothing; an error would keep him from what lies behind."""
    store, log = unchecked
    await store.put(log.tp, lying(10, 10), unreadable(50), lying(30, 30))
    assert await at(log, 20) == (1, 50)
    assert await latest(log) == (1, 50)
    assert await at(log, 51) is None
    await log.trim(2)
    assert await at(log, 20) == (2, 50)
    assert await latest(log) == (2, 50)
    await log.trim(3)
    assert await at(log, 20) == (3, 30)
    assert await latest(log) == (3, 30)


async def test_a_batch_that_inflates_too_far_answers_by_its_header(kit: Kit) -> None:
    log = await filled(kit, [10], codec=Codec.ZSTD, size=100_000)
    assert await offset_for_time(log, 5, 10_000) == (0, 10, 0)
    assert await offset_of_max_time(log, 10_000) == (0, 10, 0)


async def test_batches_that_compaction_has_emptied_are_not_the_latest(unchecked: Unchecked) -> None:
    """Those of earlier versions still have their time in the header."""
    store, log = unchecked
    empty = altered(build_batch([(b"k", b"v", 90)])[:61], batch_length=49, record_count=0)
    await store.put(log.tp, lying(40, 40), empty, empty, lying(40, 40), lying(35, 35), empty)
    assert await latest(log) == (0, 40)
    assert await at(log, 50) is None
    await log.trim(1)
    assert await latest(log) == (3, 40)


async def test_an_emptied_batch_does_not_hide_what_is_later_than_the_rest_of_a_trimmed_one(
    unchecked: Unchecked,
) -> None:
    store, log = unchecked
    empty = altered(build_batch([(b"k", b"v", 90)])[:61], batch_length=49, record_count=0)
    await store.put(log.tp, lying(100, 100, 30), empty, lying(40, 40))
    await log.open()
    await log.trim(1)
    assert await latest(log) == (3, 40)


async def test_many_emptied_batches_are_not_gone_through(unchecked: Unchecked) -> None:
    store, log = unchecked
    empty = altered(build_batch([(b"k", b"v", 90)])[:61], batch_length=49, record_count=0)
    await store.put(log.tp, lying(40, 40), *[empty] * 500)
    await log.open()
    reads = []
    read = store.read_now
    store.read_now = lambda *each: (reads.append(each), read(*each))[1]  # type: ignore[method-assign, func-returns-value]
    assert await latest(log) is None
    assert len(reads) <= 2 * 16 + 2


# -- leader epochs


async def test_the_leader_epoch_is_that_of_the_records_batch(unchecked: Unchecked) -> None:
    store, log = unchecked
    await store.put(log.tp, lying(10, 10), lying(20, 20))
    await log.open()
    for epoch, time in ((3, 30), (5, 40)):
        log.leader_epoch = epoch
        log.append(view(build_batch([(b"k", b"v", time)])), False)
    found = [await offset_for_time(log, time, MAX_INFLATED) for time in (15, 25, 35)]
    assert found == [(1, 20, 0), (2, 30, 3), (3, 40, 5)]
    assert await offset_of_max_time(log, MAX_INFLATED) == (3, 40, 5)
    assert [await epoch_at(log, offset) for offset in range(5)] == [0, 0, 3, 5, 5]
    assert await store.replace(log.tp, 1, 1, [])
    assert await epoch_at(log, 1) == 3, "in a gap it is the next batch's"
