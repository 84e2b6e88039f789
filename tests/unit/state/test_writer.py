"""The writer that shares commits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest

from kgw_core.errors import KafkaStorageError, NotCoordinator
from kgw_core.spi.state import NO_VERSIONS, Changes, VersionConflict, Versions
from kgw_core.state import writer as writer_module
from kgw_core.state.memory import MemoryStateStore
from kgw_core.state.writer import FENCES, StateWriter

pytestmark = pytest.mark.anyio


class Failure(NamedTuple):
    """What a commit does: raise ``error``, after it was ``landed``; or it is ``late``, and may land at any
    time. ``lands``: the late one lands now."""

    error: Exception | None
    landed: bool = False
    late: bool = False
    lands: bool = False


PASSES = Failure(None)


class Slow(MemoryStateStore):
    """Waits a turn in every commit; fails as told."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[bytes]] = []
        self.failures: list[Failure] = []
        self.get_failures: list[Exception | None] = []
        self._late: tuple[Changes, Versions] = ({}, {})

    def capabilities(self) -> Any:
        return super().capabilities().__class__()

    async def get(self, key: bytes) -> Any:
        error = self.get_failures.pop(0) if self.get_failures else None
        if error is not None:
            raise error
        return await super().get(key)

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        await anyio.lowlevel.checkpoint()
        self.commits.append([key for key in changes if not key.startswith(FENCES)])
        failure = self.failures.pop(0) if self.failures else PASSES
        if failure.lands:
            await self.land()
        if failure.late:
            self._late = (dict(changes), dict(if_versions))
        if failure.error is not None and not failure.landed:
            raise failure.error
        version = await super().commit(changes, if_versions)
        if failure.error is not None:
            raise failure.error
        return version

    async def land(self) -> None:
        """The commit that was late arrives now."""
        await super().commit(*self._late)


async def _done(work: Coroutine[Any, Any, None]) -> None:
    await work


async def run(store: Slow, *submissions: Changes, then: Changes | None = None) -> list[Any]:
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:
        writer = StateWriter(store, lambda work: tasks.start_soon(_done, work))
        for changes in submissions:
            writer.submit(changes, outcomes.append)
        assert outcomes == []
        await writer.drained()
        if then is not None:
            writer.submit(then, outcomes.append)
            await writer.drained()
    return outcomes


async def test_an_immediate_store_is_written_in_the_callers_stack() -> None:
    store = MemoryStateStore()
    writer = StateWriter(store, lambda _: None)
    outcomes: list[Any] = []
    writer.submit({b"a": b"1"}, outcomes.append)
    assert outcomes == [None]
    await writer.drained()


async def test_what_comes_together_is_one_commit_in_order() -> None:
    store = Slow()
    assert await run(store, {b"a": b"1"}, {b"b": b"1"}, {b"a": b"2"}) == [None] * 3
    assert store.commits == [[], [b"a", b"b"]]  # the first takes the fence
    entry = await store.get(b"a")
    assert entry is not None
    assert entry.value == b"2"


async def test_a_commit_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MOST_CHANGES", 2)
    store = Slow()
    await run(store, {b"a": b"1"}, {b"b": b"1"}, {b"c": b"1"}, {b"d": b"1", b"e": b"1", b"f": b"1"})
    assert store.commits == [[], [b"a", b"b"], [b"c"], [b"d", b"e", b"f"]]


async def test_a_failure_is_told_to_all_that_were_in_it() -> None:
    store = Slow()
    error = KafkaStorageError("not now")
    store.failures = [PASSES, Failure(error)]
    assert await run(store, {b"a": b"1"}, {b"b": b"1"}) == [error, error]


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)


@pytest.mark.usefixtures("no_delay")
class TestUnknownOutcomes:
    @pytest.mark.parametrize("landed", [True, False])
    async def test_it_asks_the_store_until_that_can_say(self, landed: bool) -> None:
        store = Slow()
        store.failures = [
            PASSES,
            Failure(OSError("disk"), landed),
            Failure(OSError("still")),
            Failure(KafkaStorageError("not yet")),
        ]
        if landed:
            store.get_failures = [None, OSError("disk")]
        (outcome,) = await run(store, {b"a": b"1", b"b": None})
        assert (outcome is None) == landed
        assert landed or isinstance(outcome, KafkaStorageError)
        assert (await store.get(b"a") is not None) == landed

    @pytest.mark.parametrize("landed", [True, False])
    async def test_a_question_may_have_an_unknown_outcome_too(self, landed: bool) -> None:
        store = Slow()
        store.failures = [PASSES, Failure(OSError("disk"), landed), Failure(OSError("disk"), not landed)]
        outcome, after = await run(store, {b"a": b"1"}, then={b"b": b"1"})
        assert (outcome is None) == landed
        assert after is None
        assert (await store.get(b"a") is not None) == landed

    async def test_a_commit_that_is_late_never_lands_over_a_newer_one(self) -> None:
        store = Slow()
        store.failures = [PASSES, Failure(OSError("no answer"), late=True)]
        first, second = await run(store, {b"offset": b"10"}, then={b"offset": b"20"})
        assert isinstance(first, KafkaStorageError)
        assert second is None
        with pytest.raises(VersionConflict):
            await store.land()
        entry = await store.get(b"offset")
        assert entry is not None
        assert entry.value == b"20"

    async def test_a_commit_that_lands_before_the_question_is_done(self) -> None:
        store = Slow()
        store.failures = [
            PASSES,
            Failure(OSError("no answer"), late=True),
            Failure(OSError("no"), lands=True),
        ]
        (outcome,) = await run(store, {b"offset": b"10"})
        assert outcome is None

    async def test_a_late_commit_of_a_writer_before_this_one_does_not_land(self) -> None:
        store = Slow()
        store.failures = [PASSES, Failure(OSError("no answer"), late=True), Failure(OSError("killed"))]
        async with anyio.create_task_group() as tasks:
            killed = StateWriter(store, lambda work: tasks.start_soon(_done, work))
            killed.submit({b"offset": b"10"}, lambda _: None)
            while len(store.commits) < 3:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        following = StateWriter(store, lambda _: None)
        await following.take_over()
        with pytest.raises(VersionConflict):
            await store.land()
        assert await store.get(b"offset") is None


@pytest.mark.usefixtures("no_delay")
async def test_a_writer_whose_fence_another_takes_while_it_asks_has_lost_it() -> None:
    store = Slow()
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:
        old, new = (StateWriter(store, lambda work: tasks.start_soon(_done, work)) for _ in range(2))
        await old.take_over()
        store.failures = [Failure(OSError("no answer")), Failure(OSError("still"))]
        old.submit({b"a": b"old"}, outcomes.append)
        while store.failures:
            await anyio.lowlevel.checkpoint()
        await new.take_over()
        await old.drained()
    assert [type(outcome) for outcome in outcomes] == [NotCoordinator]
    assert await store.get(b"a") is None


async def test_a_writer_whose_fence_another_has_taken_writes_nothing_more() -> None:
    store = Slow()
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:
        old, new = (StateWriter(store, lambda work: tasks.start_soon(_done, work)) for _ in range(2))
        old.submit({b"a": b"old"}, outcomes.append)
        await old.drained()
        await new.take_over()
        for _ in range(2):
            old.submit({b"a": b"late"}, outcomes.append)
            await old.drained()
    assert outcomes[0] is None
    assert [type(outcome) for outcome in outcomes[1:]] == [NotCoordinator] * 2
    entry = await store.get(b"a")
    assert entry is not None
    assert entry.value == b"old"


async def test_a_state_that_cannot_be_written_is_taken_over_by_the_first_commit() -> None:
    store = Slow()
    store.failures = [Failure(KafkaStorageError("the disk is full"))]
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:
        writer, other = (StateWriter(store, lambda work: tasks.start_soon(_done, work)) for _ in range(2))
        await writer.take_over(lazily=True)
        writer.submit({b"a": b"1"}, outcomes.append)
        await writer.drained()
        store.failures = [Failure(KafkaStorageError("the disk is full"))]
        await writer.take_over(lazily=True)
        await other.take_over()
        writer.submit({b"a": b"2"}, outcomes.append)
        await writer.drained()
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NotCoordinator)
