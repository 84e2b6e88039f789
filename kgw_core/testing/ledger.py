"""The suite that says whether an OffsetLedger keeps its promises.

::

    class TestMine(OffsetLedgerSuite):
        @pytest.fixture
        def make_ledger(self, tmp_path):
            return lambda: MineLedger(MineLedger.Config(path=tmp_path / "leases"))

        @pytest.fixture
        def store(self):
            return MemoryStore()

``make_ledger`` makes a ledger that is not open; called again, one of another gateway, on the same leases
where the ledger is ``shared``. ``store`` returns a store that is not open, with the capability ``fences`` for
a ledger that is shared. Each gateway has a clock of its own, which the suite turns: a gateway whose clock
stands still is one that is paused.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from uuid import uuid4

import anyio
import pytest

from kgw_core.background import Background
from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.spi.ledger import Leadership, LedgerContext, LedgerEvents, NotLeader, OffsetLedger
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import Batch, Fenced, LogStore, Topic, TopicPartition
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.batches import make_batch
from kgw_core.testing.clock import ManualClock

MakeLedger = Callable[[], OffsetLedger]
PATIENCE = 10.0
"""Seconds of real time in which a ledger has to notice a change of its clock."""


class Events(LedgerEvents):
    """The events of a ledger."""

    def __init__(self) -> None:
        self.losses: list[TopicPartition] = []

    def lost(self, tp: TopicPartition, epoch: int) -> None:
        self.losses.append(tp)


class Seat:
    """One gateway: its ``ledger`` and its ``clock``; ``losses`` are the logs of its ``lost`` events."""

    def __init__(self, node_id: int, ledger: OffsetLedger, store: LogStore, state: StateStore) -> None:
        self.node_id = node_id
        self.ledger = ledger
        self.clock = ManualClock()
        self.events = Events()
        self.losses = self.events.losses
        self._store = store
        self._background = Background(self.clock)
        self._context = LedgerContext(node_id, self._background, store=store, state=state, events=self.events)

    async def open(self) -> None:
        await self.ledger.open(self._context)

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, in steps so small that the ledger can renew its leases."""
        for _ in range(100):
            await self.clock.advance(seconds / 100)
            await anyio.sleep(0.001)

    async def append(self, tp: TopicPartition, leadership: Leadership, span: int = 1) -> int:
        """Append a batch as the leader; its base offset."""
        base = self.ledger.reserve(tp, span)
        await self._store.append(tp, [make_batch(base, span)], leadership.epoch)
        assert self.ledger.committed(tp, base + span) <= base + span
        return base

    @property
    def is_shared(self) -> bool:
        return type(self.ledger).shared


async def until(done: Callable[[], object], what: str) -> None:
    """Wait until ``done()``. :raises AssertionError: it is not in time."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.005)


class OffsetLedgerSuite:
    """Subclass it, give it the fixtures ``make_ledger`` and ``store``, run pytest."""

    pytestmark = pytest.mark.anyio

    lease_seconds = 60.0
    """More than a leadership lasts that its gateway does not renew."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def make_ledger(self) -> MakeLedger:
        pytest.fail("the suite needs a fixture `make_ledger` that returns a function that makes a ledger")

    @pytest.fixture
    def store(self) -> LogStore:
        pytest.fail("the suite needs a fixture `store` that returns a store, not open yet")

    @pytest.fixture
    async def bench(self, make_ledger: MakeLedger, store: LogStore) -> AsyncIterator[Bench]:
        async with AsyncExitStack() as stack:
            await store.open()
            stack.push_async_callback(store.close)
            yield Bench(make_ledger, store, stack)

    @pytest.fixture
    async def pair(self, bench: Bench) -> tuple[Seat, Seat]:
        """Two gateways on the same logs."""
        one, other = await bench.seat(), await bench.seat()
        if not one.is_shared:
            pytest.skip(f"for ledgers that are shared; {one.ledger.name} is not")
        return one, other

    # -- one gateway

    async def test_a_leader_begins_where_the_log_ends(self, bench: Bench) -> None:
        """Start, end, epoch and size are the store's, of an empty log and of one that was trimmed."""
        seat, tps = await bench.seat(), await bench.topic(2)
        leadership = await seat.ledger.lead(tps[0])
        assert (leadership.start, leadership.end, leadership.size) == (0, 0, 0)
        await bench.fill(tps[1], 5)
        await bench.store.trim(tps[1], 2)
        leadership = await seat.ledger.lead(tps[1])
        bounds = await bench.store.bounds(tps[1])
        assert leadership == (2, 5, bounds.epoch, bounds.size)

    async def test_offsets_go_on_without_gaps_in_each_log(self, bench: Bench) -> None:
        """One log's do not depend on another's."""
        seat, tps = await bench.seat(), await bench.topic(2)
        await bench.fill(tps[1], 3)
        for tp in tps:
            await seat.ledger.lead(tp)
        assert [seat.ledger.reserve(tps[0], span) for span in (2, 1, 5)] == [0, 2, 3]
        assert [seat.ledger.reserve(tps[1], span) for span in (1, 1)] == [3, 4]

    async def test_what_is_released_is_given_out_again(self, bench: Bench) -> None:
        """With all that was reserved after it."""
        seat, [tp] = await bench.seat(), await bench.topic()
        await seat.ledger.lead(tp)
        for span in (2, 3, 1):
            seat.ledger.reserve(tp, span)
        seat.ledger.released(tp, 2)
        assert seat.ledger.reserve(tp, 1) == 2
        seat.ledger.released(tp, 7)
        assert seat.ledger.reserve(tp, 1) == 3

    async def test_what_is_committed_does_not_go_back(self, bench: Bench) -> None:
        """The high watermark is at most the store's end."""
        seat, [tp] = await bench.seat(), await bench.topic()
        leadership = await seat.ledger.lead(tp)
        high_watermark = leadership.end
        for span in (1, 4, 2):
            base = seat.ledger.reserve(tp, span)
            await bench.store.append(tp, [make_batch(base, span)], leadership.epoch)
            found = seat.ledger.committed(tp, base + span)
            assert high_watermark <= found <= base + span
            high_watermark = found
        seat.ledger.trimmed(tp, 3)
        assert seat.ledger.reserve(tp, 1) == 7

    async def test_a_leader_says_that_it_leads(self, bench: Bench) -> None:
        """The leader is named by its node id; its epoch, if known, is that of the leadership."""
        seat, [tp] = await bench.seat(), await bench.topic()
        leadership = await seat.ledger.lead(tp)
        leader = seat.ledger.leader(tp)
        assert leader is not None and leader.node_id == seat.node_id
        assert leader.epoch in (-1, leadership.epoch)

    async def test_a_log_that_was_lost_is_led_anew_from_its_true_end(self, bench: Bench) -> None:
        """Whatever was reserved is void; the epoch does not go back."""
        seat, [tp] = await bench.seat(), await bench.topic()
        first = await seat.ledger.lead(tp)
        await seat.append(tp, first, 2)
        seat.ledger.reserve(tp, 5)
        seat.ledger.fenced(tp, -1)
        await seat.pass_time(self.lease_seconds)
        again = await seat.ledger.lead(tp)
        assert again.end == 2 and again.epoch >= first.epoch
        assert await seat.append(tp, again) == 2

    async def test_a_log_that_is_not_there_cannot_be_led(self, bench: Bench) -> None:
        """And one that is gone is forgotten without an error."""
        seat, [tp] = await bench.seat(), await bench.topic()
        with pytest.raises(UnknownTopicOrPartition):
            await seat.ledger.lead(TopicPartition("orders", tp.topic_id, 7))
        with pytest.raises(UnknownTopicOrPartition):
            await seat.ledger.lead(TopicPartition("orders", uuid4(), 0))
        await seat.ledger.lead(tp)
        await bench.store.delete_topic(tp.topic_id)
        seat.ledger.closed(tp)
        seat.ledger.closed(tp)

    async def test_a_leader_may_resign(self, bench: Bench) -> None:
        """And lead again."""
        seat, [tp] = await bench.seat(), await bench.topic()
        first = await seat.ledger.lead(tp)
        await seat.append(tp, first)
        await seat.ledger.resign(tp, first.epoch)
        again = await seat.ledger.lead(tp)
        assert again.end == 1 and again.epoch >= first.epoch

    # -- several

    async def test_a_log_has_one_leader(self, bench: Bench, pair: tuple[Seat, Seat]) -> None:
        """The other gateway learns who leads, and changes nothing."""
        one, other = pair
        [tp] = await bench.topic()
        leadership = await one.ledger.lead(tp)
        with pytest.raises(NotLeader) as refused:
            await other.ledger.lead(tp)
        assert refused.value.leader is None or refused.value.leader.node_id == one.node_id
        with pytest.raises(NotLeader):
            other.ledger.reserve(tp, 1)
        assert await one.append(tp, leadership) == 0
        leader = other.ledger.leader(tp)
        assert leader is not None and leader.node_id == one.node_id

    async def test_of_two_that_begin_at_once_one_leads(self, bench: Bench, pair: tuple[Seat, Seat]) -> None:
        """Whichever it is, it can append."""
        tps = await bench.topic(8)
        led: list[tuple[Seat, TopicPartition, Leadership]] = []

        async def lead(seat: Seat, tp: TopicPartition) -> None:
            with suppress(NotLeader):
                led.append((seat, tp, await seat.ledger.lead(tp)))

        async with anyio.create_task_group() as tasks:
            for tp in tps:
                for seat in pair:
                    tasks.start_soon(lead, seat, tp)
        assert sorted((tp.partition for _, tp, _ in led)) == list(range(8))
        for seat, tp, leadership in led:
            assert await seat.append(tp, leadership) == 0

    async def test_after_a_resignation_another_leads_at_once(
        self, bench: Bench, pair: tuple[Seat, Seat]
    ) -> None:
        """The second begins at the first one's end, in a later epoch, and the first is fenced."""
        one, other = pair
        [tp] = await bench.topic()
        first = await one.ledger.lead(tp)
        await one.append(tp, first, 3)
        await one.ledger.resign(tp, first.epoch)
        second = await other.ledger.lead(tp)
        assert second.end == 3 and second.epoch > first.epoch
        await bench.is_fenced(tp, first.epoch, 3)
        assert await other.append(tp, second) == 3
        leader = other.ledger.leader(tp)
        assert leader is not None and leader.node_id == other.node_id

    async def test_the_resignation_of_an_old_leadership_changes_nothing(
        self, bench: Bench, pair: tuple[Seat, Seat]
    ) -> None:
        """It comes late, when another leads."""
        one, other = pair
        [tp] = await bench.topic()
        first = await one.ledger.lead(tp)
        await one.ledger.resign(tp, first.epoch)
        second = await other.ledger.lead(tp)
        await one.ledger.resign(tp, first.epoch)
        with pytest.raises(NotLeader):
            await one.ledger.lead(tp)
        assert await other.append(tp, second) == 0

    async def test_a_leader_that_is_paused_is_followed_and_fenced(
        self, bench: Bench, pair: tuple[Seat, Seat]
    ) -> None:
        """Its clock stands still, so it does not notice; its appends are refused. Then it gets ``lost``."""
        one, other = pair
        [tp] = await bench.topic()
        first = await one.ledger.lead(tp)
        await one.append(tp, first, 2)
        late = one.ledger.reserve(tp, 1)
        await other.pass_time(self.lease_seconds)
        second = await other.ledger.lead(tp)
        assert second.end == 2 and second.epoch > first.epoch
        await bench.is_fenced(tp, first.epoch, late)
        assert await other.append(tp, second, 4) == 2
        await one.pass_time(self.lease_seconds)
        await until(lambda: tp in one.losses, "the first is not told that it has lost the log")
        with pytest.raises(NotLeader):
            one.ledger.reserve(tp, 1)
        assert (await bench.store.bounds(tp)).end == 6

    async def test_a_leader_that_lives_keeps_what_it_leads(
        self, bench: Bench, pair: tuple[Seat, Seat]
    ) -> None:
        """A gateway renews its leases for as long as it runs."""
        one, other = pair
        [tp] = await bench.topic()
        leadership = await one.ledger.lead(tp)
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.pass_time, self.lease_seconds / 5)
                tasks.start_soon(other.pass_time, self.lease_seconds / 5)
            await one.append(tp, leadership)
            with pytest.raises(NotLeader):
                await other.ledger.lead(tp)
        assert one.losses == []


class Bench:
    """A store, and the gateways on it."""

    def __init__(self, make_ledger: MakeLedger, store: LogStore, stack: AsyncExitStack) -> None:
        self.store = store
        self.state = MemoryStateStore()
        self._make_ledger = make_ledger
        self._stack = stack
        self._seats = 0

    async def seat(self) -> Seat:
        """One more gateway."""
        self._seats += 1
        seat = Seat(self._seats, self._make_ledger(), self.store, self.state)
        await seat.open()
        self._stack.push_async_callback(seat.ledger.close)
        return seat

    async def topic(self, partitions: int = 1) -> list[TopicPartition]:
        """The partitions of a new topic."""
        topic = Topic("orders", uuid4(), partitions)
        await self.store.create_topic(topic)
        return [TopicPartition(topic.name, topic.id, partition) for partition in range(partitions)]

    async def fill(self, tp: TopicPartition, count: int) -> None:
        """Append batches of one record, before anybody leads."""
        epoch = (await self.store.bounds(tp)).epoch
        for base in range(count):
            await self.store.append(tp, [make_batch(base)], epoch)

    async def is_fenced(self, tp: TopicPartition, epoch: int, base: int) -> None:
        """An append under ``epoch`` lands nowhere."""
        before = await self.store.bounds(tp)
        late: Batch = make_batch(base, tag="late")
        with pytest.raises(Fenced):
            await self.store.append(tp, [late], epoch)
        assert await self.store.bounds(tp) == before
