"""The SQLite store keeps every promise of the public suites."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from kgw_storage_sqlite import state
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.state import SqliteStateStore
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.spi.state import StateStore, VersionConflict
from kgw_core.testing import LogStoreSuite
from kgw_core.testing.state_store import MakeStore, StateStoreSuite


def make(path: Path) -> SqliteStore:
    return SqliteStore(Config(path=path))


class TestSqliteStore(LogStoreSuite):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> partial[SqliteStore]:
        return partial(make, tmp_path / "kgw.db")

    @pytest.fixture
    def failing(self, store: SqliteStore) -> Callable[[], AbstractContextManager[None]]:
        """The disk is full: after the rows have gone in, a page more is wanted, and there is none."""

        @contextmanager
        def fail() -> Iterator[None]:
            assert store.database._writer is not None
            connection = store.database._writer._conn
            connection.execute("PRAGMA max_page_count = 1")  # as many as there are
            connection.execute(
                "CREATE TEMP TRIGGER grow AFTER INSERT ON chunks BEGIN "
                "INSERT INTO state VALUES (randomblob(8), zeroblob(1000000), 0); END"
            )
            yield
            connection.execute("DROP TRIGGER grow")
            connection.execute("PRAGMA max_page_count = 1073741823")

        return fail


class TestSqliteStateStore(StateStoreSuite):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: SqliteStateStore(Config(path=tmp_path / "state.db"))

    @pytest.fixture
    def failing(self) -> Callable[[StateStore], AbstractContextManager[None]]:
        """The disk is full when a row is deleted."""

        @contextmanager
        def fail(store: StateStore) -> Iterator[None]:
            assert isinstance(store, SqliteStateStore)
            assert store._database._writer is not None
            connection = store._database._writer._conn
            connection.execute(
                "CREATE TEMP TRIGGER full BEFORE DELETE ON state BEGIN SELECT RAISE(FAIL, 'disk full'); END"
            )
            yield
            connection.execute("DROP TRIGGER full")

        return fail

    @pytest.mark.anyio
    async def test_a_commit_that_failed_and_is_there_all_the_same_has_its_version_to_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else what was read after it could be taken for what is there after the next commit."""
        store = SqliteStateStore(Config(path=tmp_path / "landed.db"))
        await store.open()
        put = state._put

        def fails(connection: sqlite3.Connection, rows: list[object]) -> None:
            put(connection, rows)
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(state, "_put", fails)
            with pytest.raises(sqlite3.OperationalError):
                await store.commit({b"a/1": b"1"})
        there = await store.get(b"a/1")
        assert there is not None
        assert await store.commit({b"a/1": b"2"}) > there.version
        with pytest.raises(VersionConflict):
            await store.commit({b"a/1": b"3"}, {b"a/1": there.version})
        await store.close()


def test_the_entry_points_register_both_stores() -> None:
    """`storage.sqlite` and `state.sqlite` name a module whose hooks return the classes."""
    [storage] = entry_points(group="kgw", name="storage.sqlite")
    [state_store] = entry_points(group="kgw", name="state.sqlite")
    assert storage.load().kgw_register_storage() == [SqliteStore]
    assert state_store.load().kgw_register_state() == [SqliteStateStore]
    assert SqliteStore.name == SqliteStateStore.name == "sqlite"
