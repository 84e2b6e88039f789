"""Appends whose outcome is not known: nobody is told anything before the store has said what it has."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
from broker_kit import (
    Kit,
    NumberingStore,
    SlowStore,
    a_kit,
    batch,
    done,
    numbered,
    turns,
    values_of,
    view,
    waiting,
)
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import (
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    UnknownTopicOrPartition,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.log.resolving import FIRST_DELAY, LONGEST_DELAY
from kgw_core.records import Codec
from kgw_core.spi.storage import Batch, Capabilities, Topic, TopicPartition
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio

P = 7


@pytest.fixture
def kit(slow: Kit) -> Kit:
    return slow


def send(log: PartitionLog, sequence: int, count: int = 1) -> Any:
    return log.append(view(numbered(P, sequence, count)), False)


async def stored(log: PartitionLog) -> list[bytes | None]:
    return values_of(await log.read(log.start, 1 << 20))


@pytest.mark.parametrize("landed", [True, False])
async def test_nobody_is_answered_while_the_store_cannot_say(
    kit: Kit, store: SlowStore, landed: bool
) -> None:
    log = await kit.log()
    sent = [send(log, 0, 2)]
    held = await store.arrived()
    sent.append(send(log, 2))  # waits behind
    store.fail("bounds", OSError("no answer"), times=2)
    store.fail("read", OSError("no answer"), times=1)
    held.fail(OSError("lost"), landed=landed)
    await turns()
    again = [send(log, 0, 2), send(log, 2)]
    assert again == sent, "a retry waits for what is under way"
    store.patient = False
    later = send(log, 3)
    for seconds in (FIRST_DELAY, 2 * FIRST_DELAY):
        assert not any(each.done for each in (*sent, later))
        await kit.clock.advance(seconds)
    if landed:  # that took a read, too
        assert not any(each.done for each in (*sent, later))
        await kit.clock.advance(4 * FIRST_DELAY)
        assert [done(each).base_offset for each in (*sent, later)] == [0, 2, 3]
        assert await stored(log) == [b"v0", b"v1", b"v2", b"v3"]
    else:
        for each in (*sent, later):
            with pytest.raises(KafkaStorageError):
                done(each)
        await log.open()
        assert await stored(log) == []


async def test_questions_become_rarer_but_do_not_end(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    sent = send(log, 0)
    store.fail("bounds", OSError("no answer"), times=50)
    (await store.arrived()).fail(OSError("lost"), landed=True)
    await turns()
    asked = store.calls.count("bounds")
    for _ in range(240):
        await kit.clock.advance(0.25)
    rarer = store.calls.count("bounds") - asked
    assert 60 / LONGEST_DELAY - 2 < rarer < 60 / LONGEST_DELAY + 8
    assert not sent.done
    for _ in range(240):
        await kit.clock.advance(0.25)
    assert done(sent) == Appended(0)


async def test_what_others_have_written_is_not_taken_for_it(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    sent = send(log, 0)
    held = await store.arrived()
    other = await (await a_kit(store.inner)).log()
    other.append(view(batch("somebody else's")), False)
    held.fail(OSError("lost"))
    await turns()
    with pytest.raises(NotLeaderOrFollower):
        done(sent)


async def test_a_topic_that_is_deleted_meanwhile(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    sent = [send(log, 0)]
    held = await store.arrived()
    sent.append(send(log, 1))
    store.fail("bounds", OSError("no answer"))
    held.fail(OSError("lost"))
    await turns()
    kit.spawn(kit.catalog.delete("t"))
    await turns()
    with pytest.raises(UnknownTopicOrPartition):
        done(sent[1])
    assert not sent[0].done
    await kit.clock.advance(FIRST_DELAY)
    with pytest.raises(UnknownTopicOrPartition):
        done(sent[0])


async def test_the_end_waits_for_it_and_for_what_is_queued_behind(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    sent = [send(log, 0)]
    held = await store.arrived()
    sent.append(send(log, 1))
    store.fail("bounds", OSError("no answer"))
    held.fail(OSError("lost"), landed=True)
    store.patient = False
    await turns()
    ended = anyio.Event()

    async def drain() -> None:
        await kit.logs.drained()
        ended.set()

    kit.spawn(drain())
    await turns()
    assert not ended.is_set()
    await kit.clock.advance(FIRST_DELAY)
    assert ended.is_set()
    assert [done(each).base_offset for each in sent] == [0, 1]


async def test_a_store_that_gives_too_few_outcomes_has_said_nothing(
    kit: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await kit.log()

    async def lands_and_says_nothing(appends: Any) -> list[Sequence[int] | Exception]:
        await store.inner.append_many(appends)
        return []

    monkeypatch.setattr(store, "append_many", lands_and_says_nothing)
    sent = send(log, 0)
    await turns()
    assert done(sent) == Appended(0)


@pytest.mark.parametrize("landed", [True, False])
async def test_a_store_that_numbers_records_is_searched_for_it(landed: bool) -> None:
    store = NumberingStore()
    kit = await a_kit(store)
    kit.start_writers()
    log = await kit.log()
    append_many = store.append_many

    async def foreign(*values: str) -> None:
        (await (await a_kit(store.inner)).log()).append(view(batch(*values)), False)

    async def fails(appends: Any) -> list[Sequence[int] | Exception]:
        await foreign("x", "y")
        if landed:
            await append_many(appends)
        await foreign("z")
        raise OSError("lost")

    store.append_many = fails  # type: ignore[method-assign]
    sent = send(log, 0)
    await turns()
    if landed:
        assert done(sent) == Appended(2)
    else:
        with pytest.raises(KafkaStorageError):
            done(sent)
    await kit.close()


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("landed", [True, False])
async def test_a_batch_with_the_same_header_and_other_records_is_not_taken_for_it(
    numbers: bool, landed: bool
) -> None:
    """The store makes batches anew, so there is no CRC to compare, and the producer is not idempotent."""
    store = NumberingStore() if numbers else SlowStore()
    capabilities = replace(store.capabilities(), preserves_batches=False)
    store.capabilities = lambda topic=None: capabilities  # type: ignore[method-assign]
    kit = await a_kit(store)
    kit.start_writers()
    log = await kit.log()
    other = await (await a_kit(store.inner)).log()

    async def fails(appends: Any) -> list[Sequence[int] | Exception]:
        if numbers or not landed:
            other.append(view(batch("x", codec=Codec.GZIP)), False)
        if landed:
            other.append(view(batch("a", codec=Codec.GZIP)), False)
        raise OSError("lost")

    store.append_many = fails  # type: ignore[method-assign]
    sent = log.append(view(batch("a")), False)
    await until_done(sent)
    if landed:
        assert done(sent) == Appended(1 if numbers else 0)
    else:
        with pytest.raises(KafkaStorageError if numbers else NotLeaderOrFollower):
            done(sent)
    await kit.close()


async def until_done(sent: Any) -> None:
    """A thread compares the records."""
    with suppress(KafkaError):
        await sent.wait()


@pytest.mark.parametrize("numbers", [True, False])
async def test_what_was_deleted_before_the_store_could_say(numbers: bool) -> None:
    """By an engine that sees to retention itself."""
    store = NumberingStore() if numbers else SlowStore()
    kit = await a_kit(store)
    kit.start_writers()
    log = await kit.log()
    append_many = store.append_many

    async def fails(appends: Any) -> list[int | Exception]:
        await append_many(appends)
        await store.inner.trim(log.tp, 1)
        raise OSError("lost")

    store.patient = False
    store.append_many = fails  # type: ignore[method-assign]
    sent = send(log, 0)
    await turns()
    if numbers:  # it may have been somebody else's, and the client sends it again
        with pytest.raises(KafkaStorageError):
            done(sent)
    else:
        assert done(sent) == Appended(0)
    await kit.close()


async def test_it_stands_in_health_while_the_store_cannot_say(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    send(log, 0)
    store.fail("bounds", OSError("no answer"))
    (await store.arrived()).fail(OSError("lost"), landed=True)
    await turns()
    failing = kit.logs.background.health.failing
    assert list(failing) == ["finding out what was stored of t-0"]
    await kit.clock.advance(FIRST_DELAY)
    assert not failing


async def test_a_store_that_never_waits_takes_nothing_before_what_is_queued() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    log = await kit.log()
    store.fail("append", OSError("lost"), late=True)
    sent = [send(log, 0), send(log, 1)]
    sent[0].then(lambda _: sent.append(send(log, 2)))  # before the second is handed over
    await turns()
    assert [done(each).base_offset for each in sent] == [0, 1, 2]
    assert await stored(log) == [b"v0", b"v1", b"v2"]
    assert send(log, 3) == Appended(3), "and then it never waits again"
    await kit.close()


# -- what is known of producers after a failure


@pytest.mark.parametrize("trimmed", [True, False])
@pytest.mark.parametrize("lost", [1, 5])
async def test_what_was_acknowledged_is_known_again_though_it_was_deleted(
    kit: Kit, store: SlowStore, trimmed: bool, lost: int
) -> None:
    """``lost`` appends fail: with five, all that a producer may have in flight."""
    log = await kit.log()
    store.patient = False
    for sequence in range(6):
        send(log, sequence)
    await turns()
    if trimmed:
        await log.trim(6)
    store.patient = True
    sent = [send(log, 6)]
    held = await store.arrived()
    sent += [send(log, 6 + number) for number in range(1, lost)]
    held.fail(KafkaStorageError("not now"))
    store.patient = False
    await turns()
    for each in sent:
        with pytest.raises(KafkaStorageError):
            done(each)
    await log.open()
    if lost == 1 or not trimmed:
        assert send(log, 2) == Appended(2)
    assert send(log, 5) == Appended(5)
    again = send(log, 6)
    await turns()
    assert done(again) == Appended(6)
    assert await stored(log) == [f"v{number}".encode() for number in range(6 if trimmed else 0, 7)]


async def test_a_producer_that_began_a_new_epoch_is_known_by_the_last_one(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    store.patient = False
    send(log, 0)
    await turns()
    await log.trim(1)
    store.patient = True
    log.append(view(numbered(P, 0, epoch=1)), False)
    (await store.arrived()).fail(KafkaStorageError("not now"))
    store.patient = False
    await turns()
    await log.open()
    assert send(log, 0) == Appended(0)
    with pytest.raises(KafkaStorageError, match="0 was refused and has to come first"):
        log.append(view(numbered(P, 1, epoch=1)), False)


async def test_nothing_of_before_counts_where_others_have_written(kit: Kit, store: SlowStore) -> None:
    log = await kit.log()
    store.patient = False
    send(log, 0)
    await turns()
    other = await (await a_kit(store.inner)).log()
    other.append(view(numbered(P, 1)), False)
    await other.trim(2)
    sent = send(log, 1)
    await turns()
    with pytest.raises(NotLeaderOrFollower):
        done(sent)
    await log.open()
    assert len(log.producers) == 0


# -- trims


@pytest.mark.parametrize("says", [True, False])
async def test_a_trim_that_failed_may_have_been_done(kit: Kit, store: SlowStore, says: bool) -> None:
    """Else a consumer is told to begin where the store no longer has anything, again and again."""
    log = await kit.log()
    store.patient = False
    send(log, 0, 3)
    await turns()
    store.fail("trim", OSError("lost"), late=True)
    if not says:
        store.fail("bounds", OSError("no answer"))
    with pytest.raises(KafkaStorageError):
        await log.trim(2)
    assert log.start == (2 if says else 0)
    assert await log.trim(2) == 2


# -- each partition for itself


class EachForItself(SlowStore):
    """Commits each partition for itself; those in ``slow`` wait for the test."""

    name = "each-for-itself"

    def __init__(self) -> None:
        super().__init__()
        self.slow: dict[int, anyio.Event] = {}
        self.under_way: list[int] = []

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(commit_scope="partition")

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        assert tp.partition not in self.under_way
        self.under_way.append(tp.partition)
        try:
            if tp.partition in self.slow:
                await self.slow[tp.partition].wait()
            await anyio.lowlevel.checkpoint()
            return await super().append(tp, batches, epoch)
        finally:
            self.under_way.remove(tp.partition)


async def test_slow_partitions_hold_up_no_other() -> None:
    store = EachForItself()
    kit = await a_kit(store)
    kit.start_writers()
    await kit.topic(partitions=20)
    logs = [await kit.log(partition=number) for number in range(20)]
    store.slow = {number: anyio.Event() for number in range(19)}
    for _ in range(3):
        sent = [log.append(view(batch("v")), False) for log in logs]
        await turns()
        assert [each.done for each in sent] == [False] * 19 + [True]
    for event in store.slow.values():
        event.set()
    await turns()
    assert [log.high_watermark for log in logs] == [3] * 20
    await kit.logs.drained()
    await kit.close()


async def test_the_end_waits_for_each() -> None:
    store = EachForItself()
    kit = await a_kit(store)
    log = await kit.log()
    store.slow = {0: anyio.Event()}
    sent = [waiting(log.append(view(batch("v")), False)) for _ in range(3)]
    await turns()
    ended = anyio.Event()

    async def drain() -> None:
        await kit.logs.drained()
        ended.set()

    kit.spawn(drain())
    await turns()
    assert not ended.is_set()
    store.slow[0].set()
    await turns()
    assert ended.is_set()
    assert [done(each).base_offset for each in sent] == [0, 1, 2]
    await kit.close()
