"""Idempotent producers on a store that fails in every way: each acknowledged record is there once, in order.

The clients behave as librdkafka does: up to five requests in flight, retries of what the broker says is not
stored, and, the dangerous part, an acknowledgement counts for every batch before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from broker_kit import Kit, SlowStore, a_kit, turns, values_of, view
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kgw_core.errors import KafkaError, KafkaStorageError, OutOfOrderSequenceNumber
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.records import build_batch
from kgw_core.state.memory import MemoryStateStore

IN_FLIGHT = 5
PARTITIONS = 2
PRODUCERS = (7,)
which = st.integers(0, 1_000)


class Client:
    """One producer's batches for one partition. ``unsent`` has the batches to send, by first sequence."""

    def __init__(self, producer_id: int, partition: int) -> None:
        self.producer_id = producer_id
        self.partition = partition
        self.sequence = 0
        self.unsent: dict[int, int] = {}  # records by first sequence
        self.sent: list[tuple[int, int, Any]] = []  # first sequence, records, what came of it
        self.acknowledged = 0  # every record below
        self.lies: list[int] = []

    def value(self, sequence: int) -> str:
        return f"{self.producer_id}/{self.partition}/{sequence}"

    def produce(self, records: int) -> None:
        self.unsent[self.sequence] = records
        self.sequence += records

    def send(self, kit: Kit) -> None:
        if not self.unsent or len(self.sent) >= IN_FLIGHT:
            return
        sequence = min(self.unsent)
        records = self.unsent.pop(sequence)
        rows: list[tuple[Any, ...]] = [
            (b"k", self.value(sequence + number).encode(), 0) for number in range(records)
        ]
        data = build_batch(rows, producer_id=self.producer_id, producer_epoch=0, base_sequence=sequence)
        log = kit.catalog.by_name["t"].partitions[self.partition]
        first_time = not self._is_stored(sequence, log)
        outcome = self._outcome(lambda: log.append(view(data), False))
        self.sent.append((sequence, records, outcome))

        def told(_: object) -> None:
            """KAFKA_STORAGE_ERROR tells librdkafka that the batch is not stored: it may come as a new one."""
            told = outcome if not isinstance(outcome, Pending) else self._outcome(outcome.result)
            if isinstance(told, KafkaStorageError) and first_time and self._is_stored(sequence, log):
                self.lies.append(sequence)

        if isinstance(outcome, Pending):
            outcome.then(told)
        else:
            told(outcome)

    def _is_stored(self, sequence: int, log: PartitionLog) -> bool:
        runs = log._manager.store.inner.read_now(log.tp, 0, 1 << 20)  # type: ignore[attr-defined]
        return self.value(sequence).encode() in values_of(runs)

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
        sequence, records, outcome = self.sent[0]
        if isinstance(outcome, Pending):
            if not outcome.done:
                return False
            outcome = self._outcome(outcome.result)
        del self.sent[0]
        if isinstance(outcome, Appended):
            self.acknowledged = max(self.acknowledged, sequence + records)
            self.unsent = {first: count for first, count in self.unsent.items() if first >= self.acknowledged}
        elif sequence >= self.acknowledged:
            assert outcome.retriable or isinstance(outcome, OutOfOrderSequenceNumber), repr(outcome)
            if isinstance(outcome, OutOfOrderSequenceNumber):
                assert sequence > self.acknowledged, f"the batch that comes next was refused: {outcome!r}"
            self.unsent[sequence] = records
        return True

    def lose_connection(self) -> None:
        """What was not answered is sent again."""
        for sequence, records, _ in self.sent:
            if sequence >= self.acknowledged:
                self.unsent[sequence] = records
        self.sent = []

    @property
    def idle(self) -> bool:
        return not (self.unsent or self.sent)


class ExactlyOnce(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clients = [Client(producer, part) for producer in PRODUCERS for part in range(PARTITIONS)]

    @initialize()
    def begin(self) -> None:
        self.data = SlowStore().inner
        self.state = MemoryStateStore()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.store = SlowStore(self.data)
        self.kit = await a_kit(self.store)
        self.kit.logs.refused._state = self.state  # stands for one that outlasts the gateway
        await self.kit.logs.refused.load()
        if "t" not in self.kit.catalog.by_name:
            await self.kit.topic(partitions=PARTITIONS)
        self.kit.start_writers()

    def _turns(self) -> None:
        self.runner.run(turns())

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

    # -- what the store does

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
        budget = self.kit.logs.budget
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
            self.runner.close()

    def _settle(self) -> None:
        self.store._faults.clear()
        self.store.patient = False
        for held in list(self.store.held):
            held.release()
        for _ in range(200):
            self.runner.run(self.kit.clock.advance(2.0))
            for number, client in enumerate(self.clients):
                while client.hear():
                    pass
                self.send(number, IN_FLIGHT)
            if all(client.idle for client in self.clients):
                return
        raise AssertionError("some batch is refused for ever")

    async def _check(self) -> None:
        for partition in range(PARTITIONS):
            log = await self.kit.log(partition=partition)
            values = values_of(await log.read(0, 1 << 20))
            for client in self.clients:
                if client.partition == partition:
                    mine = [
                        value for value in values if value and value.startswith(client.value(0)[:-1].encode())
                    ]
                    assert mine == [client.value(number).encode() for number in range(client.acknowledged)]
                    assert client.acknowledged == client.sequence
                    assert client.lies == [], "a batch is stored that was said not to be"


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
