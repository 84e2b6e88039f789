"""Offsets by time, inside of batches and after trims."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, SlowStore, batch, records, turns, view

from kgw_core.log.lookup import LARGE, offset_for_time, offset_of_max_time
from kgw_core.log.partition import PartitionLog
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
    return await offset_for_time(log, time, MAX_INFLATED)


async def latest(log: PartitionLog) -> tuple[int, int] | None:
    return await offset_of_max_time(log, MAX_INFLATED)


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
    assert await latest(log) == (2, 30)  # of what is left of the batch that had the latest time


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
    assert await latest(log) is None
    assert await at(log, 5) == (0, 10)
