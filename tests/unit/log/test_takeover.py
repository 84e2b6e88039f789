"""Another gateway takes a log over, or a store speaks, between two steps of the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from broker_kit import (
    Kit,
    NumberingStore,
    SlowStore,
    a_kit,
    altered,
    batch,
    done,
    numbered,
    turns,
    view,
    waiting,
)
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaStorageError, NotLeaderOrFollower
from kgw_core.log.producers import Appended
from kgw_core.log.snapshots import packed, unpacked
from kgw_core.log.waiting import WaitingFetch
from kgw_core.records import iter_batches
from kgw_core.spi.storage import Capabilities, Fenced, Run, Topic, TopicPartition
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio

P = 7


@pytest.fixture
def kit(slow: Kit) -> Kit:
    return slow


class TestUnknownOutcomes:
    async def test_what_another_leader_has_deleted_is_not_taken_for_it(
        self, kit: Kit, store: SlowStore
    ) -> None:
        """The append never landed. Another gateway has led since, and what it wrote at these offsets is
        deleted: a log that starts behind the append does not say that it was stored."""
        log = await kit.log()
        sent = waiting(log.append(view(batch("a")), False))
        held = await store.arrived()
        await store.inner.fence(log.tp, 5)
        other = await (await a_kit(store.inner)).log()
        other.append(view(batch("x", "y")), False)
        await other.trim(2)
        held.fail(OSError("lost"), landed=False)
        await turns()
        with pytest.raises(NotLeaderOrFollower):
            done(sent)

    async def test_a_first_batch_that_another_leader_was_sent_again_does_not_tell_for_the_rest(
        self, kit: Kit, store: SlowStore
    ) -> None:
        """Two clients wrote in one append, which never landed. One of them has asked the next leader."""
        log = await kit.log()
        queued = [waiting(log.append(view(batch("x")), False))]
        held = await store.arrived()
        sent = [
            waiting(log.append(view(numbered(P, 0)), False)),
            waiting(log.append(view(batch("b")), False)),
        ]
        held.release()
        await turns()
        assert done(queued[0]) == Appended(0)
        held = await store.arrived()
        assert len(held.batches) == 2
        other = await (await a_kit(store.inner)).log()
        other.append(view(numbered(P, 0)), False)
        held.fail(OSError("lost"), landed=False)
        await turns()
        for each in sent:
            with pytest.raises(NotLeaderOrFollower):
                done(each)

    async def test_a_batch_is_found_below_what_others_have_written_since(self) -> None:
        """The store numbers records, and has told of more before it failed: the high watermark lies behind
        the batch."""
        store = NumberingStore()
        kit = await a_kit(store)
        kit.start_writers()
        log = await kit.log()
        append_many = store.append_many

        async def fails(appends: Any) -> Any:
            await append_many(appends)
            kit.events.grown(log.tp, 1)
            raise OSError("lost")

        store.append_many = fails  # type: ignore[method-assign]
        sent = waiting(log.append(view(numbered(P, 0)), False))
        await turns()
        assert done(sent) == Appended(0)
        await kit.close()

    async def test_a_store_may_put_another_base_timestamp_under_log_append_time(self) -> None:
        """Rule 8 lets it where it does not preserve batches: it is the same batch all the same."""

        class Restamping(MemoryStore):
            def capabilities(self, topic: Topic | None = None) -> Capabilities:
                return replace(super().capabilities(topic), preserves_batches=False)

            def read_now(
                self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
            ) -> list[Run]:
                runs = super().read_now(tp, offset, max_bytes, below)
                found = [each for run in runs for each in iter_batches(run.data)]
                return [
                    Run(
                        each.base_offset,
                        each.next_offset,
                        altered(bytearray(each.data), base_timestamp=each.max_timestamp),
                    )
                    for each in found
                ]

        store = FaultyStore(Restamping())
        kit = await a_kit(store)
        log = await kit.log(message_timestamp_type="LogAppendTime")
        store.fail("append", OSError("lost"), late=True)
        sent = waiting(log.append(view(batch("a", time=1_600_000_000_000)), False))
        assert (await sent.wait()).base_offset == 0
        await kit.close()


class TestStoresThatSpeak:
    async def test_what_is_told_while_a_log_opens_counts(self, kit: Kit, store: SlowStore) -> None:
        """Others append after the log was led, and before it is open: nobody tells that again."""
        store.patient = False
        first = await kit.log()
        first.append(view(batch("a")), False)
        await turns()
        kit.events.lost(first.tp, -1)
        go = store.hold("read")
        kit.spawn(first.open())
        await turns()
        assert not first.ready
        kit.events.grown(first.tp, 3)
        kit.events.committed(first.tp, 2)
        go.set()
        await turns()
        assert first.ready
        assert first.high_watermark == 3

    async def test_a_snapshot_leaves_out_what_may_lie_below_the_high_watermark(self) -> None:
        """A store that numbers records tells that the log has grown before it answers the append: opening
        has to read that batch, of which the snapshot knows nothing."""
        store = NumberingStore()
        kit = await a_kit(store)
        kit.start_writers()
        log = await kit.log()
        append_many = store.append_many
        answer = anyio.Event()

        async def slow(appends: Any) -> Any:
            bases = await append_many(appends)
            kit.events.grown(log.tp, (await store.inner.bounds(log.tp)).end)
            await answer.wait()
            return bases

        log.append(view(numbered(P, 0)), False)
        await turns()
        store.append_many = slow  # type: ignore[method-assign]
        log.append(view(numbered(P, 1)), False)
        await turns()
        assert log.high_watermark == 2
        data = await packed(log.producers, log.settled_below)
        assert data is not None
        producers, offset = unpacked(data)
        assert (producers.get(P).last_sequence, offset) == (0, 1)  # type: ignore[union-attr]
        answer.set()
        await turns()
        assert log.settled_below == 2
        await kit.close()


class TestLost:
    async def test_fetches_that_wait_are_told_when_an_append_is_fenced(
        self, kit: Kit, store: SlowStore
    ) -> None:
        log = await kit.log()
        completed: list[bool] = []
        WaitingFetch([log], 1, 60, lambda: completed.append(True), kit.clock, kit.logs.purgatory)
        log.append(view(batch("a")), False)
        (await store.arrived()).fail(Fenced(log.tp, 3))
        await turns()
        assert completed

    async def test_nothing_that_a_closed_log_knew_of_producers_counts_when_it_was_lost(
        self, kit: Kit, store: SlowStore
    ) -> None:
        """A failed append has closed it. Then another gateway led, took more of the producer, and deleted
        that."""
        log = await kit.log()
        store.patient = False
        log.append(view(numbered(P, 0)), False)
        await turns()
        store.patient = True
        failed = waiting(log.append(view(numbered(P, 1)), False))
        (await store.arrived()).fail(KafkaStorageError("not now"))
        store.patient = False
        await turns()
        with pytest.raises(KafkaStorageError):
            done(failed)
        other = await (await a_kit(store.inner)).log()
        for sequence in (1, 2):
            other.append(view(numbered(P, sequence)), False)
        await other.trim(3)
        kit.events.lost(log.tp, 5)
        await log.open()
        assert log.producers.get(P) is None

    async def test_what_is_told_late_of_an_earlier_leadership_closes_nothing(
        self, kit: Kit, store: SlowStore
    ) -> None:
        """Another gateway has led in epoch 3, this one leads in 4 since."""
        log = await kit.log()
        await store.inner.fence(log.tp, 4)
        kit.events.lost(log.tp, 3)
        store.patient = False

        def epoch_of(tp: TopicPartition) -> int:
            return 4

        store.leader_epoch = epoch_of  # type: ignore[method-assign]
        await log.open()
        assert log.leader_epoch == 4
        kit.events.lost(log.tp, 3)
        assert log.ready
        kit.events.lost(log.tp, 5)
        assert not log.ready
