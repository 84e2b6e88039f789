"""The gateway's own state: keys, values and versions in a table of the same database."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from typing import ClassVar, Final

import sqlalchemy as sa

from kgw_core.spi.context import PluginContext
from kgw_core.spi.state import (
    ABSENT,
    NO_VERSIONS,
    Changes,
    Entry,
    StateCapabilities,
    StateStore,
    VersionConflict,
    Versions,
)
from kgw_storage_sqlite.config import Config as Settings
from kgw_storage_sqlite.database import Database, transaction
from kgw_storage_sqlite.logs import Logs
from kgw_storage_sqlite.schema import first, sql, state
from kgw_storage_sqlite.upkeep import Upkeep
from kgw_storage_sqlite.wal import pages

PIECE: Final = 1_000
"""Entries that a scan reads at once."""
PIECE_BYTES: Final = 4 << 20
"""… and bytes, about."""
KEYS: Final = 500
"""Keys that one statement takes."""

_COUNTER: Final = b""
"""The key of the row that holds the last commit's version: no key of the core is empty."""

_GET = sql(sa.select(state.c.value, state.c.version).where(state.c.key == sa.bindparam("key")))
_page_from = first(
    sa.select(state).where(state.c.key >= sa.bindparam("least")).order_by(state.c.key),
    sa.bindparam("most", type_=sa.Integer),
)
_PAGE = sql(_page_from)
_PAGE_BELOW = sql(_page_from.where(state.c.key < sa.bindparam("below")))
_PUT = f"INSERT OR REPLACE INTO state ({', '.join(column.name for column in state.columns)}) VALUES "


class SqliteStateStore(StateStore):
    """On the database of a store that is open (``database``), or on one of its own."""

    name = "sqlite"
    Config: ClassVar[type[Settings]] = Settings

    def __init__(self, config: Settings | None = None, *, database: Database | None = None) -> None:
        super().__init__(config)
        self._own = database is None
        self._database = database or Database(config or Settings())
        self._version = 0
        self._tried = 0  # the version of the last commit that was begun: it may be there though it failed
        self._upkeep: Upkeep | None = None

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities(durable=True)

    async def open(self, context: PluginContext | None = None) -> None:
        if self._own:
            self._version = await self._database.open(_last_version)
            background = (context or PluginContext()).background
            self._upkeep = Upkeep(self._database, Logs(self._database.room), background)
            self._upkeep.start()
        else:
            self._version = await self._database.write(_last_version, size=0)

    async def close(self) -> None:
        if self._own:
            await self._stop()
            await self._database.close()

    async def abandon(self) -> None:
        if self._own:
            await self._stop()
            await self._database.abandon()

    async def _stop(self) -> None:
        if self._upkeep is not None:
            await self._upkeep.stop()

    async def get(self, key: bytes) -> Entry | None:
        return await self._database.read(partial(_get, key=key))

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        least = prefix or b"\0"  # the counter's key is empty
        below = _after_all(prefix)
        most = PIECE
        while True:
            page = await self._database.read(partial(_page, least=least, below=below, most=most))
            for entry in page:
                yield entry
            if len(page) < most:
                return
            least = page[-1].key + b"\0"
            size = sum(len(entry.value) for entry in page)
            most = max(1, min(PIECE, PIECE_BYTES * len(page) // (size + 1)))

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        size = pages(sum(len(value) for value in changes.values() if value is not None), len(changes))
        return await self._database.write(
            lambda connection: self._commit(connection, changes, if_versions), size=size if changes else 0
        )

    def _commit(self, connection: sqlite3.Connection, changes: Changes, if_versions: Versions) -> int:
        """In the thread that writes, so that of all commits this one alone is under way."""
        for key, expected in if_versions.items():
            row = connection.execute(_GET, {"key": key}).fetchone()
            found = ABSENT if row is None else row[1]
            if found != expected:
                raise VersionConflict(key, expected, found)
        if changes:
            self._tried = version = max(self._version, self._tried) + 1
            self._write(connection, changes, version)
            self._version = version
        return self._version

    @staticmethod
    def _write(connection: sqlite3.Connection, changes: Changes, version: int) -> None:
        puts: list[object] = [_COUNTER, b"", version]
        gone: list[bytes] = []
        for key, value in changes.items():
            if value is None:
                gone.append(key)
            else:
                puts += (key, value, version)
        if not gone and len(puts) <= 3 * KEYS:
            _put(connection, puts)  # one statement is one transaction
            return

        def work(connection: sqlite3.Connection) -> None:
            for at in range(0, len(puts), 3 * KEYS):
                _put(connection, puts[at : at + 3 * KEYS])
            for at in range(0, len(gone), KEYS):
                some = gone[at : at + KEYS]
                connection.execute(f"DELETE FROM state WHERE key IN ({','.join('?' * len(some))})", some)

        transaction(connection, work)


def _put(connection: sqlite3.Connection, rows: list[object]) -> None:
    connection.execute(_PUT + ",".join(["(?,?,?)"] * (len(rows) // 3)), rows)


def _last_version(connection: sqlite3.Connection) -> int:
    row = connection.execute(_GET, {"key": _COUNTER}).fetchone()
    return row[1] if row is not None else 0


def _get(connection: sqlite3.Connection, *, key: bytes) -> Entry | None:
    row = connection.execute(_GET, {"key": key}).fetchone()
    return None if row is None else Entry(key, *row)


def _page(connection: sqlite3.Connection, *, least: bytes, below: bytes | None, most: int) -> list[Entry]:
    statement = _PAGE if below is None else _PAGE_BELOW
    rows = connection.execute(statement, {"least": least, "below": below, "most": most})
    return [Entry(*row) for row in rows]


def _after_all(prefix: bytes) -> bytes | None:
    """The least key that comes after all that begin with ``prefix``; None where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
