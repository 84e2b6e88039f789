"""A batch that was refused for now comes first, before any later batch of its producer."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import anyio
import pytest
from broker_kit import (
    Kit,
    ManualClock,
    SlowStore,
    a_kit,
    altered,
    numbered,
    turns,
    values_of,
    view,
)
from kgw_storage_memory.store import MemoryStore

from kgw_core.background import Background
from kgw_core.errors import (
    CorruptMessage,
    InvalidProducerEpoch,
    KafkaError,
    KafkaStorageError,
    OutOfOrderSequenceNumber,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.log.refused import IN_FLIGHT_MS, LATER_ONLY_MS, RefusedSequences
from kgw_core.pending import Pending
from kgw_core.records import Codec, build_batch
from kgw_core.spi.storage import TopicPartition
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

P, Q = 7, 8


def send(log: PartitionLog, sequence: int, producer: int = P, epoch: int = 0) -> Any:
    """Append one batch; what came of it so far."""
    try:
        return log.append(view(numbered(producer, sequence, epoch=epoch)), False)
    except KafkaError as error:
        return error


async def outcome(sent: Any) -> Any:
    """The outcome in the end: an error or an :class:`Appended`."""
    await turns()
    if not isinstance(sent, Pending):
        return sent
    assert sent.done
    try:
        return sent.result()
    except KafkaError as error:
        return error


async def refused(sent: Any) -> bool:
    """Whether the batch may not come yet."""
    found = await outcome(sent)
    if isinstance(found, KafkaStorageError):
        return str(found).endswith("was refused and has to come first")
    return isinstance(found, OutOfOrderSequenceNumber)


@pytest.fixture
def kit(slow: Kit) -> Kit:
    return slow


class TestWherever:
    """A producer of which the log has nothing: sequence 0 is refused, sequence 1 comes next."""

    async def test_a_failed_append_with_others_in_flight(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        sent = [send(log, 0)]
        held = await store.arrived()
        sent += [send(log, 1), send(log, 2)]
        held.fail(KafkaStorageError("not now"))
        assert [type(await outcome(each)) for each in sent] == [KafkaStorageError] * 3
        store.patient = False
        assert await refused(send(log, 3))
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)
        assert await outcome(send(log, 1)) == Appended(1)

    async def test_an_append_that_certainly_did_not_happen_in_the_end(
        self, kit: Kit, store: SlowStore
    ) -> None:
        log = await kit.log()
        sent = send(log, 0)
        (await store.arrived()).fail(OSError("unknown"))
        assert isinstance(await outcome(sent), KafkaStorageError)
        store.patient = False
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)

    async def test_a_log_that_cannot_be_opened(self, kit: Kit, store: SlowStore) -> None:
        (log,) = (await kit.topic()).partitions
        store.patient = False
        store.fail("bounds", OSError("no"))
        assert isinstance(await outcome(send(log, 0)), KafkaStorageError)
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)

    async def test_no_room_in_the_middle_of_those_that_waited_for_the_log_to_open(
        self, kit: Kit, store: SlowStore
    ) -> None:
        (log,) = (await kit.topic()).partitions
        store.patient = False
        opening = store.hold("bounds")
        budget = kit.limit_budget(100_000)
        sent = [send(log, 0), send(log, 1), send(log, 2)]
        one = budget.used // 3
        full = budget.most + one // 2 - 2 * one
        budget.take(full)  # no room for the first; then the first has given its own back
        opening.set()
        outcomes = [await outcome(each) for each in sent]
        assert [type(each) for each in outcomes] == [KafkaStorageError] * 3
        assert await refused(sent[1]) and await refused(sent[2])
        budget.give(full)
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)
        assert budget.used == 0

    async def test_no_room_and_room_again_while_the_log_opens(self, kit: Kit, store: SlowStore) -> None:
        (log,) = (await kit.topic()).partitions
        store.patient = False
        opening = store.hold("bounds")
        other = send(log, 0, producer=Q)
        kit.logs.context.budget.take(2 << 62)
        assert isinstance(send(log, 0), KafkaStorageError)
        kit.logs.context.budget.give(2 << 62)
        later = send(log, 1)
        opening.set()
        assert await outcome(other) == Appended(0)
        assert await refused(later)
        assert await outcome(send(log, 0)) == Appended(1)
        assert await outcome(send(log, 1)) == Appended(2)

    @pytest.mark.parametrize("fails", [True, False])
    async def test_refused_and_taken_by_turns_while_the_log_opens(
        self, kit: Kit, store: SlowStore, fails: bool
    ) -> None:
        (log,) = (await kit.topic()).partitions
        store.patient = False
        if fails:
            store.fail("bounds", KafkaStorageError("not now"))
        opening = store.hold("bounds")
        sent = []
        for sequence in (0, 1, 1, 2, 2):
            full = len(sent) % 2
            kit.logs.context.budget.take(full << 63)
            sent.append(send(log, sequence))
            kit.logs.context.budget.give(full << 63)
        opening.set()
        outcomes = [type(await outcome(each)) for each in sent]
        if fails:
            assert outcomes == [KafkaStorageError] * 5
            assert await refused(send(log, 1))
            assert await outcome(send(log, 0)) == Appended(0)
        else:
            assert outcomes == [Appended, KafkaStorageError] * 2 + [Appended]
        assert kit.logs.context.budget.used == 0

    @pytest.mark.parametrize("opened", [True, False])
    async def test_no_room(self, kit: Kit, store: SlowStore, opened: bool) -> None:
        (log,) = (await kit.topic()).partitions
        if opened:
            await log.open()
        store.patient = False
        kit.logs.context.budget.take(1 << 62)
        kit.logs.context.budget.take(1 << 62)
        assert isinstance(send(log, 0), KafkaStorageError)
        kit.logs.context.budget.give(1 << 62)
        kit.logs.context.budget.give(1 << 62)
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)

    async def test_a_batch_that_was_damaged_on_its_way(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        store.patient = False
        with pytest.raises(CorruptMessage):
            log.append(view(altered(numbered(P, 0), crc=1)), False)
        assert await refused(send(log, 1))
        assert await outcome(send(log, 0)) == Appended(0)

    async def test_a_store_that_never_waits(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        log = await kit.log()
        store.fail("append", KafkaStorageError("not now"))
        assert isinstance(send(log, 0), KafkaStorageError)
        await log.open()
        assert await refused(send(log, 1))
        assert send(log, 0) == Appended(0)
        await kit.close()


class TestInFlight:
    """Batches that were in flight with the refused one get a retriable error: after
    OUT_OF_ORDER_SEQUENCE_NUMBER librdkafka would begin a new epoch for all partitions."""

    async def failed(self, kit: Kit, store: SlowStore, known: bool) -> PartitionLog:
        """A log that has refused sequence 1. ``known``: it has sequence 0."""
        log = await kit.log()
        if known:
            store.patient = False
            send(log, 0)
            await turns()
            store.patient = True
        sent = send(log, 1)
        (await store.arrived()).fail(KafkaStorageError("not now"))
        assert isinstance(await outcome(sent), KafkaStorageError)
        store.patient = False
        await log.open()
        return log

    @pytest.mark.parametrize("known", [True, False])
    async def test_only_soon_after_the_refusal(self, kit: Kit, store: SlowStore, known: bool) -> None:
        log = await self.failed(kit, store, known)
        assert isinstance(await outcome(send(log, 2)), KafkaStorageError)
        await kit.clock.advance(IN_FLIGHT_MS / 1000 + 1)
        assert isinstance(await outcome(send(log, 2)), OutOfOrderSequenceNumber)
        assert [type(await outcome(send(log, sequence))) for sequence in (1, 2)] == [Appended, Appended]

    async def test_it_does_not_count_as_a_refusal_itself(self, kit: Kit, store: SlowStore) -> None:
        """A client that never sends the refused batch again is told in the end."""
        log = await self.failed(kit, store, known=True)
        for _ in range(IN_FLIGHT_MS // 1000):
            assert isinstance(await outcome(send(log, 2)), KafkaStorageError)
            await kit.clock.advance(1.5)
            if isinstance(await outcome(send(log, 2)), OutOfOrderSequenceNumber):
                return
        raise AssertionError("it goes on")

    async def test_only_later_batches_of_its_epoch(self, kit: Kit, store: SlowStore) -> None:
        log = await self.failed(kit, store, known=True)
        for sent in (send(log, 5, epoch=1), send(log, 2, producer=Q)):
            assert not isinstance(await outcome(sent), KafkaStorageError)
        assert isinstance(await outcome(send(log, 1)), Appended)
        assert isinstance(await outcome(send(log, 3)), OutOfOrderSequenceNumber), "nobody has refused 2"


class TestTopicsThatAreMadeAgain:
    """A producer goes on while its topic is deleted and made again, as librdkafka does."""

    @pytest.mark.parametrize("version", [12, 13])
    async def test_refused_as_there_was_no_such_topic(self, kit: Kit, store: SlowStore, version: int) -> None:
        store.patient = False
        topic_id = uuid4()

        async def produced(sequence: int) -> int:
            data = TopicProduceData(
                "t" if version < 13 else "",
                topic_id.bytes if version >= 13 else ZERO_UUID,
                [PartitionProduceData(1, numbered(P, sequence))],
            )
            response = await kit.ask(ProduceRequest(None, -1, 1000, [data]), version)
            code: int = response.responses[0].partition_responses[0].error_code
            return code

        unknown = (UnknownTopicOrPartition if version < 13 else UnknownTopicId).code
        assert await produced(4) == await produced(5) == unknown
        await kit.catalog.create("t", 1, topic_id=topic_id)
        assert await produced(6) == UnknownTopicOrPartition.code
        await kit.catalog.add_partitions("t", 2)
        assert [await produced(sequence) for sequence in (5, 4, 5)] == [
            KafkaStorageError.code,
            0,
            0,
        ]
        assert not kit.logs.refused.active

    async def test_refused_by_the_topic_before(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        sent = send(log, 4)
        (await store.arrived()).fail(KafkaStorageError("not now"))
        assert isinstance(await outcome(sent), KafkaStorageError)
        await kit.catalog.delete("t")
        log = await kit.log()
        store.patient = False
        assert await refused(send(log, 5))
        assert await outcome(send(log, 4)) == Appended(0)

    async def test_queued_when_the_topic_was_deleted(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        sent = [send(log, 4)]
        held = await store.arrived()
        sent.append(send(log, 5))
        kit.spawn(kit.catalog.delete("t"))
        kit.spawn(kit.topic())
        assert isinstance(await outcome(sent[1]), UnknownTopicOrPartition)
        assert not sent[0].done
        assert "t" not in kit.catalog.by_name, "a topic that takes 5 may not be there before 4 is refused"
        held.fail(UnknownTopicOrPartition("gone"))
        assert isinstance(await outcome(sent[0]), UnknownTopicOrPartition)
        log = await kit.log()
        store.patient = False
        assert await refused(send(log, 5))
        assert await outcome(send(log, 4)) == Appended(0)

    async def test_stored_when_the_topic_was_deleted(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        sent = [send(log, 4)]
        held = await store.arrived()
        sent.append(send(log, 5))
        deleting = store.hold("delete_topic")
        kit.spawn(kit.catalog.delete("t"))
        await turns()
        held.release()
        assert await outcome(sent[0]) == Appended(0)
        deleting.set()
        held = await store.arrived()
        await turns()
        held.fail(UnknownTopicOrPartition("gone"))
        assert isinstance(await outcome(sent[1]), UnknownTopicOrPartition)
        await turns()
        log = await kit.log()
        store.patient = False
        assert await outcome(send(log, 5)) == Appended(0), "4 was acknowledged, and is never sent again"

    async def test_looked_into_when_the_topic_was_deleted(
        self, kit: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.patient = False
        looked = anyio.Event()

        async def in_thread(work: Any, *arguments: Any) -> Any:
            await looked.wait()
            return work(*arguments)

        monkeypatch.setattr("kgw_core.workers.in_thread", in_thread)
        log = await kit.log()
        data = build_batch(
            [(b"k", b"v" * 100, 0)] * 20_000,
            codec=Codec.ZSTD,
            producer_id=P,
            producer_epoch=0,
            base_sequence=4,
        )
        sent = [log.append(view(data), True), send(log, 20_004)]
        kit.spawn(kit.catalog.delete("t"))
        kit.spawn(kit.topic())
        await turns()
        assert "t" not in kit.catalog.by_name
        looked.set()
        assert [type(await outcome(each)) for each in sent] == [UnknownTopicOrPartition] * 2
        log = await kit.log()
        assert await refused(send(log, 20_004))
        assert log.append(view(data), True) is not None

    async def test_a_client_that_begins_anew_with_the_new_topic(self, kit: Kit, store: SlowStore) -> None:
        """librdkafka does, in the same epoch, once it has seen that the topic was gone."""
        kit.logs.refused.remember_absent("t", 0, [numbered(P, 4)])
        log = await kit.log()
        store.patient = False
        assert await outcome(send(log, 0)) == Appended(0)
        assert await outcome(send(log, 1)) == Appended(1)


class TestWhatItMeans:
    async def test_others_are_not_concerned(self, kit: Kit, store: SlowStore) -> None:
        await kit.topic(partitions=2)
        log, other = await kit.log(), await kit.log(partition=1)
        kit.logs.refused.remember(log.tp, P, 0, 0)
        store.patient = False
        assert await outcome(send(log, 5, producer=Q)) == Appended(0)
        assert await outcome(send(other, 5)) == Appended(0)
        assert await refused(send(log, 5))

    async def test_a_higher_epoch_begins_with_0(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        kit.logs.refused.remember(log.tp, P, 3, 4)
        store.patient = False
        assert isinstance(send(log, 0, epoch=2), InvalidProducerEpoch)
        assert await refused(send(log, 1, epoch=4))
        assert await outcome(send(log, 0, epoch=4)) == Appended(0)
        assert not kit.logs.refused.active

    async def test_a_producer_that_the_log_knows_goes_on_where_it_was(
        self, kit: Kit, store: SlowStore
    ) -> None:
        log = await kit.log()
        store.patient = False
        await outcome(send(log, 0))
        store.patient = True
        sent = send(log, 1)
        (await store.arrived()).fail(KafkaStorageError("no"))
        await outcome(sent)
        store.patient = False
        assert await refused(send(log, 2))
        assert await outcome(send(log, 1)) == Appended(1)
        assert await outcome(send(log, 2)) == Appended(2)

    async def test_records_that_were_stored_are_never_doubled_by_it(self, kit: Kit, store: SlowStore) -> None:
        log = await kit.log()
        sent = send(log, 0)
        (await store.arrived()).fail(OSError("unknown"), landed=True)
        assert await outcome(sent) == Appended(0)
        store.patient = False
        assert await outcome(send(log, 0)) == Appended(0)
        assert await outcome(send(log, 1)) == Appended(1)
        assert values_of(await log.read(0, 1 << 20)) == [b"v0", b"v1"]


# -- the memory itself


def a_tp() -> TopicPartition:
    return TopicPartition("t", uuid4(), 0)


class Memory(RefusedSequences):
    """``clock`` is turned by hand."""

    def __init__(self, state: MemoryStateStore | None = None, **options: Any) -> None:
        self.clock = ManualClock()
        super().__init__(Background(self.clock), 1000, state, **options)


def allows(memory: RefusedSequences, tp: TopicPartition, *batch: int) -> bool:
    try:
        memory.check(tp, *batch)
    except (OutOfOrderSequenceNumber, InvalidProducerEpoch):
        return False
    return True


async def test_of_several_the_earliest_counts() -> None:
    memory, tp = Memory(), a_tp()
    for sequence in (5, 3, 4):
        memory.remember(tp, P, 0, sequence)
    assert [allows(memory, tp, P, 0, sequence) for sequence in (3, 4, 5)] == [True, False, False]
    memory.remember(tp, Q, 0, 0)
    memory.remember(tp, Q, 0, 2**31 - 1)  # sequences begin again at 0
    assert [allows(memory, tp, Q, 0, sequence) for sequence in (2**31 - 1, 0)] == [True, False]


async def test_of_several_epochs_the_newest_counts() -> None:
    memory, tp = Memory(), a_tp()
    for epoch, sequence in ((1, 5), (0, 2), (2, 7), (1, 1)):
        memory.remember(tp, P, epoch, sequence)
    assert [allows(memory, tp, P, 2, sequence) for sequence in (1, 7)] == [False, True]
    assert not allows(memory, tp, P, 1, 5)


async def test_they_expire_with_the_producer() -> None:
    memory, tp = Memory(), a_tp()
    memory.remember(tp, P, 0, 0)
    memory.expire(memory.clock.time_ms())
    assert memory.active
    memory.expire(memory.clock.time_ms() + 1)
    assert not memory.active
    assert allows(memory, tp, P, 0, 5)


async def test_those_of_topics_that_are_not_there_expire_sooner() -> None:
    memory, tp = Memory(), a_tp()
    memory.expiration_ms = 10 * LATER_ONLY_MS
    memory.remember(tp, Q, 0, 3)
    memory.deleted(tp)
    memory.remember_absent("t", 0, [numbered(P, 4)])
    memory.remember_absent("u", 0, [numbered(P, 4)])
    memory.made(tp)
    await memory.clock.advance(LATER_ONLY_MS / 1000)
    memory.expire(0)
    assert [allows(memory, tp, producer, 0, 5) for producer in (P, Q)] == [False, False]
    await memory.clock.advance(0.001)
    memory.expire(0)
    assert not memory.active
    assert not memory._names
    assert [allows(memory, tp, producer, 0, 5) for producer in (P, Q)] == [True, True]


async def test_the_earliest_counts_also_where_it_was_refused_by_a_topic_of_before() -> None:
    memory, tp = Memory(), a_tp()
    memory.remember(tp, P, 0, 6)
    memory.deleted(tp)
    memory.made(tp)
    memory.remember(tp, P, 0, 7)
    assert [allows(memory, tp, P, 0, sequence) for sequence in (6, 7, 8)] == [True, False, False]


async def test_full_of_topics_that_are_not_there() -> None:
    memory, tp = Memory(most=2), a_tp()
    for producer in range(3):
        memory.remember_absent("t", 0, [numbered(producer, 3)])
    memory.made(tp)
    assert not any(allows(memory, tp, producer, 0, 4) for producer in range(3))
    assert all(allows(memory, tp, producer, 0, 0) for producer in range(3))


async def test_full_means_that_unknown_producers_begin_with_0_and_not_that_something_is_forgotten() -> None:
    memory, tp = Memory(most=2), a_tp()
    for producer in range(4):
        memory.remember(tp, producer, 0, 3)
    assert [allows(memory, tp, producer, 0, 3) for producer in range(4)] == [True, True, False, False]
    assert not any(allows(memory, tp, producer, 0, 4) for producer in range(5))
    assert allows(memory, tp, 3, 0, 0)
    for producer in range(2):
        memory.taken(tp, producer)
    assert not allows(memory, tp, 3, 0, 4), "there is room again, but what was not remembered still counts"
    await memory.clock.advance(1.001)
    memory.expire(0)
    assert not memory.active
    assert allows(memory, tp, 3, 0, 4)


async def test_they_outlast_a_restart() -> None:
    state, (tp, other) = MemoryStateStore(), (a_tp(), a_tp())
    before = Memory(state)
    before.remember(tp, P, 2, 3)
    before.remember(tp, Q, 0, 0)
    before.remember(other, Q, 0, 0)
    await turns()
    before.taken(other, Q)
    await turns()
    after = Memory(state)
    await after.load()
    assert [allows(after, tp, P, 2, sequence) for sequence in (3, 4)] == [True, False]
    assert allows(after, other, Q, 0, 9)
    after.taken(tp, P)
    after.taken(tp, Q)
    await turns()
    assert [entry async for entry in state.scan(b"")] == []


async def test_what_the_state_does_not_take_now_is_kept_later(monkeypatch: pytest.MonkeyPatch) -> None:
    state, tp = MemoryStateStore(), a_tp()
    memory = Memory(state)

    async def broken(*_: Any) -> int:
        raise OSError("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(state, "commit", broken)
        memory.remember(tp, P, 0, 0)
        await turns()
    await memory.clock.advance(1)
    after = Memory(state)
    await after.load()
    assert not allows(after, tp, P, 0, 1)


async def test_something_strange_in_the_state_is_left_alone() -> None:
    state = MemoryStateStore()
    await state.commit({b"refused/short": b"", b"refused/" + bytes(20): b"odd"})
    memory = Memory(state)
    await memory.load()
    assert not memory.active


async def test_a_gateway_that_was_restarted_still_wants_the_refused_one_first() -> None:
    store, state = SlowStore(), MemoryStateStore()
    kit = await a_kit(store)
    kit.logs.refused._state = state
    kit.start_writers()
    log = await kit.log()
    sent = send(log, 0)
    (await store.arrived()).fail(KafkaStorageError("no"))
    await outcome(sent)
    await kit.close()
    again = await a_kit(SlowStore(store.inner))
    again.logs.refused._state = state
    await again.logs.refused.load()
    again.store.patient = False  # type: ignore[attr-defined]
    again.start_writers()
    log = await again.log()
    assert await refused(send(log, 1))
    assert await outcome(send(log, 0)) == Appended(0)
    await again.close()


async def test_a_header_that_arrived_damaged_is_believed_only_as_far_as_it_harms_nobody() -> None:
    state, tp = MemoryStateStore(), a_tp()
    memory = Memory(state)
    memory.remember(tp, P, 5, 1_000_000, damaged=True)
    allowed = [(5, 0), (5, 1_000_000), (4, 0), (6, 7), (0, 0)]
    assert all(allows(memory, tp, P, *batch) for batch in allowed)
    assert not allows(memory, tp, P, 5, 1_000_001)
    await turns()
    assert [entry async for entry in state.scan(b"")] == []
    memory.remember(tp, P, 5, 3)
    memory.remember(tp, P, 9, 9, damaged=True)
    assert [allows(memory, tp, P, 5, sequence) for sequence in (3, 4)] == [True, False]


async def test_junk_does_not_crowd_out_what_was_refused() -> None:
    memory, tp = Memory(most=4), a_tp()
    for producer in range(10):
        memory.remember(tp, producer, 0, 0, damaged=True)
    for producer in (20, 21):
        memory.remember(tp, producer, 0, 0)
    assert [allows(memory, tp, producer, 0, 1) for producer in (0, 1, 2, 20, 21)] == [False, False, True] + [
        False
    ] * 2


async def test_a_refusal_lasts_as_long_as_its_client_tries() -> None:
    memory, tp = Memory(), a_tp()
    memory.remember(tp, P, 0, 0)
    await memory.clock.advance(0.9)
    memory.remember(tp, P, 0, 0)
    await memory.clock.advance(0.9)
    memory.expire(memory.clock.time_ms() - 1_000)
    assert not allows(memory, tp, P, 0, 1)
