"""The writer that shares commits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from kgw_core.errors import KafkaStorageError
from kgw_core.spi.state import NO_VERSIONS, Changes, Versions
from kgw_core.state import writer as writer_module
from kgw_core.state.memory import MemoryStateStore
from kgw_core.state.writer import StateWriter

pytestmark = pytest.mark.anyio


class Slow(MemoryStateStore):
    """Waits a turn in every commit; fails as told."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[bytes]] = []
        self.failures: list[tuple[Exception, bool]] = []
        self.get_failures: list[Exception] = []

    def capabilities(self) -> Any:
        return super().capabilities().__class__()

    async def get(self, key: bytes) -> Any:
        if self.get_failures:
            raise self.get_failures.pop()
        return await super().get(key)

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        await anyio.lowlevel.checkpoint()
        self.commits.append(list(changes))
        error, late = self.failures.pop(0) if self.failures else (None, False)
        if error is not None and not late:
            raise error
        version = await super().commit(changes, if_versions)
        if error is not None:
            raise error
        return version


async def run(store: Slow, *submissions: Changes) -> list[Any]:
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:

        def spawn(work: Coroutine[Any, Any, None]) -> None:
            async def do() -> None:
                await work

            tasks.start_soon(do)

        writer = StateWriter(store, spawn)
        for changes in submissions:
            writer.submit(changes, outcomes.append)
        assert outcomes == []
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
    assert store.commits == [[b"a", b"b"]]
    entry = await store.get(b"a")
    assert entry is not None
    assert entry.value == b"2"


async def test_a_commit_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MOST_CHANGES", 2)
    store = Slow()
    await run(store, {b"a": b"1"}, {b"b": b"1"}, {b"c": b"1"}, {b"d": b"1", b"e": b"1", b"f": b"1"})
    assert store.commits == [[b"a", b"b"], [b"c"], [b"d", b"e", b"f"]]


async def test_a_failure_is_told_to_all_that_were_in_it() -> None:
    store = Slow()
    error = KafkaStorageError("not now")
    store.failures = [(error, False)]
    assert await run(store, {b"a": b"1"}, {b"b": b"1"}) == [error, error]


@pytest.mark.parametrize("late", [True, False])
async def test_where_the_outcome_is_not_known_it_looks(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    store = Slow()
    store.failures = [(OSError("disk"), late)]
    store.get_failures = [OSError("disk"), KafkaStorageError("disk")]
    (outcome,) = await run(store, {b"a": b"1", b"b": None})
    assert (outcome is None) == late
    assert late or isinstance(outcome, KafkaStorageError)
