"""Databases that older versions wrote are brought to this one, whole or not at all."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
import stored
from kgw_storage_sqlite import schema
from kgw_storage_sqlite.checking import check
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.database import Unusable
from kgw_storage_sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent / "data"
STORED = sorted(DATA.glob("v*.db"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def structure(database: Path) -> dict[str, str]:
    """The text of each table's and index's definition, however it is laid out."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {name: re.sub(r"\s+", " ", sql) for name, sql in rows}


def version(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        [found] = connection.execute("PRAGMA user_version").fetchone()
        return int(found)


def test_there_is_a_database_of_every_version() -> None:
    assert [path.name for path in STORED] == [f"v{n + 1}.db" for n in range(len(schema.MIGRATIONS))]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_a_database_of_an_older_version_is_all_there(path: Path, tmp_path: Path) -> None:
    """Topics, records, what was trimmed and compacted, the state; and everything goes on."""
    database = tmp_path / "kgw.db"
    shutil.copy(path, database)
    store = SqliteStore(Config(path=database))
    await store.open()
    try:
        await stored.check(store)
    finally:
        await store.close()
    assert version(database) == len(schema.MIGRATIONS)
    assert check(database) == []


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_an_upgraded_database_is_made_like_a_new_one(path: Path, tmp_path: Path) -> None:
    """Who changes a table without a migration is told here."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    shutil.copy(path, old)
    for database in (old, new):
        store = SqliteStore(Config(path=database))
        await store.open()
        await store.close()
    assert structure(old) == structure(new)


def _add_a_table(connection: sa.Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE more (id INTEGER PRIMARY KEY)")


def _fail(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE topics DROP COLUMN nonsense")


async def test_the_next_version_is_made_of_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database = tmp_path / "kgw.db"
    shutil.copy(STORED[-1], database)
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, _add_a_table])
    for _ in range(2):
        store = SqliteStore(Config(path=database))
        await store.open()
        await store.close()
    assert version(database) == len(STORED) + 1
    assert "more" in structure(database)


async def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = tmp_path / "kgw.db"
    shutil.copy(STORED[-1], database)
    before = structure(database)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, _add_a_table, _fail])
        with pytest.raises(Unusable, match="nonsense"):
            await SqliteStore(Config(path=database)).open()
    assert (version(database), structure(database)) == (len(STORED), before)
    store = SqliteStore(Config(path=database))
    await store.open()
    await stored.check(store)
    await store.close()
