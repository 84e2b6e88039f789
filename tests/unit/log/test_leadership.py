"""A log that this gateway leads no more, and what a store and a ledger tell by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from broker_kit import Kit, SlowStore, a_kit, batch, done, numbered, turns, values_of, view, waiting
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import NotLeaderOrFollower, OffsetOutOfRange
from kgw_core.log.events import CoreEvents
from kgw_core.log.ledger import CountingLedger
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.spi.ledger import Leadership, NotLeader
from kgw_core.spi.storage import Fenced, OffsetConflict, TopicPartition
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio


class Ledger(CountingLedger):
    """``told``: the epochs of which it heard that others lead in them. ``elsewhere``: another gateway leads.
    ``behind``: offsets that are stored and not committed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []
        self.led = 0
        self.elsewhere = False
        self.behind = 0

    async def lead(self, tp: TopicPartition) -> Leadership:
        if self.elsewhere:
            raise NotLeader(tp)
        self.led += 1
        return await super().lead(tp)

    def reserve(self, tp: TopicPartition, span: int) -> int:
        if self.elsewhere:
            raise NotLeader(tp)
        return super().reserve(tp, span)

    def committed(self, tp: TopicPartition, end: int) -> int:
        return end - self.behind

    def fenced(self, tp: TopicPartition, epoch: int) -> None:
        self.told.append(epoch)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def kit(store: SlowStore, ledger: Ledger) -> AsyncIterator[Kit]:
    made = await a_kit(store, ledger=ledger)
    made.start_writers()
    yield made
    await made.close()


def append(log: PartitionLog, value: str) -> Pending[Appended]:
    return waiting(log.append(view(batch(value)), False))


def not_leader(outcome: Pending[Appended]) -> bool:
    with pytest.raises(NotLeaderOrFollower):
        outcome.result()
    return True


@pytest.mark.parametrize(
    ("refusal", "epoch"), [(Fenced(None, 7), 7), (OffsetConflict(0, 3), -1)], ids=["fenced", "conflict"]
)
async def test_a_refused_append_tells_everybody_and_the_ledger(
    kit: Kit, store: SlowStore, ledger: Ledger, refusal: Exception, epoch: int
) -> None:
    """Queued batches are refused, too. The next request opens the log, which leads it again."""
    log = await kit.log()
    pending = [append(log, "a")]
    held = await store.arrived()
    pending.append(append(log, "b"))
    held.fail(refusal)
    await turns()
    assert all(map(not_leader, pending))
    assert not log.ready
    assert (ledger.told, ledger.led) == ([epoch], 1)
    store.patient = False
    again = append(log, "c")
    await turns()
    assert done(again) == Appended(0)
    assert ledger.led == 2


async def test_an_immediate_store_is_fenced_as_well(ledger: Ledger) -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store, ledger=ledger)
    log = await kit.log()
    store.fail("append", Fenced(log.tp, 4))
    with pytest.raises(NotLeaderOrFollower):
        log.append(view(batch("a")), False)
    assert ledger.told == [4] and not log.ready


async def test_a_ledger_that_has_lost_the_log_gives_out_no_offsets(kit: Kit, ledger: Ledger) -> None:
    """That is no fault of the gateway, and what is queued before it is told, too."""
    log = await kit.log()
    pending = append(log, "a")
    held = pending  # it departs in the next turn
    ledger.elsewhere = True
    with pytest.raises(NotLeaderOrFollower):
        log.append(view(batch("b")), False)
    assert not log.ready
    assert not_leader(held)
    later = append(log, "c")
    await turns()
    assert not_leader(later)


async def test_trims_and_replacements_are_fenced_as_well(kit: Kit, store: SlowStore, ledger: Ledger) -> None:
    store.patient = False
    log = await kit.log()
    append(log, "a")
    await turns()
    store.fail("trim", Fenced(log.tp, 5))
    with pytest.raises(NotLeaderOrFollower):
        await log.trim(1)
    assert ledger.told == [5] and not log.ready and log.start == 0


async def test_compaction_is_fenced_as_well(store: SlowStore, ledger: Ledger) -> None:
    store.patient = False
    kit = await a_kit(store, ledger=ledger)
    kit.start_writers()
    log = await kit.log(cleanup_policy="compact", min_cleanable_dirty_ratio="0.0")
    for value in "abcd":
        append(log, value)
        await turns()
    store.fail("replace", Fenced(log.tp, 6))
    await kit.logs.compaction.check()  # which is no failure of it
    assert ledger.told == [6] and not log.ready
    await kit.close()


class TestLost:
    """Events of the store and of the ledger."""

    async def test_who_waits_is_told_at_once_and_what_is_in_flight_when_the_store_says(
        self, kit: Kit, store: SlowStore, ledger: Ledger
    ) -> None:
        """The append was made under the old leadership: where it has landed, it is acknowledged."""
        log = await kit.log()
        flying = append(log, "a")
        held = await store.arrived()
        queued = append(log, "b")
        kit.events.lost(log.tp, 3)
        assert ledger.told == [3] and not log.ready
        assert not_leader(queued)
        assert not flying.done
        held.release()
        await turns()
        assert done(flying) == Appended(0)
        assert not log.ready

    async def test_a_log_is_not_led_anew_before_what_is_in_flight_is_known(
        self, kit: Kit, store: SlowStore, ledger: Ledger
    ) -> None:
        """Else its outcome would be taken for one of the new leadership."""
        log = await kit.log()
        flying = append(log, "a")
        held = await store.arrived()
        kit.events.lost(log.tp, 3)
        again = append(log, "b")
        await turns()
        assert ledger.led == 1
        store.patient = False
        held.fail(Fenced(log.tp, 3))
        await turns()
        assert not_leader(flying)
        assert done(again) == Appended(0)
        assert ledger.led == 2 and log.ready

    async def test_a_log_that_is_lost_while_it_is_opened_is_not_served(
        self, kit: Kit, store: SlowStore, ledger: Ledger
    ) -> None:
        topic = await kit.topic()
        log = topic.partitions[0]
        go = store.hold("bounds")
        refused = append(log, "a")
        await turns()
        kit.events.lost(log.tp, 9)
        go.set()
        await turns()
        assert not_leader(refused)
        assert not log.ready
        store._gates.clear()
        await log.open()
        assert log.ready

    async def test_batches_of_which_one_is_refused_are_not_sent_again_under_another_leadership(
        self, kit: Kit, store: SlowStore
    ) -> None:
        """An error that is not retriable makes a leader send them one by one; who leads no more does not."""
        log = await kit.log()
        first = append(log, "x")
        await store.arrived()
        flying = [append(log, "a"), append(log, "b")]
        store.held[0].release()
        await turns()
        assert done(first) == Appended(0)
        held = await store.arrived()
        assert len(held.batches) == 2
        kit.events.lost(log.tp, 3)
        held.fail(OffsetOutOfRange("one for good"))
        await turns()
        for each in flying:
            with pytest.raises(OffsetOutOfRange):
                each.result()
        assert store.held == []

    async def test_what_is_stored_late_is_not_kept_as_the_newest_of_the_log(
        self, store: SlowStore, ledger: Ledger
    ) -> None:
        """Others may have written behind it."""
        kit = await a_kit(store, ledger=ledger)
        from kgw_core.log.tail import TailCache

        kit.logs.tails = TailCache(1 << 20)
        kit.start_writers()
        log = await kit.log()
        append(log, "a")
        held = await store.arrived()
        kit.events.lost(log.tp, 3)
        held.release()
        await turns()
        assert kit.logs.tails.read(log.tp, 0, 100) is None
        await kit.close()

    async def test_unknown_partitions_are_no_error(self, kit: Kit) -> None:
        log = await kit.log()
        strange = TopicPartition("t", log.tp.topic_id, 7)
        kit.events.lost(strange, 3)
        kit.events.grown(strange, 3)
        kit.events.committed(strange, 3)
        assert log.ready


async def test_producers_are_read_again_when_a_log_is_led_anew(
    kit: Kit, store: SlowStore, ledger: Ledger
) -> None:
    """Another gateway has taken batches of theirs meanwhile."""
    store.patient = False
    log = await kit.log()
    log.append(view(numbered(7, 0)), False)
    await turns()
    kit.events.lost(log.tp, -1)
    other = await (await a_kit(store.inner)).log()
    other.append(view(numbered(7, 1)), False)
    await log.open()
    assert log.high_watermark == 2
    assert log.append(view(numbered(7, 1)), False) == Appended(1)
    outcome: Any = log.append(view(numbered(7, 2)), False)
    await turns()
    assert done(outcome) == Appended(2)


async def test_a_ledger_may_commit_later_than_the_store_has_stored(
    kit: Kit, store: SlowStore, ledger: Ledger
) -> None:
    """Nothing above the high watermark is read; it rises when the ledger says so."""
    store.patient = False
    log = await kit.log()
    ledger.behind = 2
    pending = [append(log, value) for value in "abc"]
    await turns()
    assert [done(each).base_offset for each in pending] == [0, 1, 2]
    assert log.high_watermark == 1
    assert values_of(await log.read(0, 1 << 20)) == [b"a"]
    kit.events.committed(log.tp, 3)
    assert values_of(await log.read(0, 1 << 20)) == [b"a", b"b", b"c"]
    kit.events.committed(log.tp, 2)
    assert log.high_watermark == 3


class TestTopicsOfOthers:
    """Two gateways on one store; what one does, the other is told of."""

    @pytest.fixture
    async def other(self, store: SlowStore) -> AsyncIterator[Kit]:
        made = await a_kit(store.inner)
        yield made
        await made.close()

    async def seen(self, kit: Kit) -> dict[str, tuple[Any, int, dict[str, str]]]:
        kit.events.topics_changed()
        await turns(40)
        assert not kit.logs.background.health.failing
        topics = kit.catalog.by_name.values()
        assert {state.id_bytes for state in topics} == set(kit.catalog.by_id)
        return {t.name: (t.id, len(t.partitions), dict(t.topic.configs)) for t in topics}

    async def test_what_they_make_change_and_delete(self, kit: Kit, other: Kit) -> None:
        made = await other.topic("theirs", 2)
        assert await self.seen(kit) == {"theirs": (made.id, 2, {})}
        await other.catalog.add_partitions("theirs", 3)
        await other.catalog.set_configs("theirs", {"retention.ms": "1000"})
        assert await self.seen(kit) == {"theirs": (made.id, 3, {"retention.ms": "1000"})}
        assert kit.catalog.by_name["theirs"].configs.retention_ms == 1000
        log = await kit.log("theirs", 2)
        await other.catalog.delete("theirs")
        assert await self.seen(kit) == {}
        assert log.topic.deleted and not log.ready
        assert kit.catalog.partition_count == 0

    async def test_a_topic_that_they_have_made_again_is_another_one(self, kit: Kit, other: Kit) -> None:
        """Of the same name, and of one that only metrics would take for the same."""
        await other.topic("a.b")
        await other.topic("c")
        await self.seen(kit)
        await other.catalog.delete("c")
        await other.catalog.delete("a.b")
        again, like = await other.topic("c"), await other.topic("a_b")
        assert await self.seen(kit) == {"c": (again.id, 1, {}), "a_b": (like.id, 1, {})}
        assert kit.catalog.find("c").id == again.id

    async def test_what_was_read_before_a_change_of_this_gateway_does_not_undo_it(
        self, kit: Kit, other: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The topics are listed as they were, and compared with the catalog after the change."""
        await kit.topic("t")
        listed, topics = anyio.Event(), store.topics

        async def slow() -> Any:
            found = await topics()
            await listed.wait()
            return found

        monkeypatch.setattr(store, "topics", slow)
        kit.events.topics_changed()
        await turns()
        monkeypatch.setattr(store, "topics", topics)
        await kit.catalog.set_configs("t", {"retention.ms": "1000"})
        listed.set()
        await turns()
        assert kit.catalog.by_name["t"].configs.retention_ms == 1000

    async def test_a_change_is_made_anew_of_what_they_have_made_of_it(self, kit: Kit, other: Kit) -> None:
        """Compare-and-set: neither change is lost."""
        await other.topic("t")
        await self.seen(kit)
        await other.catalog.alter("t", lambda configs: {**configs, "retention.ms": "1000"})
        await kit.catalog.alter("t", lambda configs: {**configs, "segment.ms": "5000"})
        assert (await self.seen(other))["t"][2] == {"retention.ms": "1000", "segment.ms": "5000"}


async def test_topics_that_change_before_anybody_listens_are_seen(kit: Kit) -> None:
    """The catalog may have read them already."""
    events, told = CoreEvents(), []
    events.topics_changed()
    events.listen(kit.catalog.partition, lambda: told.append(True))
    assert told == [True]
    events.topics_changed()
    assert told == [True, True]


async def test_nobody_waits_for_ever_for_a_flight_of_a_topic_that_is_deleted(
    kit: Kit, store: SlowStore
) -> None:
    log = await kit.log()
    append(log, "a")
    await store.arrived()
    kit.events.lost(log.tp, 3)
    kit.spawn(kit.catalog.delete("t"))
    await turns()
    with anyio.fail_after(5), pytest.raises(Exception, match="was deleted"):
        await log.open()


async def test_compaction_reads_again_what_another_leader_may_have_compacted(
    store: SlowStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is lost and led anew between reading and replacing: what was read may be there no more."""
    store.patient = False
    kit = await a_kit(store, ledger=ledger)
    kit.start_writers()
    log = await kit.log(cleanup_policy="compact", min_cleanable_dirty_ratio="0.0")
    for value in "abcd":
        append(log, value)
        await turns()
    compaction, replaced = kit.logs.compaction, 0
    left, replace = compaction._cleaned, store.replace

    async def is_led_anew(*arguments: Any) -> Any:
        result = await left(*arguments)
        if log.leader_epoch == 0:
            epoch = (await store.inner.fence(log.tp, 2)).epoch
            monkeypatch.setattr(store, "leader_epoch", lambda tp: epoch)
            # Another leader has taken the first batch away, which this one has in hand.
            await store.inner.replace(log.tp, 0, 0, [], epoch)
            kit.events.lost(log.tp, 1)
            await log.open()
        return result

    async def counting(tp: TopicPartition, first: int, *arguments: Any) -> bool:
        nonlocal replaced
        assert (await store.inner.read(tp, 0, 1))[0].base_offset <= first, "it puts back what is gone"
        replaced += 1
        return await replace(tp, first, *arguments)

    monkeypatch.setattr(compaction, "_cleaned", is_led_anew)
    monkeypatch.setattr(store, "replace", counting)
    await compaction.check()
    assert replaced == 1
    assert values_of(await log.read(0, 1 << 20)) == [b"d"]
    await kit.close()
