"""Brokers register in the shared state, and give signs of life."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import anyio
import pytest
from broker_kit import ManualClock, a_client, turns

from kgw_core.background import Background
from kgw_core.errors import CoordinatorNotAvailable, DuplicateBrokerRegistration, NotLeaderOrFollower
from kgw_core.placement import Node, Placement
from kgw_core.registration import PREFIX, SIGNS, Registrations
from kgw_core.spi.ledger import Leader, Leadership, OffsetLedger
from kgw_core.spi.state import NO_VERSIONS, Changes, Versions
from kgw_core.spi.storage import TopicPartition
from kgw_core.state.memory import MemoryStateStore

pytestmark = pytest.mark.anyio

TIMEOUT = 8.0
SIGN = TIMEOUT / SIGNS
UUID = uuid4()


class State(MemoryStateStore):
    """``lost``: that many commits land and fail all the same. ``gate``: commits wait for it first."""

    lost = 0
    gate: anyio.Event | None = None

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        if self.gate is not None:
            await self.gate.wait()
        version = await super().commit(changes, if_versions)
        if self.lost:
            self.lost -= 1
            raise OSError("no answer")
        return version


class Broker:
    """A broker with a clock of its own."""

    def __init__(self, state: State, node_id: int, timeout: float = TIMEOUT) -> None:
        self.clock = ManualClock()
        self.all = Registrations(state, Background(self.clock), node_id, f"rack-{node_id}", timeout)

    async def register(self) -> None:
        await self.all.register({"PLAINTEXT": (f"broker{self.all._own.node_id}.test", 9092)})

    @property
    def sees(self) -> set[int]:
        return set(self.all.others)


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def pair(state: State) -> AsyncIterator[tuple[Broker, Broker]]:
    one, two = Broker(state, 1), Broker(state, 2)
    await one.register()
    await two.register()
    await one.all.keep()
    yield one, two


async def pass_time(seconds: float, *brokers: Broker, keeping: tuple[Broker, ...]) -> None:
    """Let time go by for ``brokers``; those of ``keeping`` give signs of life."""
    for _ in range(round(seconds / SIGN)):
        for broker in brokers:
            await broker.clock.advance(SIGN)
        for broker in keeping:
            await broker.all.keep()


async def test_brokers_see_each_other_with_their_addresses(pair: tuple[Broker, Broker]) -> None:
    one, two = pair
    assert (one.sees, two.sees) == ({2}, {1})
    found = two.all.others[1]
    assert (found.listeners, found.rack) == ({"PLAINTEXT": ("broker1.test", 9092)}, "rack-1")
    await pass_time(5 * TIMEOUT, one, two, keeping=pair)
    assert (one.sees, two.sees) == ({2}, {1})


async def test_the_controller_is_who_registered_first(pair: tuple[Broker, Broker], state: State) -> None:
    """Who comes later, with a lower id, too, does not take over from one that lives."""
    one, two = pair
    nought = Broker(state, 0)
    await nought.register()
    await pass_time(TIMEOUT, one, two, nought, keeping=(one, two, nought))
    assert one.all.controller == two.all.controller == nought.all.controller == 1


async def test_one_without_signs_of_life_is_gone_after_the_session_timeout(
    pair: tuple[Broker, Broker], caplog: pytest.LogCaptureFixture
) -> None:
    """By the clock of who looks. When it comes back it has registered anew, and is the youngest."""
    caplog.set_level(logging.INFO)
    one, two = pair
    await pass_time(TIMEOUT - SIGN, two, keeping=(two,))
    assert two.sees == {1} and two.all.controller == 1
    await pass_time(3 * SIGN, two, keeping=(two,))
    assert two.sees == set() and two.all.controller == 2
    assert one.all.controller == 1, "its clock stands still"
    await one.clock.advance(TIMEOUT + SIGN)
    assert one.all.lapsed and one.all.controller is None
    await one.all.keep()
    await two.all.keep()
    assert two.sees == {1} and one.all.controller == two.all.controller == 2
    assert [line for line in caplog.messages if line.startswith("broker 1")] == [
        "broker 1 is gone",
        "broker 1 is there",
    ]


async def test_the_session_timeout_is_that_of_the_broker_which_registered(
    pair: tuple[Broker, Broker], state: State
) -> None:
    """Else one with a shorter timeout would coordinate the groups beside one that counts itself as alive."""
    hasty = Broker(state, 3, TIMEOUT / 4)
    await hasty.register()
    await pass_time(TIMEOUT - SIGN, hasty, keeping=(hasty,))
    assert hasty.sees == {1, 2} and hasty.all.controller == 1
    await pass_time(3 * SIGN, hasty, keeping=(hasty,))
    assert hasty.sees == set()


async def test_one_that_leaves_is_gone_at_once(pair: tuple[Broker, Broker], state: State) -> None:
    one, two = pair
    await one.all.leave()
    await two.all.keep()
    assert two.sees == set()
    assert [entry.key async for entry in state.scan(PREFIX)] == [PREFIX + b"2"]


async def test_a_node_id_belongs_to_one_that_lives(pair: tuple[Broker, Broker], state: State) -> None:
    one, _ = pair
    again = Broker(state, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_refused, again.register)
        await turns()
        await one.clock.advance(SIGN)
        await one.all.keep()
        await again.clock.advance(SIGN)


async def _refused(register: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(DuplicateBrokerRegistration, match="another gateway has node id 1"):
        await register()


async def test_one_that_was_killed_is_followed_when_its_session_is_over(
    pair: tuple[Broker, Broker], state: State
) -> None:
    one, two = pair
    again = Broker(state, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.register)
        for _ in range(SIGNS + 2):
            await again.clock.advance(SIGN)
    await again.all.keep()
    assert again.sees == {2}
    await two.all.keep()
    assert two.sees == {1} and two.all.controller == 2
    await one.clock.advance(SIGN)
    with pytest.raises(DuplicateBrokerRegistration, match="has taken node id 1"):
        await one.all.keep()


async def test_a_sign_of_life_of_which_nothing_was_heard_may_be_there(
    pair: tuple[Broker, Broker], state: State
) -> None:
    """The next one finds its own entry, of another version than it knows."""
    one, two = pair
    state.lost = 1
    await one.clock.advance(SIGN)
    with pytest.raises(OSError):
        await one.all.keep()
    await one.all.keep()
    await two.all.keep()
    assert two.sees == {1}


async def test_what_nobody_can_read_is_left_alone(
    pair: tuple[Broker, Broker], state: State, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = pair
    await state.commit({PREFIX + b"7": b"{"})
    await one.all.keep()
    assert one.sees == {2}
    assert "is left alone" in caplog.text


class TestPlacement:
    """Who leads, as the ledger and the registrations say together."""

    class Ledger(OffsetLedger):
        name = "test"
        shared = True

        def __init__(self) -> None:
            super().__init__()
            self.leaders: dict[TopicPartition, Leader] = {}

        async def lead(self, tp: TopicPartition) -> Leadership:
            raise NotImplementedError

        def leader(self, tp: TopicPartition) -> Leader | None:
            return self.leaders.get(tp)

        def reserve(self, tp: TopicPartition, span: int) -> int:
            raise NotImplementedError

        def committed(self, tp: TopicPartition, end: int) -> int:
            return end

        def released(self, tp: TopicPartition, base: int) -> None:
            raise NotImplementedError

    @pytest.fixture
    def ledger(self) -> Ledger:
        return self.Ledger()

    @pytest.fixture
    def places(self, pair: tuple[Broker, Broker], ledger: Ledger) -> list[Placement]:
        return [Placement(number, f"rack-{number}", ledger, each.all) for number, each in enumerate(pair, 1)]

    async def test_clients_are_told_every_broker_that_has_their_listener(
        self, places: list[Placement]
    ) -> None:
        client = a_client()
        one, two = Node(1, "broker1.test", 9092, "rack-1"), Node(2, "broker2.test", 9092, "rack-2")
        assert list(places[0].nodes(client)) == [Node(1, "gateway.test", 9092, "rack-1"), two]
        assert list(places[1].nodes(client)) == [one, Node(2, "gateway.test", 9092, "rack-2")]
        client.listener = "TLS"
        assert [node.id for node in places[0].nodes(client)] == [1]
        assert places[1].coordinator("g", a_client()) == one
        with pytest.raises(CoordinatorNotAvailable):
            places[1].coordinator("g", client)

    async def test_the_ledger_says_who_leads_if_that_broker_lives(
        self, places: list[Placement], ledger: Ledger, pair: tuple[Broker, Broker]
    ) -> None:
        tp = TopicPartition("t", UUID, 0)
        ledger.leaders[tp] = Leader(1, 4)
        assert [place.leader(tp) for place in places] == [Leader(1, 4)] * 2
        assert [place.may_lead(tp) for place in places] == [True, False]
        places[0].check_leads(tp)
        with pytest.raises(NotLeaderOrFollower, match="led by node 1"):
            places[1].check_leads(tp)
        await pair[0].all.leave()
        await pair[1].all.keep()
        assert places[1].leader(tp) is None
        assert places[1].replicas(tp) == [1]
        with pytest.raises(NotLeaderOrFollower, match="another broker"):
            places[1].check_leads(tp)
        assert not places[1].is_vacant(tp), "its lease has not run out"

    async def test_what_nobody_leads_is_for_one_of_those_that_live(
        self, places: list[Placement], pair: tuple[Broker, Broker]
    ) -> None:
        """All brokers name the same leader. Each broker gets about as many, and the last one gets all."""
        tps = [TopicPartition("t", UUID, number) for number in range(200)]
        assert [place.leader(tp) for tp in tps for place in places] == [None] * 400
        first, second = ({tp for tp in tps if place.is_vacant(tp)} for place in places)
        assert first.isdisjoint(second) and len(first | second) == 200
        assert 60 < len(first) < 140
        assert {tp for tp in tps if places[0].may_lead(tp)} == first
        assert {tuple(place.replicas(tp)) for tp in first for place in places} == {(1,)}
        await pair[0].all.leave()
        await pair[1].all.keep()
        assert all(places[1].is_vacant(tp) for tp in tps)
        assert places[1].coordinates() and places[1].controller() == 2


class TestLate:
    """A heartbeat that the state takes, or answers, too late."""

    async def test_who_was_gone_when_a_heartbeat_landed_registers_anew(
        self, pair: tuple[Broker, Broker], state: State
    ) -> None:
        """Else it would be controller again, and never hear that another one was, in between."""
        one, two = pair
        told: list[int | None] = []
        one.all.looked.append(lambda: told.append(one.all.controller))
        await pass_time(TIMEOUT - SIGN, one, two, keeping=(two,))
        state.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.all.keep)
            await turns()
            gate, state.gate = state.gate, None
            await pass_time(3 * SIGN, one, two, keeping=(two,))
            assert two.all.controller == 2
            gate.set()
        await two.all.keep()
        assert one.all.controller == two.all.controller == 2
        assert told[-1] == 2, "it is told at once"

    async def test_it_ends_when_the_session_is_over_though_the_state_does_not_answer(
        self, pair: tuple[Broker, Broker], state: State
    ) -> None:
        one, _ = pair
        told: list[int | None] = []
        one.all.looked.append(lambda: told.append(one.all.controller))
        state.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.all.keep)
            await one.clock.advance(TIMEOUT - 0.1)
            assert told[-1] == 1
            await one.clock.advance(0.1)
            assert told[-1] is None
            tasks.cancel_scope.cancel()

    async def test_no_heartbeat_follows_the_end(self, pair: tuple[Broker, Broker], state: State) -> None:
        """Nor is one under way, which would register the broker anew."""
        one, two = pair
        gate = state.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.all.keep)
            await turns()
            state.gate = None
            tasks.start_soon(one.all.leave)
            await turns()
            gate.set()
        await one.all.keep()
        await two.all.keep()
        assert two.sees == set()
