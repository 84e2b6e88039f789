"""Databases that older versions wrote are brought to this one, whole or not at all."""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
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

from kgw_core.testing.batches import make_batch

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent / "data"
STORED = sorted(DATA.glob("v*.db"))
BEFORE = ("v1", "v2")
"""Versions that kept no write times."""


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


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_what_is_there_was_written_when_it_was_said_or_before_the_upgrade(
    path: Path, tmp_path: Path
) -> None:
    """Version 2 did not say it: what it wrote is as old as the upgrade, and its headers are in doubt."""
    shutil.copy(path, tmp_path / "kgw.db")
    before = time.time_ns() // 1_000_000
    upgraded: set[int] = set()
    for _ in range(2):
        store = SqliteStore(Config(path=tmp_path / "kgw.db"))
        await store.open()
        after = time.time_ns() // 1_000_000
        for tp, (_, _, left) in stored.LEFT.items():
            bounds = await store.bounds(tp)
            assert bounds.unchecked == (20 if path.stem in BEFORE else 0)
            times = [await store.write_time(tp, batch.base_offset) for batch in left]
            if path.stem in BEFORE:
                assert all(before <= each <= after for each in times)
                upgraded.update(times)
            else:
                assert times == [batch.write_time for batch in left]
            base = bounds.end
            await store.append(tp, [make_batch(base, 1, write_time=after + 5)])
            assert await store.write_time(tp, base) == after + 5
        await store.close()
    assert len(upgraded) <= 1, "opening it again does not make it younger"


async def test_compaction_makes_nothing_younger_that_an_older_version_wrote(tmp_path: Path) -> None:
    shutil.copy(DATA / "v1.db", tmp_path / "kgw.db")
    store = SqliteStore(Config(path=tmp_path / "kgw.db"))
    await store.open()
    upgraded = await store.write_time(stored.ALL, 0)
    new = [make_batch(base, 2, size=80, tag="new") for base in (4, 8)]
    assert await store.replace(stored.ALL, 4, 13, new)
    assert {await store.write_time(stored.ALL, offset) for offset in range(20)} == {upgraded}
    assert (await store.bounds(stored.ALL)).unchecked == 20
    await store.close()


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
