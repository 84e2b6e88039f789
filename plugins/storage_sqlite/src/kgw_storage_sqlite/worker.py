"""A connection with its thread, and whole pieces of work on it.

aiosqlite gives each connection a thread and crosses over to it for every single call. A piece of work here is
a function over the plain ``sqlite3.Connection`` that crosses once, however many statements it has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")

PAGE_SIZE = 32_768
"""Of a new database. Bulk produce cost 3.7 ms of CPU a MB with pages of 16 KiB, 2.9 with these, 2.6 with
64 KiB; but a commit writes a page for each log that it touches, however few bytes it brings."""


class Worker(aiosqlite.Connection):
    """``busy`` counts what waits or is under way."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self.busy = 0

    @classmethod
    async def opened(cls, connector: Callable[[], sqlite3.Connection]) -> Worker:
        """A new one, open."""
        worker = cls(connector)
        await worker
        return worker

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``work(connection)`` on the connection's thread; done all the same if the caller is cancelled."""
        self.busy += 1
        try:
            result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        finally:
            self.busy -= 1
        return result


def connect(
    path: Path, *, synchronous: str, lock_timeout: float, cache: int, readonly: bool
) -> sqlite3.Connection:
    """A connection in autocommit mode, as all of this plugin's are."""
    uri = path.absolute().as_uri() + ("?mode=ro" if readonly else "")
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=lock_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        if readonly:
            connection.execute("PRAGMA query_only = on")
        else:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # these two count for a new file only
            connection.execute("PRAGMA auto_vacuum = incremental")
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # upkeep does it, beside the appends
            # Some builds write zeros over all that is deleted, which takes as much of the write-ahead log as
            # it had. "fast" does so only where a page is written anyway.
            connection.execute("PRAGMA secure_delete = fast")
        # Last: SQLite makes a number of pages of it, and keeps the number when a new file's get larger.
        connection.execute(f"PRAGMA cache_size = -{max(cache, 1 << 20) >> 10}")
    except BaseException:
        connection.close()
        raise
    return connection
