"""The write-ahead log: how much of it is not carried over into the database yet, and how large its file is.

SQLite writes whole pages into it, so small commits fill it with many times what they bring. Once all of it is
carried over, the next commit begins it anew, in the room that its file has already: what is kept of the file
is room that nobody else can take, and on a full disk it is enough to delete with.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

from kgw_storage_sqlite.reserve import allocate
from kgw_storage_sqlite.worker import PAGE_SIZE

CHECKPOINT: Final = 32 << 20
"""Bytes written after which it is carried over."""
MOST: Final = 96 << 20
"""Bytes after which writes wait for that, where nobody reads an older state."""
LARGEST: Final = 64 << 20
"""Bytes that its file keeps where the disk has room."""


class WriteAheadLog:
    """``kept``: bytes that its file always has. ``written``: bytes that went into it so far, about.

    The thread that writes counts; any thread may carry over.
    """

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database}-wal")
        self.kept = 0
        self._limit = -1
        self._carrying = threading.Lock()
        self._tried = 0
        self._carried = 0
        self._held = -MOST
        self._used = 0  # bytes of its file, from its last beginning until it was carried over last
        self.written = 0

    @property
    def pending(self) -> int:
        """Bytes that are not carried over, at most; about."""
        return self.written - self._carried

    @property
    def due(self) -> bool:
        """Whether it is time to carry over, again."""
        return self.written - self._tried >= CHECKPOINT

    @property
    def overdue(self) -> bool:
        """Whether writes have to wait until it is carried over."""
        return self.pending >= MOST and self.written - self._held >= CHECKPOINT

    def size(self) -> int:
        """Bytes of its file."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    @property
    def may_grow(self) -> bool:
        """Whether it has not come, in its file, to where that stays as large anyway."""
        return self._used < self._limit

    def carry(self, connection: sqlite3.Connection) -> bool:
        """Write what is in it into the database, as far as nobody reads an older state; whether that is all.

        :raises sqlite3.Error: it cannot be done, as on a full disk.
        """
        with self._carrying:
            self._tried = begun = self.written
            busy, frames, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            [page_size] = connection.execute("PRAGMA page_size").fetchone()
            self._used = frames * page_size
            if busy or frames != done:
                self._held = begun
                return False
            self._carried = begun
            return True

    def keep(self, connection: sqlite3.Connection, *, little: bool) -> None:
        """Say what its file keeps when it begins anew: ``little`` where room is scarce."""
        limit = self.kept if little else max(LARGEST, self.kept)
        if limit != self._limit:
            connection.execute(f"PRAGMA journal_size_limit = {limit}")
            self._limit = limit

    def extend(self) -> None:
        """Give its file the room that it keeps; called where nobody writes. SQLite looks at no more of it
        than it has written."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            try:
                allocate(descriptor, self.kept)
            finally:
                os.close(descriptor)


def pages(size: int, rows: int) -> int:
    """Bytes that a commit of ``rows`` with ``size`` bytes takes in the write-ahead log, about: each row that
    lies elsewhere takes a page."""
    return size + size // 16 + PAGE_SIZE * (rows + 1)
