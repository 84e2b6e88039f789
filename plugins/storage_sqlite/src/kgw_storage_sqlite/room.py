"""Room on the disk: appends end while there is still enough of it to delete with.

Three things ensure that. The write-ahead log keeps its file (:mod:`kgw_storage_sqlite.wal`), so a commit that
deletes needs no room once the log is carried over. Appends are refused when there would be none to carry them
over. And a reserve (:mod:`kgw_storage_sqlite.reserve`) is given up if others have filled the disk.

All of it runs in the writing thread.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Final

from kgw_core.errors import KafkaStorageError
from kgw_storage_sqlite import epoch, errors
from kgw_storage_sqlite.reserve import Reserve
from kgw_storage_sqlite.wal import WriteAheadLog
from kgw_storage_sqlite.worker import PAGE_SIZE

SHARE: Final = 8
"""The reserve, and what the write-ahead log keeps, take at most one part in so many of the file system."""
SCARCE: Final = 1 << 30
"""With fewer bytes free the write-ahead log stays so small that the reserve has room to carry it over."""
LOOK: Final = 4 << 20
"""Bytes that are appended between two checks of the free room, at most."""
SLACK: Final = 1 << 20
"""Bytes that are left free, at most."""
LEAST: Final = 2 << 20
"""The least that is taken for the size of the reserve, where it is measured by that."""
UNKNOWN: Final = 1 << 60
RETRY_SECONDS: Final = 1.0
"""Seconds between two checks whether there is room again."""
TRIES: Final = 3


class Room:
    """Of one database. ``wanted``: bytes of the reserve, where the file system is large enough.

    ``refusing``: why nothing is appended at present. ``news``: whether that has begun; its reader resets
    it.
    """

    def __init__(self, database: Path, wanted: int) -> None:
        self.wal = WriteAheadLog(database)
        self.refusing: str | None = None
        self.news = False
        self._database = database
        self._wanted = wanted
        self._reserve = Reserve(database)
        self._unit = LEAST
        self._slack = SLACK
        self._credit = 0
        self._again = 0.0
        self._more = SLACK
        self._failing: str | None = None
        self._unsure = False

    def begin(self, connection: sqlite3.Connection) -> None:
        """Take the room; called when the database is open and nobody else writes."""
        total, _ = self._usage()
        size = min(self._wanted, total // SHARE) // PAGE_SIZE * PAGE_SIZE
        self._reserve.size = self.wal.kept = size
        self._unit = max(size, LEAST)
        self._slack = min(SLACK, self._unit // 4)
        self.wal.extend()
        self.wal.keep(connection, little=False)
        reason = self._reserve.hold()
        if reason is not None:
            self._refuse(reason)

    def free(self) -> int:
        """Bytes that are free on the disk."""
        return self._usage()[1]

    def _usage(self) -> tuple[int, int]:
        """Bytes of the file system, and those that are free; practically endless if it does not say."""
        try:
            total, _, free = shutil.disk_usage(self._database.parent)
        except OSError:
            total = 0
        return (total, free) if total else (UNKNOWN, UNKNOWN)

    def give_up(self) -> bool:
        """Let go of the reserve; whether there was one."""
        return self._reserve.give_up()

    # -- appending

    def spend(self, connection: sqlite3.Connection, cost: int) -> None:
        """Allow an append of ``cost`` bytes. :raises KafkaStorageError: there is no room for it."""
        if self.refusing is not None:
            self._try_again()
        self._credit -= cost
        if self._credit < 0:
            self._look(connection, cost)

    def appended(self, cost: int) -> None:
        """It was appended."""
        self.wal.written += cost
        self._failing = None

    def _look(self, connection: sqlite3.Connection, cost: int) -> None:
        free = self.free()
        scarce = free < SCARCE
        self.wal.keep(connection, little=scarce)
        pending = self.wal.pending
        if free < self._needed(cost) or self.wal.overdue or (scarce and pending > self._unit // 2):
            self._carry(connection)
            free = self.free()
        needed = self._needed(cost)
        if free < needed:
            self._refuse(errors.FULL)
            self._more = needed - self.wal.pending + self._unit // 4  # more, lest it be full again at once
            raise KafkaStorageError(f"{errors.FULL}: {_mib(free)} are free, {_mib(needed)} are needed")
        if self.refusing is not None:
            raise KafkaStorageError(self.refusing)
        self._credit = min(LOOK, self._unit // 4, (free - needed) // 4)

    def _needed(self, cost: int) -> int:
        """Bytes that have to be free for an append, so that it and what came before can be carried over."""
        return self.wal.pending + 2 * cost + self._slack

    def _carry(self, connection: sqlite3.Connection) -> None:
        """Carry the write-ahead log over, with the reserve if need be. Where it cannot be done, what is to be
        done next says what is wrong."""
        if not self._carried(connection) and self._reserve.give_up():
            self._refuse(errors.FULL)
            self._carried(connection)

    def _try_again(self) -> None:
        """:raises KafkaStorageError: there still is no room."""
        now = time.monotonic()
        if now >= self._again:
            self._again = now + RETRY_SECONDS
            self.refusing = self._reserve.hold(more=self._more)
            self._credit = 0
        if self.refusing is not None:
            raise KafkaStorageError(self.refusing)

    def look_again(self, connection: sqlite3.Connection) -> None:
        """Look whether there is room again. :raises KafkaStorageError: none, or it cannot be told."""
        if self.refusing is not None:
            with contextlib.suppress(KafkaStorageError):
                self._try_again()
        unsure = self._unsure and self._failing is not None  # until an append has shown it
        if self.refusing is not None or unsure:
            raise KafkaStorageError(self.refusing or self._failing)
        self._failing = None

    # -- failures

    def made(self, connection: sqlite3.Connection, error: sqlite3.Error, tries: int, *, frees: bool) -> bool:
        """After ``tries`` writes that failed: make room if that was it, and return whether to try again.

        ``frees``: it is to delete something, for which the reserve may be given up.
        """
        if not errors.may_be_room(error) or tries >= TRIES:
            return False
        if tries == 0 and self._carried(connection):
            return True
        self._refuse_for(error)
        if frees and self._reserve.give_up():
            self._carry(connection)
            return True
        return False

    def told(self, connection: sqlite3.Connection, error: sqlite3.Error) -> Exception:
        """What a write's failure means: KafkaStorageError if it is certain that nothing was written, else
        ``error`` itself; what is not seen now is then never seen."""
        told = errors.translated(error)
        if told is error:
            self._overwrite(connection)
        if errors.may_be_room(error):
            reason = self._refuse_for(error)
            if told is not error:
                told = KafkaStorageError(reason)
        return told

    def _refuse_for(self, error: sqlite3.Error) -> str:
        """Refuse appends from now on; why, as far as that can be found out."""
        reason = self._reserve.why_not(PAGE_SIZE)
        unsure = reason is None  # SQLite or the system may have a limit of its own
        if reason is None:
            reason = errors.FULL if errors.code(error) == sqlite3.SQLITE_FULL else errors.explained(error)
        self._refuse(reason, unsure=unsure)
        return reason

    def _refuse(self, reason: str, *, unsure: bool = False) -> None:
        first = self._failing is None
        self.refusing = self._failing = reason
        self._unsure = unsure
        self.news = True
        self._more = self._slack
        self._again = 0.0 if first else time.monotonic() + RETRY_SECONDS

    def _carried(self, connection: sqlite3.Connection) -> bool:
        try:
            self.wal.carry(connection)
        except sqlite3.Error:
            return False
        return True

    def _overwrite(self, connection: sqlite3.Connection) -> None:
        """Write something of no meaning after a write that may have reached the disk, though SQLite took it
        back: it takes its place in the write-ahead log, so that it cannot come to life after a crash."""
        for carry in (False, True):
            if carry and not self._carried(connection):
                return
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                epoch.touched(connection)
            except sqlite3.Error:
                continue
            return


def _mib(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 10 << 30 else f"{size / (1 << 20):.1f} MiB"
