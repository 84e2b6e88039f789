"""The core's own state stores against the suite that third parties use."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_store import FileStore
from kgw_storage_memory.store import MemoryStore

from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore
from kgw_core.state.log import LogStateStore
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.state_store import MakeStore, StateStoreSuite


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


class TestMemory(StateStoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return MemoryStateStore


class TestLogInMemory(StateStoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda: LogStateStoreThatOpensItsLog(MemoryStore())


class TestLogInFiles(StateStoreSuite):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: LogStateStoreThatOpensItsLog(FileStore(tmp_path))

    async def crash(self, store: StateStore) -> None:
        """The files are closed, which no program does in a crash; nothing is written."""
        await store.close()
