"""Long polls: woken by appends and changes, ended by time, never left behind."""

from __future__ import annotations

import pytest
from broker_kit import Kit, SlowStore, a_kit, batch, turns, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaError, KafkaStorageError
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch
from kgw_core.pending import Pending
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio


class Poll:
    """A waiting fetch that counts how often it was completed."""

    def __init__(self, kit: Kit, *logs: PartitionLog, missing: int = 1, seconds: float = 1) -> None:
        self.kit = kit
        self.logs = logs
        self.completed = 0
        self.fetch = WaitingFetch(logs, missing, seconds, self.complete, kit.clock, kit.logs.purgatory)

    def complete(self) -> None:
        self.completed += 1

    def left_nothing(self) -> bool:
        return (
            not any(log.waiting for log in self.logs)
            and not self.kit.logs.purgatory.waiting
            and not self.kit.clock.waiting
        )


async def test_an_append_to_any_of_its_logs_completes_it_after_the_turn(kit: Kit) -> None:
    await kit.topic(partitions=2)
    first, second = await kit.log(), await kit.log(partition=1)
    poll = Poll(kit, first, second)
    second.append(view(batch("a")), False)
    assert poll.completed == 0  # the producer's answer goes first
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_bytes_of_all_its_logs_count_together(kit: Kit) -> None:
    await kit.topic(partitions=2)
    logs = [await kit.log(), await kit.log(partition=1)]
    size = len(batch("a"))
    poll = Poll(kit, *logs, missing=3 * size)
    for log in (logs[0], logs[1]):
        log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 0
    logs[0].append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1


async def test_time_completes_it_once(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log, seconds=2)
    await kit.clock.advance(1.9)
    assert poll.completed == 0
    await kit.clock.advance(0.2)
    assert poll.completed == 1
    log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_one_that_was_left_is_never_completed_even_if_it_was_due(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log)
    log.append(view(batch("a")), False)
    assert poll.fetch.leave() is True
    assert poll.fetch.leave() is False
    await turns()
    await kit.clock.advance(9)
    assert poll.completed == 0
    assert poll.left_nothing()


async def test_many_appends_of_one_turn_complete_it_once(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log)
    for _ in range(5):
        log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1


async def test_deletion_and_trimming_complete_it(kit: Kit) -> None:
    log = await kit.log()
    log.append(view(batch("a")), False)
    poll = Poll(kit, log, missing=10_000)
    await log.trim(1)
    await turns()
    assert poll.completed == 1
    poll = Poll(kit, log, missing=10_000)
    await kit.catalog.delete("t")
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_draining_completes_all(kit: Kit) -> None:
    log = await kit.log()
    polls = [Poll(kit, log, missing=10_000) for _ in range(3)]
    kit.logs.purgatory.finish_all()
    assert [poll.completed for poll in polls] == [1, 1, 1]
    assert polls[0].left_nothing()


class Seen:
    """Watches a log. ``told`` is what it was told since it was asked last."""

    def __init__(self, log: PartitionLog) -> None:
        self.log = log
        self.told: list[str] = []
        log.waiting[self] = "key"
        self.state = self.now()

    def now(self) -> tuple[object, ...]:
        log = self.log
        return log.ready, log.high_watermark, log.start, log.leader_epoch, log.topic.deleted

    def appended(self, size: int, key: str) -> None:
        self.told.append(f"appended to {key}")

    def changed(self, key: str) -> None:
        self.told.append(f"changed {key}")

    def closed(self, key: str) -> None:
        self.told.append(f"closed {key}")

    def news(self) -> list[str]:
        """The changes that it was told. A ready log changes nothing that readers see without telling."""
        told, self.told = self.told, []
        before, self.state = self.state, self.now()
        assert told or self.state == before or not before[0]
        return told


@pytest.mark.parametrize("slow", [False, True])
async def test_whatever_readers_see_of_a_log_it_tells_its_watchers(slow: bool) -> None:
    """Large fetch sessions read only logs that have told them something."""
    store = SlowStore() if slow else FaultyStore(MemoryStore())
    kit = await a_kit(store)
    kit.start_writers()
    await kit.topic()
    log = await kit.log()
    await log.open()
    seen = Seen(log)

    async def append(error: KafkaError | None = None) -> None:
        if not slow and error is not None:
            store.fail("append", error)
            with pytest.raises(KafkaStorageError):
                log.append(view(batch("a")), False)
            return
        pending = log.append(view(batch("a")), False)
        if isinstance(store, SlowStore):
            held = await store.arrived()
            held.release() if error is None else held.fail(error)
        await turns()
        assert not isinstance(pending, Pending) or pending.done

    await append()
    assert seen.news() == ["appended to key"]
    await log.trim(1)
    assert seen.news() == ["changed key"]
    log.raise_high_watermark(1)
    assert seen.news() == []
    await append(KafkaStorageError("no luck"))
    assert not log.ready
    assert seen.news() == ["closed key"]
    await log.open()
    assert seen.news() == []
    log.raise_high_watermark(3)
    assert seen.news() == ["changed key"]
    log.lose(4)
    assert not log.ready
    assert seen.news() == ["changed key"]
    await kit.catalog.delete("t")
    assert seen.news() == ["changed key"]
    kit.logs.writers.stop()
    await kit.close()
