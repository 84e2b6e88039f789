"""The core's own state stores against the suite that third parties use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_store import FileStore
from kgw_storage_memory.store import MemoryStore

from kgw_core.spi.state import NO_VERSIONS, Changes, StateStore, Versions
from kgw_core.spi.storage import Batch, LogStore, TopicPartition
from kgw_core.state.log import LogStateStore
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.state_store import Failing, MakeStore, StateStoreSuite


class LogStateStoreThatOpensItsLog(LogStateStore):
    """Opens and closes the LogStore with itself; snapshots often."""

    def __init__(self, store: LogStore) -> None:
        super().__init__(store, snapshot_bytes=2_000, piece_bytes=300)
        self.log_store = store

    async def open(self) -> None:
        await self.log_store.open()
        await super().open()

    async def close(self) -> None:
        await self.log_store.close()


@contextmanager
def _append_fails(store: StateStore) -> Iterator[None]:
    assert isinstance(store, LogStateStoreThatOpensItsLog)
    log_store, append = store.log_store, store.log_store.append

    async def lost(tp: TopicPartition, batches: Sequence[Batch]) -> int:
        await append(tp, batches)
        raise OSError("the answer was lost, and so is the log's end")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_store, "append", lost)
        patch.setattr(log_store, "bounds", lost)
        yield


class OnALog(StateStoreSuite):
    @pytest.fixture
    def failing(self) -> Failing:
        return _append_fails


class TestMemory(StateStoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return MemoryStateStore


class TestLogInMemory(OnALog):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda: LogStateStoreThatOpensItsLog(MemoryStore())


class TestLogInFiles(OnALog):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: LogStateStoreThatOpensItsLog(FileStore(tmp_path))

    async def crash(self, store: StateStore) -> None:
        """The files are closed, which no program does in a crash; nothing is written."""
        await store.close()


class Late(MemoryStateStore):
    """Gives up waiting for its engine, which does the commit all the same, a little later."""

    giving_up = False

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        if self.giving_up:
            asyncio.get_running_loop().call_later(0.05, self.commit_now, changes, if_versions)
            raise TimeoutError("no answer")
        return await super().commit(changes, if_versions)


@pytest.mark.anyio
async def test_the_suite_catches_a_store_that_is_late() -> None:
    @contextmanager
    def failing(store: StateStore) -> Iterator[None]:
        assert isinstance(store, Late)
        store.giving_up = True
        yield
        store.giving_up = False

    with pytest.raises(AssertionError, match="landed after it had raised"):
        await StateStoreSuite().test_a_commit_that_has_raised_lands_no_more(Late, failing)
