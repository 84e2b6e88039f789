"""Retention: which batches go, when, and how little it disturbs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    turns,
    view,
    waiting,
)
from kgw_storage_memory.store import MemoryStore
from kgw_storage_sqlite.config import Config as SqliteConfig
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.background import PartlyFailed
from kgw_core.errors import OffsetOutOfRange
from kgw_core.log.partition import PartitionLog
from kgw_core.log.retention import CHECK_SECONDS
from kgw_core.spi.storage import Capabilities, Run, Topic, TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.testing.turns import longest_turn

pytestmark = pytest.mark.anyio

SECOND = 1000


async def kept(kit: Kit, log: PartitionLog, *times: int | None, **configs: str) -> int:
    """Append a batch of two records for each time (None: without one), look once; the start that is left."""
    for each in times:
        log.append(view(batch("a", "b", time=-1 if each is None else each)), True)
    await kit.logs.retention.check()
    return log.start


def ago(seconds: float) -> int:
    return NOW - round(seconds * 1000)


# -- by age


async def test_batches_go_from_the_front_while_they_are_too_old(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(30), ago(20), ago(5), ago(1)) == 4
    assert (await kit.store.bounds(log.tp)).start == 4


async def test_an_old_batch_behind_a_young_one_stays(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(30), ago(5), ago(20)) == 2


async def test_exactly_as_old_as_allowed_is_not_too_old(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(10.001), ago(10)) == 2


async def test_everything_may_go_and_the_next_offset_stays(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(30), ago(20)) == 4
    assert (await kit.store.bounds(log.tp)).size == 0
    log.append(view(batch("c")), True)
    assert (log.start, log.high_watermark) == (4, 5)


async def test_the_largest_timestamp_of_a_batch_counts(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    from kgw_core.records import build_batch

    log.append(view(build_batch([(b"k", b"old", ago(60)), (b"k", b"young", ago(1))])), True)
    assert await kept(kit, log) == 0


PIECE = "v" * 2_000
"""So much that the memory store keeps a write time for it alone."""


@pytest.mark.parametrize("time", NO_TIMES)
async def test_without_a_time_batches_age_from_when_they_were_written(kit: Kit, time: int) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    log.append(view(batch(PIECE, time=time)), True)
    assert await kept(kit, log) == 0
    await kit.clock.advance(6)
    for each in (kit.clock.time_ms(), time):
        log.append(view(batch(PIECE, time=each)), True)
    await kit.clock.advance(4)
    assert await kept(kit, log) == 0, "exactly as old as allowed"
    await kit.clock.advance(1)
    assert await kept(kit, log) == 1
    await kit.clock.advance(6)
    assert await kept(kit, log) == 3


@pytest.mark.parametrize("time", NO_TIMES)
async def test_a_batch_without_a_time_between_old_ones_stays_until_it_is_old(kit: Kit, time: int) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(30), time, ago(30), ago(1)) == 2
    await kit.clock.advance(9)
    assert await kept(kit, log) == 2
    await kit.clock.advance(2)
    assert await kept(kit, log) == 8


async def test_of_many_batches_without_a_time_those_go_that_were_written_too_long_ago(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(100 * SECOND))
    for _ in range(300):
        log.append(view(batch(PIECE, time=-1)), True)
        await kit.clock.advance(1)
    assert await kept(kit, log) == 200, "it was written 100 s ago"


async def test_records_without_a_time_age_over_restarts(tmp_path: Path) -> None:
    for restart in range(5):
        store = SqliteStore(SqliteConfig(path=tmp_path / "kgw.db"))
        await store.open()
        kit = await a_kit(store)
        kit.start_writers()
        await kit.clock.advance(40 * restart)
        log = await kit.log(retention_ms=str(100 * SECOND))
        await waiting(log.append(view(batch("a", time=-1)), True)).wait()
        await kit.logs.retention.check()
        assert log.start == max(restart - 2, 0)
        await kit.close()
        await store.close()


FRESH = batch("a", time=ago(1))


@pytest.mark.parametrize(
    "fresh",
    [
        *[altered(bytearray(FRESH), max_timestamp=time) for time in (-1, 0, ago(30))],
        altered(batch("a", time=ago(30)), record_count=3),
    ],
    ids=["none", "zero", "old", "cannot be read"],
)
async def test_a_header_that_says_less_than_its_records_deletes_nothing(fresh: bytearray) -> None:
    """Batches from elsewhere, or of before headers were checked."""
    store = UncheckedStore()
    kit = await a_kit(store)
    [log] = (await kit.topic(retention_ms=str(10 * SECOND))).partitions
    old = batch("old", time=ago(30))
    await store.put(log.tp, old, old, fresh, old)
    await kit.logs.retention.check()
    assert (await store.bounds(log.tp)).start == log.start == 2
    await kit.clock.advance(11)
    await kit.logs.retention.check()
    assert log.start == 4
    await kit.close()


async def test_what_lies_behind_batches_in_doubt_goes_with_them() -> None:
    store = UncheckedStore()
    kit = await a_kit(store)
    [log] = (await kit.topic(retention_ms=str(10 * SECOND))).partitions
    await store.put(log.tp, *[altered(batch("a", time=ago(20)), max_timestamp=0)] * 50)
    await log.open()
    assert await kept(kit, log, ago(30), ago(15), -1, ago(-5)) == 54
    await kit.clock.advance(11)
    assert await kept(kit, log) == 56
    await kit.close()


async def test_headers_that_are_checked_are_not_looked_behind(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    monkeypatch.setattr("kgw_core.log.ages.latest_time", None)
    assert await kept(kit, log, ago(30), -1, ago(30), ago(5)) == 2


@pytest.mark.parametrize("policy", ["compact", "", "delete", "compact,delete"])
async def test_only_a_policy_with_delete_deletes(kit: Kit, policy: str) -> None:
    log = await kit.log(retention_ms="1000", retention_bytes="1", cleanup_policy=policy)
    assert (await kept(kit, log, ago(30), ago(30)) > 0) is ("delete" in policy)


async def test_without_limits_nothing_goes(kit: Kit) -> None:
    log = await kit.log(retention_ms="-1", message_timestamp_before_max_ms=str(2**63 - 1))
    assert await kept(kit, log, 1, ago(30)) == 0


# -- by size


async def test_batches_go_while_at_least_the_limit_is_left(kit: Kit) -> None:
    size = len(batch("a", "b"))
    for limit, start in ((3 * size, 4), (3 * size + 1, 2), (5 * size, 0), (5 * size + 1, 0), (0, 10), (1, 8)):
        log = await kit.log(f"t{limit}", retention_bytes=str(limit))
        assert await kept(kit, log, *[NOW] * 5) == start, limit


async def test_what_went_by_age_counts_no_more_for_size(kit: Kit) -> None:
    size = len(batch("a", "b"))
    log = await kit.log(retention_ms=str(10 * SECOND), retention_bytes=str(2 * size))
    assert await kept(kit, log, ago(30), ago(30), ago(5), ago(5), ago(5)) == 6


async def test_many_batches_over_many_reads_go_at_once(kit: Kit) -> None:
    log = await kit.log(retention_bytes="1000")
    for _ in range(300):
        log.append(view(batch("v" * 900)), True)
    assert await kept(kit, log) == 298
    assert 1000 <= (await kit.store.bounds(log.tp)).size < 2000


# -- when


async def test_a_look_is_taken_every_five_minutes_unless_set_otherwise(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    log.append(view(batch("a")), True)
    kit.spawn(kit.logs.upkeep())
    await turns()
    await kit.clock.advance(CHECK_SECONDS - 1)
    assert log.start == 0
    await kit.clock.advance(1)
    assert log.start == 1
    log.append(view(batch("a", time=kit.clock.time_ms())), True)
    await kit.clock.advance(CHECK_SECONDS)
    assert log.start == 2


async def test_a_new_retention_counts_from_the_next_look_on(kit: Kit) -> None:
    log = await kit.log()
    assert await kept(kit, log, ago(30), ago(5)) == 0
    await kit.catalog.set_configs("t", {"retention.ms": str(10 * SECOND)})
    assert await kept(kit, log) == 2


async def test_producers_are_forgotten_by_the_same_clock(kit: Kit) -> None:
    from broker_kit import numbered

    log = await kit.log()
    log.append(view(numbered(1, 0)), True)
    kit.spawn(kit.logs.upkeep())
    await turns()
    await kit.clock.advance(86_400)
    assert len(log.producers) == 1
    await kit.clock.advance(600)
    assert len(log.producers) == 0


# -- around it


async def test_a_log_that_nobody_has_opened_is_looked_after_too(kit: Kit) -> None:
    log = await kit.log(retention_ms=str(10 * SECOND))
    for each in (ago(30), ago(1)):
        log.append(view(batch("a", time=each)), True)
    again = await a_kit(kit.store)
    await again.logs.retention.check()
    cold = again.catalog.find("t").partitions[0]
    assert (cold.start, cold.high_watermark) == (1, 2)
    await again.close()


async def test_a_log_with_nothing_to_drop_is_not_opened(kit: Kit) -> None:
    log = await kit.log()
    log.append(view(batch("a")), True)
    again = await a_kit(kit.store)
    await again.logs.retention.check()
    assert not again.catalog.find("t").partitions[0].ready
    await again.close()


async def test_what_is_not_acknowledged_yet_stays(slow: Kit, store: SlowStore) -> None:
    log = await slow.log(retention_ms=str(10 * SECOND))
    log.append(view(batch("a", time=ago(30))), True)
    first = await store.arrived()
    await slow.logs.retention.check()
    assert "trim" not in store.calls
    first.release()
    await turns()
    log.append(view(batch("b", time=ago(30))), True)
    second = await store.arrived()
    await slow.logs.retention.check()
    assert (log.start, log.high_watermark) == (1, 1), "the second is on its way"
    second.release()
    await turns()
    assert (log.start, log.high_watermark) == (1, 2)


async def test_an_append_that_lands_during_the_look_stays(slow: Kit, store: SlowStore) -> None:
    log = await slow.log(retention_ms=str(10 * SECOND))
    store.patient = False
    log.append(view(batch("old", time=ago(30))), True)
    await turns()
    gate = store.hold("find_time")
    slow.spawn(slow.logs.retention.check())
    await turns()
    log.append(view(batch("new")), True)
    await turns()
    assert log.high_watermark == 2
    gate.set()
    await turns()
    assert log.start == 1


async def test_a_batch_that_the_store_does_not_find_by_its_time_stays() -> None:
    """A store's search may miss what is there; a batch's own header decides what goes."""

    class Blind(MemoryStore):
        async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
            return None

    kit = await a_kit(Blind())
    log = await kit.log(retention_ms=str(10 * SECOND))
    assert await kept(kit, log, ago(30), ago(20), ago(5), None, ago(20)) == 4
    await kit.clock.advance(20)
    assert await kept(kit, log) == 10
    await kit.close()


async def test_nothing_is_taken_away_while_the_store_looks_for_what_is_fresh(
    slow: Kit, store: SlowStore
) -> None:
    log = await slow.log(retention_ms=str(10 * SECOND))
    store.patient = False
    log.append(view(batch("old", time=ago(30))), True)
    log.append(view(batch("new")), True)
    await turns()
    gate = store.hold("find_time")
    slow.spawn(slow.logs.retention.check())
    await turns()
    slow.spawn(log.trim(2))
    await turns()
    assert "trim" not in store.calls
    gate.set()
    await turns()
    assert log.start == 2


async def test_a_store_with_its_own_retention_is_left_alone() -> None:
    class Native(MemoryStore):
        def capabilities(self, topic: Topic | None = None) -> Capabilities:
            native = topic is not None and topic.name == "native"
            return Capabilities(immediate=True, native_retention=native)

    kit = await a_kit(Native())
    for name, start in (("native", 0), ("plain", 2)):
        log = await kit.log(name, retention_ms=str(10 * SECOND))
        assert await kept(kit, log, ago(30)) == start
    await kit.close()


async def test_a_log_that_fails_is_reported_and_the_others_go_on() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    logs = [await kit.log(name, retention_ms="1000") for name in ("a", "b", "c")]
    for log in logs:
        log.append(view(batch("v", time=ago(30))), True)
    store.fail("trim", RuntimeError("disk"))
    with pytest.raises(PartlyFailed, match=r"1 partition\(s\), as"):
        await kit.logs.retention.check()
    assert sorted(log.start for log in logs) == [0, 1, 1]
    await kit.logs.retention.check()
    assert [log.start for log in logs] == [1, 1, 1]
    await kit.close()


async def test_a_topic_deleted_meanwhile_is_no_failure(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    log = await kit.log(retention_ms="1000")
    log.append(view(batch("v", time=ago(30))), True)
    await kit.catalog.delete("t")
    await kit.logs.retention.check()
    assert caplog.text == ""


class TrimmedStore(MemoryStore):
    """Somebody deletes records before the next read of a log."""

    log: PartitionLog | None = None

    async def read(self, tp: TopicPartition, offset: int, max_bytes: int) -> Sequence[Run]:
        log, self.log = self.log, None
        if log is not None:
            await log.trim(offset + 3)
        return await super().read(tp, offset, max_bytes)


async def test_records_that_are_deleted_during_the_look_are_no_failure() -> None:
    store = TrimmedStore()
    kit = await a_kit(store)
    log = await kit.log(retention_bytes="300")
    store.log = log
    assert await kept(kit, log, *[ago(1)] * 8) == 3
    assert await kept(kit, log) > 3, "the next look goes on from there"
    await kit.close()


async def test_an_offset_that_the_store_has_not_is_one_where_nobody_deletes_anything() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    log = await kit.log(retention_bytes="300")
    store.fail("read", OffsetOutOfRange("no"))
    with pytest.raises(PartlyFailed, match="1 partition"):
        await kept(kit, log, *[ago(1)] * 8)
    await kit.close()


async def test_others_get_their_turn_within_ten_milliseconds(kit: Kit) -> None:
    state = await kit.topic("t", 20, retention_bytes="0")
    for log in state.partitions:
        await log.open()
        for _ in range(1000):
            log.append(view(batch("v")), True)
    async with longest_turn() as longest:
        await kit.logs.retention.check()
    assert all(log.start == 1000 for log in state.partitions)
    assert longest.seconds < 0.05, "10 ms, and room for a slow machine"
