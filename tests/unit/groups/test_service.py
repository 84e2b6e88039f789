"""The coordinator on a state store that waits: what is one write, what is shared, and what is there after a
restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from broker_kit import ManualClock, turns
from groups_kit import NO_TOPIC, RANGE, SETTINGS, committed
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import CoordinatorLoadInProgress, KafkaStorageError
from kgw_core.groups.events import Join, Sync
from kgw_core.groups.service import GroupService
from kgw_core.pending import Pending
from kgw_core.state.log import LogStateStore
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio


class Shell:
    """A service on a log; ``restart`` is another one on the same log."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.clock = ManualClock()
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> GroupService:
        state = LogStateStore(self.store)
        await state.open()
        self.service = GroupService(
            SETTINGS, state, self.clock, self._spawn, lambda topic: None if topic == "gone" else NO_TOPIC
        )
        await self.service.load()
        await self.service.writer.drained()
        self.store.calls.clear()
        return self.service

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    @property
    def appends(self) -> int:
        return self.store.calls.count("append")

    def commit(self, group: str, *partitions: int, topic: str = "t", offset: int = 7) -> Pending[Any]:
        places = [(topic, partition, committed(offset)) for partition in partitions]
        return self.service.commit(group, -1, "", None, places)

    async def answer(self, pending: Pending[Any]) -> Any:
        await self.clock.advance(0)
        await self.service.writer.drained()
        await turns()
        assert pending.done
        return pending.result()


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell(FaultyStore(MemoryStore()))
    yield made
    assert not made.tasks


async def test_a_commit_of_500_partitions_is_one_append(shell: Shell) -> None:
    await shell.start()
    assert await shell.answer(shell.commit("g", *range(500))) is None
    assert shell.appends == 1


async def test_commits_of_many_groups_share_appends(shell: Shell) -> None:
    """What comes while one append is under way is the next one."""
    await shell.start()
    go_on = shell.store.hold("append")
    first = shell.commit("g", 0)
    await turns()
    others = [shell.commit(f"g{number}", 0) for number in range(100)]
    await turns()
    assert not first.done
    go_on.set()
    assert [await shell.answer(one) for one in (first, *others)] == [None] * 101
    assert shell.appends == 2


async def test_nothing_is_lost_by_a_restart(shell: Shell) -> None:
    service = await shell.start()
    join = Join("g", "", None, "me", "/1.2.3.4", 10_000, 30_000, "consumer", RANGE)
    joined = await shell.answer(service.join(join))
    sync = Sync("g", joined.generation, joined.member_id, None, None, None, {joined.member_id: b"mine"})
    assert (await shell.answer(service.sync(sync))).assignment == b"mine"
    place = [("t", 3, committed(5, metadata="note"))]
    assert await shell.answer(service.commit("g", joined.generation, joined.member_id, None, place)) is None

    again = await shell.start()
    assert again is not service
    group = again.find("g")
    member = group.members[joined.member_id]
    assert (member.client_id, member.client_host, member.assignment) == ("me", "/1.2.3.4", b"mine")
    assert (group.generation, group.state.value) == (joined.generation, "Stable")
    assert group.offsets["t"][3].metadata == "note"
    again.heartbeat("g", joined.generation, joined.member_id, None)
    assert (await shell.answer(again.sync(sync))).assignment == b"mine"


async def test_offsets_of_topics_that_went_meanwhile_are_dropped(shell: Shell) -> None:
    """Also those of a topic that was made again: it has another id."""
    await shell.start()
    await shell.answer(shell.commit("g", 0, 1, topic="gone"))
    other = [("t", 0, committed(3, topic_id=b"another topic 16"))]
    await shell.answer(shell.service.commit("g", -1, "", None, other))
    await shell.answer(shell.commit("g", 1))
    again = await shell.start()
    assert {topic: list(parts) for topic, parts in again.find("g").offsets.items()} == {"t": [1]}


async def test_until_the_state_can_be_read_clients_are_told_to_wait(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgw_core.groups.service.RETRY_SECONDS", 0)
    await shell.start()
    await shell.answer(shell.commit("g", 0))
    state = LogStateStore(shell.store)
    await state.open()
    state._certain = False
    shell.store.fail("bounds", OSError("disk"), times=3)
    service = GroupService(SETTINGS, state, ManualClock(), shell._spawn, lambda _: NO_TOPIC)
    with pytest.raises(CoordinatorLoadInProgress):
        service.find("g")
    with pytest.raises(CoordinatorLoadInProgress):
        service.commit("g", -1, "", None, [("t", 0, committed(8))])
    await service.load()
    assert service.find("g").offsets["t"][0].offset == 7


async def test_a_commit_that_the_storage_refuses_is_told_and_the_next_succeeds(shell: Shell) -> None:
    await shell.start()
    shell.store.fail("append", KafkaStorageError("full"))
    assert (await shell.answer(shell.commit("g", 0))).name == "NOT_COORDINATOR"
    assert await shell.answer(shell.commit("g", 0, offset=9)) is None
    assert shell.service.find("g").offsets["t"][0].offset == 9
