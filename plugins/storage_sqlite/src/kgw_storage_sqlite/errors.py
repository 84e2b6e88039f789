"""SQLite's errors as Kafka's errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from kgw_core.errors import KafkaStorageError, MessageTooLarge

FULL = "the disk is full"

_EXPLAINED = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_BUSY: "another program has locked the database",
    sqlite3.SQLITE_LOCKED: "another program has locked the database",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database, or damaged",
    sqlite3.SQLITE_TOOBIG: "SQLite does not take that much at once",
    sqlite3.SQLITE_NOMEM: "no memory is left",
    sqlite3.SQLITE_IOERR: "the disk failed",
}
_MAYBE_WRITTEN = {  # not IOERR_WRITE: what makes a commit whole is written last
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}
OF_ONE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG}
"""Errors that may concern only one of the logs that are written together."""
_MAY_BE_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,  # a quota, a limit of the file's size, a file system that is read-only by now
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_CANTOPEN,
}


def may_be_room(error: sqlite3.Error) -> bool:
    """Whether the write may have failed for want of room."""
    return getattr(error, "sqlite_errorcode", 0) in _MAY_BE_ROOM


def code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 if there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def explained(error: sqlite3.Error) -> str:
    """The error in words."""
    told = _EXPLAINED.get(code(error))
    return f"{told}: {error}" if told else str(error)


def translated(error: sqlite3.Error) -> Exception:
    """KafkaStorageError if it is certain that nothing was written (MessageTooLarge if it never can be);
    otherwise ``error`` itself."""
    if code(error) == sqlite3.SQLITE_TOOBIG:
        return MessageTooLarge(explained(error))
    if code(error) not in _EXPLAINED or getattr(error, "sqlite_errorcode", 0) in _MAYBE_WRITTEN:
        return error
    return KafkaStorageError(explained(error))


@contextmanager
def translating() -> Iterator[None]:
    """Errors of SQLite leave this context as Kafka's."""
    try:
        yield
    except sqlite3.Error as error:
        told = translated(error)
        if told is error:
            raise
        raise told from error
