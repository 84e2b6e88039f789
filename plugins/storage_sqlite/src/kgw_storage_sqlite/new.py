"""The files that a start has made: they are removed if the start fails."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from kgw_storage_sqlite.lock import FileLock
from kgw_storage_sqlite.reserve import Reserve

logger = logging.getLogger(__name__)

_USED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class New:
    """The files that are not there before a database is opened."""

    def __init__(self, database: Path, lock: Path) -> None:
        self._database = database
        self._directories = [parent for parent in database.parents if not parent.exists()]
        self._lock = not lock.exists()
        self._reserve = not Reserve(database).path.exists()
        self._made = False

    def locked(self) -> None:
        """Look whether the database is there, now that no other gateway can make it."""
        self._made = not self._database.exists()

    def undo(self, lock: FileLock) -> None:
        """Remove it, if the lock is ours and no other program uses the database."""
        with contextlib.suppress(OSError):
            if lock.held:
                gone = not self._made or self._remove()
                if self._reserve:
                    Reserve(self._database).path.unlink(missing_ok=True)
                lock.release(remove=self._lock and gone)
            for directory in self._directories:
                directory.rmdir()

    def _remove(self) -> bool:
        """Remove the database unless another program uses it; return whether it is gone."""
        if not self._database.exists():
            return True
        with closing(sqlite3.connect(self._database, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA locking_mode = exclusive")
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                if error.sqlite_errorcode & 0xFF in _USED:
                    logger.warning("%s stays though the start failed, as others use it", self._database)
                    return False
            self._database.unlink()  # while nobody can begin to use it
        for end in ("-wal", "-shm", "-journal"):
            Path(f"{self._database}{end}").unlink(missing_ok=True)
        return True
