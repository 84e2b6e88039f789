"""The coordinator on a state store that waits: what is one write, what is shared, and what is there after a
restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from broker_kit import ManualClock, turns
from groups_kit import NO_TOPIC, RANGE, SETTINGS, committed
from kgw_storage_memory.store import MemoryStore

from kgw_core.background import Background
from kgw_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    KafkaStorageError,
    NotCoordinator,
)
from kgw_core.groups.events import Effects, Join, Now, Sync, Write
from kgw_core.groups.group import Group
from kgw_core.groups.service import GroupService
from kgw_core.pending import Pending
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateCapabilities, Versions
from kgw_core.state.log import LogStateStore
from kgw_core.state.memory import MemoryStateStore
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
    """Writes that arrive during one append make up the next append."""
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
    shell: Shell,
) -> None:
    await shell.start()
    await shell.answer(shell.commit("g", 0))
    state = LogStateStore(shell.store)
    await state.open()
    state._certain = False
    shell.store.fail("bounds", OSError("disk"), times=3)
    service = GroupService(SETTINGS, state, shell.clock, shell._spawn, lambda _: NO_TOPIC)
    with pytest.raises(CoordinatorLoadInProgress):
        service.find("g")
    with pytest.raises(CoordinatorLoadInProgress):
        service.commit("g", -1, "", None, [("t", 0, committed(8))])
    shell._spawn(service.load())
    for _ in range(5):
        await shell.clock.advance(2)
    assert service.find("g").offsets["t"][0].offset == 7


class Faulty(MemoryStateStore):
    """Not immediate. ``scan`` and ``commit`` raise their errors of ``faults``."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, list[Exception]] = {"scan": [], "commit": []}

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities()

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        async for entry in super().scan(prefix):
            yield entry
            self._meet("scan")

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        self._meet("commit")
        return await super().commit(changes, if_versions)

    def _meet(self, method: str) -> None:
        if self.faults[method]:
            raise self.faults[method].pop(0)


class OnFaulty:
    """Services on one state that fails as told; their topics are those in ``topics``."""

    def __init__(self) -> None:
        self.state = Faulty()
        self.clock = ManualClock()
        self.topics = {"t": NO_TOPIC}
        self.background = Background(self.clock)

    def service(self) -> GroupService:
        return GroupService(
            SETTINGS,
            self.state,
            self.clock,
            self.background.spawn,
            self.topics.get,
            background=self.background,
        )

    async def loaded(self) -> GroupService:
        service = self.service()
        await service.load()
        return service

    async def go_on(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1)


async def commit(service: GroupService, *groups: str, topic: str = "t") -> None:
    for group in groups:
        assert await service.commit(group, -1, "", None, [(topic, 0, committed(7))]).wait() is None


@pytest.mark.parametrize(
    "error", [KafkaStorageError("not now"), OSError("disk"), ValueError("a fault")], ids=repr
)
async def test_groups_are_loaded_after_any_failure(error: Exception) -> None:
    """Not only after those that a store declares: one that broke off half way is seen, and tried again."""
    one = OnFaulty()
    await commit(await one.loaded(), "a", "b")
    again = one.service()
    one.state.faults["scan"] = [error] * 3
    one.background.spawn(again.load())
    await turns()
    with pytest.raises(CoordinatorLoadInProgress):
        again.find("a")
    assert list(one.background.health.failing) == ["loading groups"]
    await one.go_on(10)
    assert again.find("a").offsets["t"][0].offset == again.find("b").offsets["t"][0].offset == 7
    assert not one.background.health.failing


async def test_what_is_no_record_is_told_and_the_others_are_loaded(caplog: pytest.LogCaptureFixture) -> None:
    one = OnFaulty()
    await commit(await one.loaded(), "a")
    await one.state.commit({b"groups/g/b": b"\x97\xa5Stuck", b"groups/x": b"", b"groups/o/": b"\x00"})
    service = await one.loaded()
    assert list(service.coordinator.groups) == ["a"]
    assert caplog.text.count("is left alone") == 3


async def test_a_group_that_meets_a_fault_keeps_none_from_expiring(monkeypatch: pytest.MonkeyPatch) -> None:
    one = OnFaulty()
    service = await one.loaded()
    await commit(service, "a", "b", "c")
    expire = service.coordinator.expire

    def failing(group_id: str, now: Now) -> Effects:
        if group_id == "b":
            raise ZeroDivisionError("a fault")
        return expire(group_id, now)

    monkeypatch.setattr(service.coordinator, "expire", failing)
    one.background.spawn(service.upkeep())
    await turns()
    await one.clock.advance(SETTINGS.offsets_retention + 1)
    for _ in range(3):
        await one.clock.advance(SETTINGS.offsets_check_interval)
    assert list(service.coordinator.groups) == ["b"]
    assert "1 group(s), as b: ZeroDivisionError" in one.background.health.failing["expiring offsets"].cause


async def test_offsets_of_a_deleted_topic_go_though_that_fails_at_first() -> None:
    """Those that the same topic, made again, got meanwhile stay."""
    one = OnFaulty()
    service = await one.loaded()
    await commit(service, "a", "b")
    del one.topics["t"]
    one.state.faults["commit"] = [KafkaStorageError("not now")] * 3
    await service.topic_deleted("t", 1)
    await turns()
    assert service.find("a").offsets["t"]
    assert list(one.background.health.failing) == ["dropping offsets of deleted topics"]
    one.state.faults["commit"] = []
    one.topics["t"] = b"another topic 16"
    new = [("t", 0, committed(1, topic_id=b"another topic 16"))]
    one.background.spawn(_answered(service.commit("b", -1, "", None, new)))
    await one.go_on(10)
    assert service.find("b").offsets["t"][0].offset == 1
    assert "t" not in service.find("a").offsets
    assert not one.background.health.failing


async def test_at_the_end_what_failed_is_tried_once_more() -> None:
    one = OnFaulty()
    service = await one.loaded()
    await commit(service, "a")
    del one.topics["t"]
    one.state.faults["commit"] = [KafkaStorageError("not now")] * 2
    await service.topic_deleted("t", 1)
    await turns()
    with anyio.fail_after(5):
        await service.stop()
    assert [entry.key async for entry in one.state.scan(b"groups/o/")] == []


async def test_a_deadline_that_meets_a_fault_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = OnFaulty()
    service = await one.loaded()
    for group in ("a", "b", "c"):
        service.join(Join(group, "", None, "me", "/1.2.3.4", 10_000, 30_000, "consumer", RANGE))
    join_over = service.coordinator.machine.rebalance.join_over

    def failing(group: Group, now: Now, effects: Effects) -> None:
        if group.id == "a":
            raise ZeroDivisionError("a fault")
        join_over(group, now, effects)

    monkeypatch.setattr(service.coordinator.machine.rebalance, "join_over", failing)
    await one.go_on(5)
    states = {name: group.state.value for name, group in service.coordinator.groups.items()}
    assert states == {"a": "PreparingRebalance", "b": "CompletingRebalance", "c": "CompletingRebalance"}
    await one.go_on(60)
    assert caplog.text.count("Traceback") == 1
    assert list(one.background.health.failing) == ["deadlines of groups"]
    monkeypatch.undo()
    await one.go_on(30)
    assert service.find("a").state.value == "CompletingRebalance"
    assert not one.background.health.failing


class Immediate(OnFaulty):
    """On a store that never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryStateStore()  # type: ignore[assignment]


@pytest.mark.parametrize("store", [OnFaulty, Immediate])
@pytest.mark.parametrize("step", ["apply", "on_written", "deferred"])
async def test_a_fault_after_a_commit_leaves_nobody_without_an_answer(
    store: type[OnFaulty], step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = store()
    service = await one.loaded()
    coordinator = service.coordinator

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("a fault")

    real = coordinator.committed

    def committed_(write: Write, error: Exception | None, now: Now) -> Effects:
        if step == "on_written":
            write = write._replace(on_written=fails)
        elif step == "deferred":
            coordinator.groups[write.group_id].deferred.append(fails)
        return real(write, error, now)

    monkeypatch.setattr(coordinator, "committed", committed_)
    if step == "apply":
        monkeypatch.setattr(coordinator, "apply", fails)
    others = service.join(Join("a", "", None, "me", "/1.2.3.4", 10_000, 30_000, "consumer", RANGE))
    sent = service.commit("b", -1, "", None, [("t", 0, committed(1))])
    with anyio.fail_after(5):
        error = await sent.wait()
    assert error is None if step == "deferred" else isinstance(error, CoordinatorNotAvailable)
    assert "group b: a change of it failed" in caplog.text
    monkeypatch.undo()
    assert await service.commit("b", -1, "", None, [("t", 0, committed(2))]).wait() is None
    assert service.find("b").offsets["t"][0].offset == 2
    await one.go_on(5)
    assert others.done, "other groups go on"


@pytest.mark.parametrize("store", [OnFaulty, Immediate])
async def test_a_fault_does_not_leave_a_group_between_two_states(
    store: type[OnFaulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store()
    service = await one.loaded()

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("a fault")

    join = Join("a", "", None, "me", "/1.2.3.4", 10_000, 30_000, "consumer", RANGE)
    first = service.join(join)
    await one.go_on(5)
    joined = await first.wait()
    monkeypatch.setattr(service.coordinator, "apply", fails)
    sync = Sync("a", joined.generation, joined.member_id, None, None, None, {joined.member_id: b"x"})
    with anyio.fail_after(5):
        assert isinstance((await service.sync(sync).wait()).error, CoordinatorNotAvailable | NotCoordinator)
    monkeypatch.undo()
    again = service.join(join._replace(member_id=joined.member_id))
    await one.go_on(60)
    assert (await again.wait()).error is None


async def test_what_is_too_large_is_refused_alone() -> None:
    """Though it would share a commit with others."""
    one = OnFaulty()
    service = await one.loaded()
    first = service.commit("first", -1, "", None, [("t", 0, committed(1))])
    commits = [
        service.commit(group, -1, "", None, [("t", 0, committed(7, metadata=metadata))])
        for group, metadata in (("a", ""), ("b", "x" * (17 << 20)), ("c", ""))
    ]
    outcomes = [await commit.wait() for commit in (first, *commits)]
    assert [error.name if error else "NONE" for error in outcomes] == [
        "NONE",
        "NONE",
        "UNKNOWN_SERVER_ERROR",
        "NONE",
    ]
    kept = [entry async for entry in one.state.scan(b"groups/")]
    assert len(kept) == 3
    assert await service.commit("b", -1, "", None, [("t", 0, committed(8))]).wait() is None


async def test_what_cannot_be_encoded_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    one = OnFaulty()
    service = await one.loaded()
    (error,) = [await service.commit("a", -1, "", None, [("t", 0, committed(7, metadata="\ud800"))]).wait()]
    assert error is not None
    assert error.name == "COORDINATOR_NOT_AVAILABLE"
    assert "UnicodeEncodeError" in caplog.text
    assert await service.commit("a", -1, "", None, [("t", 0, committed(8))]).wait() is None


async def _answered(pending: Pending[Any]) -> None:
    assert await pending.wait() is None


async def test_a_commit_that_the_storage_refuses_is_told_and_the_next_succeeds(shell: Shell) -> None:
    await shell.start()
    shell.store.fail("append", KafkaStorageError("full"))
    assert (await shell.answer(shell.commit("g", 0))).name == "NOT_COORDINATOR"
    assert await shell.answer(shell.commit("g", 0, offset=9)) is None
    assert shell.service.find("g").offsets["t"][0].offset == 9


async def test_members_are_told_to_ask_again_where_nothing_is_heard_of_a_write(shell: Shell) -> None:
    service = await shell.start()
    seconds = SETTINGS.commit_timeout
    stuck = shell.store.hold("append")
    join = Join("g", "", None, "me", "/1.2.3.4", 10_000, 30_000, "consumer", RANGE)
    asked = [service.join(join), shell.commit("other", 0)]
    await shell.clock.advance(seconds - 0.1)
    assert not any(each.done for each in asked)
    await shell.clock.advance(0.2)
    joined, other = (each.result() for each in asked)
    assert (joined.error.name, other.name) == ("COORDINATOR_NOT_AVAILABLE",) * 2
    assert service._waiting == {}
    stuck.set()
    await service.writer.drained()
    await turns()
    assert service.find("other").offsets["t"][0].offset == 7, "it was done all the same"
    del shell.store._gates["append"]
    again = await shell.answer(service.join(join._replace(member_id=joined.member_id)))
    assert again.error is None
    assert await shell.answer(shell.commit("other", 0, offset=8)) is None
