"""A connection with a thread that runs whole functions on it.

aiosqlite gives each connection a thread, and crosses to it for every call. A function here gets the plain
``sqlite3.Connection`` and crosses once, with any number of statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")

PAGE_SIZE = 32_768
"""The page size of a new database. Bulk produce cost 3.7 ms of CPU for a MB with pages of 16 KiB, 2.9 with
these, and 2.6 with 64 KiB. But a commit writes at least one page for each log."""


class Worker(aiosqlite.Connection):
    """``busy`` counts the functions that wait or run."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self.busy = 0

    @classmethod
    async def opened(cls, connector: Callable[[], sqlite3.Connection]) -> Worker:
        """A new open worker."""
        worker = cls(connector)
        await worker
        return worker

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of ``work(connection)`` on the connection's thread. It runs even if the caller is
        cancelled."""
        self.busy += 1
        try:
            result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        finally:
            self.busy -= 1
        return result


def connect(
    path: Path, *, synchronous: str, lock_timeout: float, cache: int, readonly: bool
) -> sqlite3.Connection:
    """A connection in autocommit mode, like all connections of this plugin."""
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
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # for new files only, as is the next
            connection.execute("PRAGMA auto_vacuum = incremental")
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # upkeep runs checkpoints, beside appends
            # Some builds overwrite deleted data with zeros, which needs as much of the write-ahead log as the
            # data had. "fast" does so only in pages that are written anyway.
            connection.execute("PRAGMA secure_delete = fast")
        # Last, as SQLite stores this as a number of pages, and the page size of a new file changes above.
        connection.execute(f"PRAGMA cache_size = -{max(cache, 1 << 20) >> 10}")
    except BaseException:
        connection.close()
        raise
    return connection
