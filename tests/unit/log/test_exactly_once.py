"""Idempotent producers on a store that fails in every way: each acknowledged record is there once, in order.

The clients behave as librdkafka does: up to five requests in flight, retries of what the broker says is not
stored, under a new epoch where it is certain that nothing is, and, the dangerous part, an acknowledgement
counts for every batch before it. Batches are looked into in threads, records and the topic are deleted,
the topic is made again, and gateways are killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from unittest.mock import patch
from uuid import UUID

import anyio
from broker_kit import Kit, SlowStore, a_kit, turns, values_of, view
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kgw_core.errors import (
    KafkaError,
    KafkaStorageError,
    OutOfOrderSequenceNumber,
    UnknownTopicOrPartition,
)
from kgw_core.log import snapshots, validator
from kgw_core.log.producers import Appended
from kgw_core.log.snapshots import Checkpoints, Snapshots
from kgw_core.pending import Pending
from kgw_core.records import build_batch
from kgw_core.spi.storage import Append, Batch, Capabilities, LogStore, Topic, TopicPartition
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.faults import FaultyStore

IN_FLIGHT = 5
PARTITIONS = 2
PRODUCERS = (7, 8)
which = st.integers(0, 1_000)


class EachStore(SlowStore):
    """Each partition commits for itself."""

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(commit_scope="partition")

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        [outcome] = await self.append_many([Append(tp, batches, epoch)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class NumberingStore(SlowStore):
    """Numbers records itself, once the test lets it."""

    def __init__(self, inner: LogStore | None = None) -> None:
        super().__init__(_Numbering(inner or SlowStore().inner))

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(numbers_records=True, commit_scope="store")


class _Numbering(FaultyStore):
    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        base = (await self.inner.bounds(tp)).end
        numbered = []
        for batch in batches:
            data = bytearray(batch.data)
            data[:8] = base.to_bytes(8, "big")
            numbered.append(batch._replace(base_offset=base, data=data, stable=True))
            base += batch.span
        return await self.inner.append(tp, numbered)

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        results: list[Sequence[int] | Exception] = []
        for tp, batches, _ in appends:
            try:
                results.append(await self.append(tp, batches))
            except UnknownTopicOrPartition as error:  # deleted, which is the outcome of this log alone
                results.append(error)
        return results


class ImmediateStore(SlowStore):
    """Never waits, until an append's outcome is not known."""

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return self.inner.capabilities(topic)


class Threads:
    """Validation in threads waits for the test."""

    def __init__(self) -> None:
        self.held: list[anyio.Event] = []
        self.patient = True

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self.patient:
            self.held.append(anyio.Event())
            await self.held[-1].wait()
        return work(*arguments)


class Client:
    """One producer's batches for one partition. ``unsent`` has the batches to send, by their first record.

    Sequences begin anew with each epoch: ``began`` is the first record of this one.
    """

    def __init__(self, producer_id: int, partition: int, is_stored: Callable[[int, bytes], bool]) -> None:
        self.producer_id = producer_id
        self.partition = partition
        self.count = 0
        self.epoch = self.began = 0
        self.unsent: dict[int, int] = {}  # records by the first one
        self.sent: list[tuple[int, int, Any]] = []  # first record, records, what came of it
        self.maybe: set[int] = set()  # first records of what was sent and not answered
        self.acknowledged = 0  # every record below
        self.lies: list[int] = []
        self._is_stored = is_stored

    def value(self, number: int) -> str:
        return f"{self.producer_id}/{self.partition}/{number}"

    def numbers(self, values: Sequence[bytes | None]) -> list[int]:
        """Those of its own records among these."""
        own = self.value(0)[:-1].encode()
        return [int(value[len(own) :]) for value in values if value and value.startswith(own)]

    def produce(self, records: int) -> None:
        self.unsent[self.count] = records
        self.count += records

    def send(self, kit: Kit) -> None:
        if not self.unsent or len(self.sent) >= IN_FLIGHT:
            return
        first = min(self.unsent)
        records = self.unsent.pop(first)
        rows: list[tuple[Any, ...]] = [
            (b"k", self.value(first + number).encode(), 0) for number in range(records)
        ]
        data = build_batch(
            rows, producer_id=self.producer_id, producer_epoch=self.epoch, base_sequence=first - self.began
        )
        value = self.value(first).encode()
        first_time = not self._is_stored(self.partition, value)
        outcome = self._outcome(lambda: self._append(kit, data))
        self.sent.append((first, records, outcome))

        def told(_: object) -> None:
            """KAFKA_STORAGE_ERROR tells librdkafka that the batch is not stored: it may come as a new one."""
            told = outcome if not isinstance(outcome, Pending) else self._outcome(outcome.result)
            if isinstance(told, KafkaStorageError) and first_time and self._is_stored(self.partition, value):
                self.lies.append(first)

        if isinstance(outcome, Pending):
            outcome.then(told)
        else:
            told(outcome)

    def _append(self, kit: Kit, data: bytes | bytearray) -> Any:
        topic = kit.catalog.by_name.get("t")
        if topic is None:
            kit.logs.refused.remember_absent("t", self.partition, [data])  # as Produce does
            raise UnknownTopicOrPartition("it was deleted")
        return topic.partitions[self.partition].append(view(data), False)

    def begin_epoch(self) -> None:
        """It gives up a batch, waits for what is in flight, and sends the others anew, as nothing of them is
        stored."""
        if not self.sent and not self.maybe:
            self.epoch += 1
            self.began = self.acknowledged

    @staticmethod
    def _outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except KafkaError as error:
            return error

    def hear(self) -> bool:
        """Take the first answer that is there; whether there was one."""
        if not self.sent:
            return False
        first, records, outcome = self.sent[0]
        if isinstance(outcome, Pending):
            if not outcome.done:
                return False
            outcome = self._outcome(outcome.result)
        del self.sent[0]
        if isinstance(outcome, Appended):
            self.acknowledged = max(self.acknowledged, first + records)
            self.unsent = {first: count for first, count in self.unsent.items() if first >= self.acknowledged}
            self.maybe = {first for first in self.maybe if first >= self.acknowledged}
        elif first >= self.acknowledged:
            assert outcome.retriable or isinstance(outcome, OutOfOrderSequenceNumber), repr(outcome)
            if isinstance(outcome, OutOfOrderSequenceNumber):
                assert first > self.acknowledged, f"the batch that comes next was refused: {outcome!r}"
            self.unsent[first] = records
        return True

    def lose_connection(self) -> None:
        """The client sends batches without an answer again."""
        for first, records, _ in self.sent:
            if first >= self.acknowledged:
                self.unsent[first] = records
                self.maybe.add(first)
        self.sent = []

    @property
    def idle(self) -> bool:
        return not (self.unsent or self.sent)


class ExactlyOnce(RuleBasedStateMachine):
    store_class: type[SlowStore] = SlowStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clients = [
            Client(producer, part, self._is_stored) for producer in PRODUCERS for part in range(PARTITIONS)
        ]
        self.deleted: list[list[bytes | None]] = [[] for _ in range(PARTITIONS)]
        self.before: list[list[list[bytes | None]]] = [
            [] for _ in range(PARTITIONS)
        ]  # of topics that are gone
        self.starts = [0] * PARTITIONS
        self.threads = Threads()
        self.patches = [
            patch("kgw_core.workers.in_thread", self.threads.in_thread),
            patch.object(validator, "ON_LOOP_RECORDS", 2),
        ]
        for each in self.patches:
            each.start()

    @initialize()
    def begin(self) -> None:
        self.data = self.store_class().inner
        delete_topic = self.data.delete_topic

        async def deleting(topic_id: UUID) -> None:
            for partition in range(PARTITIONS):
                tp = TopicPartition("t", topic_id, partition)
                values = values_of(self.data.read_now(tp, self.starts[partition], 1 << 20))
                self.before[partition].append(self.deleted[partition] + values)
                self.deleted[partition], self.starts[partition] = [], 0
            await delete_topic(topic_id)

        self.data.delete_topic = deleting  # type: ignore[method-assign]
        self.state = MemoryStateStore()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.store = self.store_class()
        self.store.inner = self.data
        self.kit = await a_kit(self.store)
        logs = self.kit.logs
        logs.refused._state = self.state  # stands for one that outlasts the gateway
        kept = Checkpoints(self.state, (snapshots.key,), logs.background)
        self.kit.change_logs(snapshots=Snapshots(kept, logs.background))
        await logs.refused.load()
        if "t" not in self.kit.catalog.by_name:
            await self.kit.topic(partitions=PARTITIONS)
        self.kit.start_writers()

    def _turns(self) -> None:
        self.runner.run(turns())

    def _is_stored(self, partition: int, value: bytes) -> bool:
        topic = self.kit.catalog.by_name.get("t")
        if topic is None:
            return False
        there = values_of(self.data.read_now(topic.partitions[partition].tp, self.starts[partition], 1 << 20))
        return value in there or value in self.deleted[partition]

    # -- what clients do

    @rule(number=which, records=st.integers(1, 3), count=st.integers(1, 4))
    def produce(self, number: int, records: int, count: int) -> None:
        for _ in range(count):
            self.clients[number % len(self.clients)].produce(records)
        self.send(number, count)

    @rule(number=which, count=st.integers(1, IN_FLIGHT))
    def send(self, number: int, count: int) -> None:
        async def send() -> None:
            for _ in range(count):
                self.clients[number % len(self.clients)].send(self.kit)
            await turns()

        self.runner.run(send())

    @rule(number=which, count=st.integers(1, IN_FLIGHT))
    def hear(self, number: int, count: int) -> None:
        for _ in range(count):
            self.clients[number % len(self.clients)].hear()

    @rule(number=which)
    def answers_are_lost(self, number: int) -> None:
        self.clients[number % len(self.clients)].lose_connection()

    @rule(number=which)
    def a_new_epoch_begins(self, number: int) -> None:
        self.clients[number % len(self.clients)].begin_epoch()

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def records_are_deleted(self, partition: int) -> None:
        async def delete() -> None:
            if "t" not in self.kit.catalog.by_name:
                return
            log = self.kit.catalog.by_name["t"].partitions[partition]
            if log.ready and log.high_watermark > log.start:
                self.deleted[partition] += values_of(await log.read(log.start, 1 << 20))
                self.starts[partition] = await log.trim(-1)
            await turns()

        self.runner.run(delete())

    @rule()
    def the_topic_is_deleted(self) -> None:
        if "t" in self.kit.catalog.by_name:
            self.runner.run(self._in_background(self.kit.catalog.delete("t")))

    @rule()
    def the_topic_is_made_again(self) -> None:
        if "t" not in self.kit.catalog.by_name and not self.making:
            self.making = True
            self.runner.run(self._in_background(self._make()))

    making = False

    async def _make(self) -> None:
        try:
            await self.kit.topic(partitions=PARTITIONS)
        finally:
            self.making = False

    async def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        self.kit.spawn(work)
        await turns()

    # -- what the store does

    @rule(number=which)
    def a_thread_is_done(self, number: int) -> None:
        if self.threads.held:
            self.threads.held.pop(number % len(self.threads.held)).set()
        self._turns()

    @rule(error=st.sampled_from([KafkaStorageError("not now"), OSError("lost")]), late=st.booleans())
    def an_append_fails_at_once(self, error: Exception, late: bool) -> None:
        if self.store_class is ImmediateStore:
            self.store.fail("append", error, late=late and not isinstance(error, KafkaError))

    @rule(number=which, how=st.sampled_from(["stores", "refuses", "lands and fails", "fails"]), silent=which)
    def store_answers(self, number: int, how: str, silent: int) -> None:
        if not self.store.held:
            return
        held = self.store.held[number % len(self.store.held)]
        if how == "stores":
            held.release()
        elif how == "refuses":
            held.fail(KafkaStorageError("not now"))
        else:
            self.store.fail("bounds", TimeoutError("no answer"), times=silent % 3)
            held.fail(OSError("lost"), landed=how == "lands and fails")
        self._turns()

    @rule(what=st.sampled_from(["no disk", "time", "time", "little room", "room"]), much=st.integers(0, 4))
    def something_happens(self, what: str, much: int) -> None:
        budget = self.kit.logs.context.budget
        if what == "no disk":
            self.store.fail("bounds", OSError("no disk"))
        elif what == "time":
            self.runner.run(self.kit.clock.advance(0.05 * 3**much))
        else:
            budget.give(self.taken)
            self.taken = max(budget.most + 1 - budget.used - much * 1_100, 0) if what == "little room" else 0
            budget.take(self.taken)

    taken = 0

    # -- restarts

    @rule(landed=st.booleans())
    def the_gateway_is_killed(self, landed: bool) -> None:
        async def kill() -> None:
            for held in list(self.store.held):
                if landed:
                    await self.data.append_many(held.appends)
            await self.kit.close()
            self.threads.held.clear()
            await self._start()

        for client in self.clients:
            client.lose_connection()
        self.runner.run(kill())
        self.taken = 0

    # -- the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "kit"):
                self.something_happens("room", 0)
                self._settle()
                self.runner.run(self._check())
                self.runner.run(self.kit.close())
        finally:
            for each in self.patches:
                each.stop()
            self.runner.close()

    def _settle(self) -> None:
        self.store._faults.clear()
        self.store.patient = self.threads.patient = False
        for event in self.threads.held:
            event.set()
        for held in list(self.store.held):
            held.release()
        for _ in range(200):
            self.runner.run(self.kit.clock.advance(2.0))
            for number, client in enumerate(self.clients):
                while client.hear():
                    pass
                self.send(number, IN_FLIGHT)
            self.the_topic_is_made_again()
            if all(client.idle for client in self.clients):
                return
        raise AssertionError("some batch is refused for ever")

    async def _check(self) -> None:
        for partition in range(PARTITIONS):
            log = await self.kit.log(partition=partition)
            values = self.deleted[partition] + values_of(await log.read(log.start, 1 << 20))
            for client in self.clients:
                if client.partition == partition:
                    stored = set()
                    for each in (*self.before[partition], values):
                        mine = client.numbers(each)
                        assert mine == sorted(set(mine)), "doubled, or out of order"
                        stored.update(mine)
                    assert stored == set(range(client.acknowledged))
                    assert client.acknowledged == client.count
                    assert client.lies == [], "a batch is stored that was said not to be"
        assert self.kit.logs.context.budget.used == 0


class ExactlyOnceEach(ExactlyOnce):
    store_class = EachStore


class ExactlyOnceNumbering(ExactlyOnce):
    store_class = NumberingStore


class ExactlyOnceImmediate(ExactlyOnce):
    store_class = ImmediateStore


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnceEach = ExactlyOnceEach.TestCase
TestExactlyOnceNumbering = ExactlyOnceNumbering.TestCase
TestExactlyOnceImmediate = ExactlyOnceImmediate.TestCase
for case in (TestExactlyOnce, TestExactlyOnceEach, TestExactlyOnceNumbering, TestExactlyOnceImmediate):
    case.settings = settings(
        max_examples=100,
        stateful_step_count=40,
        deadline=None,
        phases=(Phase.reuse, Phase.generate),
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
del case  # which would be a test, too
