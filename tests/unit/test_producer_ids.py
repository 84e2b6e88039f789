"""Producer ids: none twice, by however many gateways, and whatever becomes of them or of the state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from broker_kit import ManualClock
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import CoordinatorLoadInProgress, KafkaStorageError
from kgw_core.producer_ids import BLOCK, KEY, ProducerIds
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateCapabilities, Versions
from kgw_core.state.log import LogStateStore
from kgw_core.state.memory import MemoryStateStore

pytestmark = pytest.mark.anyio


class Waiting(MemoryStateStore):
    """Others get turns in every call; commits raise what ``faults`` holds, ``late``: after they were done."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Exception] = []
        self.late = False

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities()

    async def get(self, key: bytes) -> Entry | None:
        entry = await super().get(key)
        await anyio.lowlevel.checkpoint()
        return entry

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        await anyio.lowlevel.checkpoint()
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.late:
            raise fault
        version = await super().commit(changes, if_versions)
        if fault is not None:
            raise fault
        return version


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def take(ids: ProducerIds, count: int) -> list[int]:
    return [await ids.next() for _ in range(count)]


async def test_an_id_is_there_at_once_but_for_the_first_of_a_block(clock: ManualClock) -> None:
    ids = ProducerIds(MemoryStateStore(), clock)
    assert ids.next_now() is None
    first = await ids.next()
    assert [ids.next_now() for _ in range(BLOCK)] == [*range(first + 1, first + BLOCK), None]
    assert await ids.next() == first + BLOCK


async def test_those_who_ask_together_get_different_ones(clock: ManualClock) -> None:
    ids = ProducerIds(Waiting(), clock)
    found: list[int] = []

    async def one() -> None:
        found.append(await ids.next())

    async with anyio.create_task_group() as tasks:
        for _ in range(BLOCK + 10):
            tasks.start_soon(one)
    assert len(set(found)) == BLOCK + 10


async def test_gateways_on_one_state_never_give_the_same(clock: ManualClock) -> None:
    """Though they start in the same millisecond."""
    state = Waiting()
    found: list[int] = []

    async def gateway() -> None:
        found.extend(await take(ProducerIds(state, clock), 2 * BLOCK + 1))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(gateway)
    assert len(found) == len(set(found)) == 5 * (2 * BLOCK + 1)


@asynccontextmanager
async def opened(store: MemoryStore) -> AsyncIterator[LogStateStore]:
    state = LogStateStore(store)
    await state.open()
    yield state
    await state.close()


async def test_gateways_on_one_log_never_give_the_same(clock: ManualClock) -> None:
    """Each has read the log when it began, and learns of the other's ids when it writes."""
    store = MemoryStore()
    async with opened(store) as one, opened(store) as other:
        ids = [ProducerIds(one, clock), ProducerIds(other, clock)]
        found = [id for _ in range(3) for each in ids for id in await take(each, BLOCK)]
    assert len(set(found)) == 6 * BLOCK


@pytest.mark.parametrize("seconds", [0.0, 0.001, -86_400.0])
async def test_ids_are_new_after_a_restart_whatever_the_clock_says(
    clock: ManualClock, seconds: float
) -> None:
    state = MemoryStateStore()
    before = await take(ProducerIds(state, clock), 3)
    clock._seconds += seconds
    assert min(await take(ProducerIds(state, clock), 3)) > max(before)


async def test_ids_are_new_after_a_restart_that_lost_the_state(clock: ManualClock) -> None:
    """Or found an old backup of it."""
    state = MemoryStateStore()
    await take(ProducerIds(state, clock), 1)
    old = await state.get(KEY)
    assert old is not None
    before = await take(ProducerIds(state, clock), 5 * BLOCK)
    await clock.advance(0.001)
    for kept in ({}, {KEY: old.value}):
        restored = MemoryStateStore()
        await restored.commit(kept)
        assert min(await take(ProducerIds(restored, clock), 3)) > max(before)


@pytest.mark.parametrize("year", [1900, 2500, 30_000])
async def test_a_clock_that_is_quite_wrong_does_no_harm(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    monkeypatch.setattr(clock, "time_ms", lambda: (year - 1970) * 365 * 86_400_000)
    state = MemoryStateStore()
    found = await take(ProducerIds(state, clock), 2) + await take(ProducerIds(state, clock), 2)
    assert len(set(found)) == 4
    assert all(0 < id < 2**63 - 2**40 for id in found)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [KafkaStorageError("not now"), OSError("disk")], ids=repr)
async def test_while_the_state_fails_clients_are_told_to_try_again(
    clock: ManualClock, error: Exception, late: bool
) -> None:
    """Also where it is not known whether the block was taken: then it is not used."""
    state = Waiting()
    ids = ProducerIds(state, clock)
    before = await take(ids, BLOCK)
    state.faults, state.late = [error] * 2, late
    for _ in range(2):
        with pytest.raises(CoordinatorLoadInProgress):
            await ids.next()
    after = await take(ids, BLOCK)
    assert min(after) > max(before)
    assert min(after) == max(before) + 1 + (2 * BLOCK if late else 0)
