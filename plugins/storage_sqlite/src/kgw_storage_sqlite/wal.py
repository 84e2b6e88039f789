"""The write-ahead log: its bytes that no checkpoint has written into the database yet, and its file's size.

SQLite writes whole pages into it, so small commits write many times their own size. After a complete
checkpoint the next commit starts it anew, in the same file. The kept part of the file is room that nobody
else can take. It is enough for deletions on a full disk.
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
"""A checkpoint runs after this many bytes."""
MOST: Final = 96 << 20
"""After this many bytes writes wait for the checkpoint, unless a reader of an older state holds it up."""
LARGEST: Final = 64 << 20
"""The bytes that the file keeps if the disk has room."""


class WriteAheadLog:
    """``kept``: bytes that the file always has. ``written``: approximate bytes written so far.

    The writing thread counts. Any thread may run a checkpoint.
    """

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database}-wal")
        self.kept = 0
        self._limit = -1
        self._carrying = threading.Lock()
        self._tried = 0
        self._carried = 0
        self._held = -MOST
        self._used = 0  # bytes in the file at the last checkpoint
        self.written = 0

    @property
    def pending(self) -> int:
        """The approximate most bytes without a checkpoint."""
        return self.written - self._carried

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due."""
        return self.written - self._tried >= CHECKPOINT

    @property
    def overdue(self) -> bool:
        """Whether writes have to wait for a checkpoint."""
        return self.pending >= MOST and self.written - self._held >= CHECKPOINT

    def size(self) -> int:
        """The size of the file in bytes."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    @property
    def may_grow(self) -> bool:
        """Whether the last write was below the size that the file keeps."""
        return self._used < self._limit

    def carry(self, connection: sqlite3.Connection) -> bool:
        """Run a checkpoint, as far as no reader needs an older state. Return whether it was complete.

        :raises sqlite3.Error: it failed, as on a full disk.
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
        """Set how many bytes the file keeps when it starts anew. ``little``: room is scarce."""
        limit = self.kept if little else max(LARGEST, self.kept)
        if limit != self._limit:
            connection.execute(f"PRAGMA journal_size_limit = {limit}")
            self._limit = limit

    def extend(self) -> None:
        """Extend the file to the kept size. Nobody may write meanwhile. SQLite reads only the part that it
        has written."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            try:
                allocate(descriptor, self.kept)
            finally:
                os.close(descriptor)


def pages(size: int, rows: int) -> int:
    """The approximate bytes of a commit in the write-ahead log. ``size``: bytes of rows. ``rows``: rows on
    different pages, each of which takes a whole page."""
    return size + size // 16 + PAGE_SIZE * (rows + 1)
