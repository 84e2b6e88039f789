"""Two gateways on one state, of which one coordinates the groups, and then the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from broker_kit import ManualClock, turns
from groups_kit import NO_TOPIC, SETTINGS, committed

from kgw_core.errors import NotCoordinator
from kgw_core.groups.service import GroupService
from kgw_core.pending import Pending
from kgw_core.spi.state import Entry, StateCapabilities
from kgw_core.state.memory import MemoryStateStore

pytestmark = pytest.mark.anyio


class State(MemoryStateStore):
    """It waits. A scan takes what is there, and waits for ``gate`` before it says so."""

    gate: anyio.Event | None = None

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities()

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        found = [entry async for entry in super().scan(prefix)]
        if self.gate is not None:
            await self.gate.wait()
        for entry in found:
            yield entry


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def pair(state: State) -> AsyncIterator[tuple[GroupService, GroupService]]:
    tasks: list[asyncio.Task[None]] = []

    def a_service() -> GroupService:
        return GroupService(
            SETTINGS,
            state,
            ManualClock(),
            lambda work: tasks.append(asyncio.ensure_future(work)),
            lambda _: NO_TOPIC,
        )

    yield a_service(), a_service()
    for task in tasks:
        task.cancel()


async def commit(groups: GroupService, offset: int) -> Any:
    pending: Pending[Any] = groups.commit("g", -1, "", None, [("t", 0, committed(offset))])
    await turns()
    assert pending.done
    return pending.result()


def offset(groups: GroupService) -> int:
    return groups.find("g").offsets["t"][0].offset


async def test_one_that_has_lost_the_fence_begins_anew(pair: tuple[GroupService, GroupService]) -> None:
    """Another gateway was coordinator in between, and this one never heard of it: what it knows is old, and
    nothing that it writes is taken."""
    one, other = pair
    for groups in pair:
        groups.coordinates(True)
        await turns()
    assert await commit(other, 7) is None
    assert isinstance(await commit(one, 5), NotCoordinator)
    other.coordinates(False)
    one.coordinates(True)
    await turns()
    assert offset(one) == 7
    assert await commit(one, 8) is None


async def test_a_coordinator_whose_session_is_over_serves_no_group(
    pair: tuple[GroupService, GroupService],
) -> None:
    """Another one may coordinate, although the timer that ends the session has not rung yet."""
    groups, _ = pair
    groups.coordinates(True)
    await turns()
    assert await commit(groups, 7) is None
    groups.coordinator.groups.lapsed = lambda: True
    with pytest.raises(NotCoordinator):
        offset(groups)
    assert groups.coordinator.groups.is_elsewhere()


async def test_what_was_read_before_another_one_coordinated_is_not_served(
    pair: tuple[GroupService, GroupService], state: State
) -> None:
    """The reading has begun, another gateway coordinates for a moment and writes, and then the reading
    ends."""
    one, other = pair
    gate = state.gate = anyio.Event()
    one.coordinates(True)
    await turns()
    one.coordinates(False)
    state.gate = None
    other.coordinates(True)
    await turns()
    assert await commit(other, 7) is None
    other.coordinates(False)
    one.coordinates(True)
    gate.set()
    await turns()
    assert offset(one) == 7
