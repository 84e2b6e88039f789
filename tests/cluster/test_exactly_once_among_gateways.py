"""Idempotent producers, and three gateways on one store, of which now one leads and now another.

What was acknowledged is there once and in order, whoever leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from broker_kit import Kit, SlowStore, a_kit, turns, values_of, view
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaError, KafkaStorageError, NotLeaderOrFollower, OutOfOrderSequenceNumber
from kgw_core.log import snapshots
from kgw_core.log.producers import Appended
from kgw_core.log.snapshots import Checkpoints, Snapshots
from kgw_core.pending import Pending
from kgw_core.placement import Placement
from kgw_core.records import build_batch
from kgw_core.spi.ledger import Leader, Leadership, NotLeader, OffsetLedger
from kgw_core.spi.storage import Fenced, LogStore, TopicPartition
from kgw_core.state.memory import MemoryStateStore

GATEWAYS, PRODUCERS, IN_FLIGHT = 3, 2, 5
which = st.integers(0, 1_000)


class Leases:
    """Who leads each log, and whether others may take it over."""

    def __init__(self) -> None:
        self.held: dict[TopicPartition, Leader] = {}
        self.over: set[TopicPartition] = set()


class Ledger(OffsetLedger):
    """``hears``: whether it looks at the leases. Else it goes by what it saw last, as one that is paused."""

    name = "leases"
    shared = True

    def __init__(self, node_id: int, leases: Leases, store: LogStore) -> None:
        super().__init__()
        self.node_id = node_id
        self.leases = leases
        self.store = store
        self.led: dict[TopicPartition, int] = {}
        self.next: dict[TopicPartition, int] = {}

    async def lead(self, tp: TopicPartition) -> Leadership:
        await turns(2)
        held = self.leases.held.get(tp)
        if held is not None and held.node_id != self.node_id and tp not in self.leases.over:
            raise NotLeader(tp, held)
        epoch = (held.epoch if held is not None else 0) + 1
        self.leases.held[tp] = Leader(self.node_id, epoch)
        self.leases.over.discard(tp)
        await turns(2)
        try:
            start, end, epoch, size, *_ = await self.store.fence(tp, epoch)
        except Fenced as error:
            raise NotLeader(tp) from error
        self.led[tp], self.next[tp] = epoch, end
        return Leadership(start, end, epoch, size)

    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        self.led.pop(tp, None)
        if self.leases.held.get(tp) == Leader(self.node_id, epoch):
            self.leases.over.add(tp)

    def leader(self, tp: TopicPartition) -> Leader | None:
        if tp in self.led:
            return Leader(self.node_id, self.led[tp])
        held = self.leases.held.get(tp)
        return None if held is None or tp in self.leases.over or held.node_id == self.node_id else held

    def reserve(self, tp: TopicPartition, span: int) -> int:
        if tp not in self.led:
            raise NotLeader(tp)
        self.next[tp] += span
        return self.next[tp] - span

    def committed(self, tp: TopicPartition, end: int) -> int:
        return end

    def released(self, tp: TopicPartition, base: int) -> None:
        self.next[tp] = min(self.next[tp], base)

    def fenced(self, tp: TopicPartition, epoch: int) -> None:
        self.led.pop(tp, None)


class Client:
    """An idempotent producer. It goes to another gateway when nothing is in flight.

    A real one does not go back to an earlier leader, whose epoch is older than the one that it knows. This
    one does, and then takes a refusal of it for NOT_LEADER. ``is_outdated`` says whether a gateway is one.
    """

    def __init__(self, producer_id: int, is_outdated: Callable[[int], bool]) -> None:
        self.producer_id = producer_id
        self._is_outdated = is_outdated
        self.count = 0
        self.unsent: dict[int, int] = {}  # records by the first one
        self.sent: list[tuple[int, int, Any]] = []  # first record, records, what came of it
        self.acknowledged = 0  # every record below
        self.at = 0
        self.moves = False

    def value(self, number: int) -> bytes:
        return b"%d/%d" % (self.producer_id, number)

    def produce(self, records: int) -> None:
        self.unsent[self.count] = records
        self.count += records

    def send(self, append: Callable[[int, bytearray], Any]) -> None:
        if self.moves and not self.sent:
            self.at, self.moves = (self.at + 1) % GATEWAYS, False
        if not self.unsent or len(self.sent) >= IN_FLIGHT or self.moves:
            return
        first = min(self.unsent)
        records = self.unsent.pop(first)
        rows: list[tuple[Any, ...]] = [(b"k", self.value(first + number), 0) for number in range(records)]
        data = build_batch(rows, producer_id=self.producer_id, producer_epoch=0, base_sequence=first)
        outcome = _outcome(lambda: append(self.at, data))
        if isinstance(outcome, OutOfOrderSequenceNumber) and self._is_outdated(self.at):
            outcome = NotLeaderOrFollower("it was")
        self.sent.append((first, records, outcome))

    def hear(self) -> bool:
        if not self.sent:
            return False
        first, records, outcome = self.sent[0]
        if isinstance(outcome, Pending):
            if not outcome.done:
                return False
            outcome = _outcome(outcome.result)
        del self.sent[0]
        if isinstance(outcome, Appended):
            self.acknowledged = max(self.acknowledged, first + records)
            self.unsent = {first: count for first, count in self.unsent.items() if first >= self.acknowledged}
        elif first >= self.acknowledged:
            assert outcome.retriable or isinstance(outcome, OutOfOrderSequenceNumber), repr(outcome)
            if isinstance(outcome, OutOfOrderSequenceNumber):
                assert first > self.acknowledged, f"the batch that comes next was refused: {outcome!r}"
            self.unsent[first] = records
            self.moves |= isinstance(outcome, NotLeaderOrFollower)
        return True

    def lose_connection(self) -> None:
        for first, records, _ in self.sent:
            if first >= self.acknowledged:
                self.unsent[first] = records
        self.sent = []
        self.moves = True


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except KafkaError as error:
        return error


class AmongGateways(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clients = [Client(7 + number, self._is_outdated) for number in range(PRODUCERS)]
        self.deleted: list[bytes | None] = []
        self.start = 0

    @initialize()
    def begin(self) -> None:
        self.data = MemoryStore()
        self.state = MemoryStateStore()
        self.leases = Leases()
        self.kits: list[Kit] = []
        for number in range(GATEWAYS):
            self.kits.append(self.runner.run(self._started(number)))
        self.tp = self.kits[0].catalog.by_name["t"].partitions[0].tp

    async def _started(self, number: int) -> Kit:
        store = SlowStore(self.data)
        kit = await a_kit(store, ledger=Ledger(number + 1, self.leases, self.data))
        logs = kit.logs
        kept = Checkpoints(self.state, (snapshots.key,), logs.background)
        kit.change_logs(snapshots=Snapshots(kept, logs.background))
        kit.broker.placement = Placement(number + 1, None, kit.ledger)
        if "t" not in kit.catalog.by_name:
            await kit.topic()
        kit.start_writers()
        return kit

    def _append(self, number: int, data: bytearray) -> Any:
        kit = self.kits[number]
        log = kit.catalog.by_name["t"].partitions[0]
        if not log.ready:
            try:
                kit.broker.placement.check_leads(log.tp)
            except NotLeaderOrFollower:
                kit.logs.refused.remember_absent(log.tp.topic_id.bytes, 0, [data])  # as Produce does
                raise
        return log.append(view(data), False)

    def _is_outdated(self, number: int) -> bool:
        log = self.kits[number].catalog.by_name["t"].partitions[0]
        held = self.leases.held.get(self.tp)
        return log.ready and held is not None and log.leader_epoch < held.epoch

    async def _send(self, client: Client, count: int) -> None:
        for _ in range(count):
            client.send(self._append)
        await turns()

    @rule(number=which, records=st.integers(1, 3), count=st.integers(1, 5))
    def produce(self, number: int, records: int, count: int) -> None:
        client = self.clients[number % PRODUCERS]
        for _ in range(count):
            client.produce(records)
        self.runner.run(self._send(client, count))

    @rule(number=which, count=st.integers(1, IN_FLIGHT))
    def hear(self, number: int, count: int) -> None:
        client = self.clients[number % PRODUCERS]
        for _ in range(count):
            client.hear()
        self.runner.run(self._send(client, count))

    @rule(number=which)
    def answers_are_lost(self, number: int) -> None:
        self.clients[number % PRODUCERS].lose_connection()

    @rule(number=which, how=st.sampled_from(["stores", "stores", "refuses", "lands and fails", "fails"]))
    def a_store_answers(self, number: int, how: str) -> None:
        store = self._store(number)
        if not store.held:
            return
        if how == "stores":
            store.held[0].release()
        elif how == "refuses":
            store.held[0].fail(KafkaStorageError("not now"))
        else:
            store.held[0].fail(OSError("lost"), landed=how == "lands and fails")
        self.runner.run(turns())

    @rule(number=which, times=st.integers(1, 3))
    def a_store_cannot_say(self, number: int, times: int) -> None:
        self._store(number).fail("bounds", TimeoutError("no answer"), times=times)

    @rule(number=which, seconds=st.sampled_from([0.05, 0.5, 2.0]))
    def time_goes_by(self, number: int, seconds: float) -> None:
        self.runner.run(self.kits[number % GATEWAYS].clock.advance(seconds))

    @rule()
    def the_lease_is_over(self) -> None:
        """Its owner does not know yet."""
        self.leases.over.add(self.tp)

    @rule(number=which)
    def a_gateway_leads(self, number: int) -> None:
        async def lead() -> None:
            kit = self.kits[number % GATEWAYS]
            log = kit.catalog.by_name["t"].partitions[0]
            if not log.ready and kit.broker.placement.may_lead(log.tp):
                kit.logs.context.openers.open(log)
            await turns()

        self.runner.run(lead())

    @rule(number=which, twice=st.booleans())
    def a_gateway_hears_that_it_leads_no_more(self, number: int, twice: bool) -> None:
        async def hear() -> None:
            kit = self.kits[number % GATEWAYS]
            ledger, held = kit.ledger, self.leases.held.get(self.tp)
            assert isinstance(ledger, Ledger)
            if self.tp in ledger.led and held is not None and held.node_id != ledger.node_id:
                ledger.led.pop(self.tp)
                for _ in range(1 + twice):
                    kit.events.lost(self.tp, held.epoch)
            await turns()

        self.runner.run(hear())

    @rule(number=which)
    def records_are_deleted(self, number: int) -> None:
        async def delete() -> None:
            log = self.kits[number % GATEWAYS].catalog.by_name["t"].partitions[0]
            if log.ready and log.high_watermark > self.start:
                gone = values_of(self.data.read_now(self.tp, self.start, 1 << 20, log.high_watermark))
                try:
                    self.start = await log.trim(-1)
                except NotLeaderOrFollower:
                    return
                self.deleted += gone
            await turns()

        self.runner.run(delete())

    @rule(number=which)
    def producers_are_kept(self, number: int) -> None:
        async def keep() -> None:
            kit = self.kits[number % GATEWAYS]
            kit.logs.snapshots.due(kit.catalog.by_name["t"].partitions[0])
            await turns()

        self.runner.run(keep())

    @rule(number=which, landed=st.booleans())
    def a_gateway_is_killed(self, number: int, landed: bool) -> None:
        async def kill() -> None:
            kit = self.kits[number % GATEWAYS]
            store = self._store(number)
            for held in list(store.held):
                if landed:
                    await self.data.append_many(held.appends)
            await kit.close()
            held_by = self.leases.held.get(self.tp)
            if held_by is not None and held_by.node_id == number % GATEWAYS + 1:
                self.leases.over.add(self.tp)
            self.kits[number % GATEWAYS] = await self._started(number % GATEWAYS)

        for client in self.clients:
            if client.at == number % GATEWAYS:
                client.lose_connection()
        self.runner.run(kill())

    def _store(self, number: int) -> SlowStore:
        store = self.kits[number % GATEWAYS].store
        assert isinstance(store, SlowStore)
        return store

    def teardown(self) -> None:
        try:
            if hasattr(self, "kits"):
                self._settle()
                self._check()
                for kit in self.kits:
                    self.runner.run(kit.close())
        finally:
            self.runner.close()

    def _settle(self) -> None:
        for number in range(GATEWAYS):
            store = self._store(number)
            store._faults.clear()
            store.patient = False
            for held in list(store.held):
                held.release()
        for _ in range(100):
            for kit in self.kits:
                self.runner.run(kit.clock.advance(2.0))
            for client in self.clients:
                while client.hear():
                    pass
                self.runner.run(self._send(client, IN_FLIGHT))
            if not any(client.unsent or client.sent for client in self.clients):
                return
            for number in range(GATEWAYS):
                self.a_gateway_hears_that_it_leads_no_more(number, False)
                self.a_gateway_leads(number)
        raise AssertionError("some batch is refused for ever")

    def _check(self) -> None:
        bounds = self.runner.run(self.data.bounds(self.tp))
        values = self.deleted + values_of(self.data.read_now(self.tp, self.start, 1 << 20))
        assert len(values) == bounds.end
        for client in self.clients:
            own = b"%d/" % client.producer_id
            mine = [int(value[len(own) :]) for value in values if value is not None and value.startswith(own)]
            assert mine == list(range(client.count)), f"lost, doubled or out of order: {mine}"
            assert client.acknowledged == client.count


TestAmongGateways = AmongGateways.TestCase
TestAmongGateways.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
