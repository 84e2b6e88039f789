"""The leader epoch of all logs: it rises when the database is opened and was not closed before (KIP-101).

After a power cut the last records may be missing (``synchronous = "normal"``). Later appends get
their offsets and a higher epoch, so a client that has read the lost records can tell: it asks for the end
of the epoch that it read last (KIP-320). Whether the database was closed is on the disk before anything is
appended, whatever ``synchronous`` says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BACKUP: Final = 1_000
"""How far a backup's epoch is ahead: further than the original's has risen when the backup takes its place.
Clients take no metadata of an epoch that is older than the one they know."""

_OPENED = "UPDATE store SET epoch = epoch + (clean != 1), clean = 0"
_EPOCH = "SELECT epoch FROM store"
_CLOSED = "UPDATE store SET clean = 1"
_TOUCHED = (
    "UPDATE store SET clean = 2 - clean"  # 2 is as good as 0, but SQLite writes no page that is the same
)
_COPIED = f"UPDATE store SET epoch = epoch + {BACKUP}, clean = 1"


def opened(connection: sqlite3.Connection) -> int:
    """Note that the database is open; return the leader epoch."""

    with _on_the_disk(connection):
        connection.execute(_OPENED)
    [epoch] = connection.execute(_EPOCH).fetchone()
    return int(epoch)


def closed(connection: sqlite3.Connection) -> None:
    """Note that nothing is missing; this is the last write."""
    with _on_the_disk(connection):
        connection.execute(_CLOSED)


def touched(connection: sqlite3.Connection) -> None:
    """Write a change without meaning, while the database is open."""
    connection.execute(_TOUCHED)


def copied(connection: sqlite3.Connection) -> None:
    """Mark a copy as one: its logs lack the original's later records."""
    connection.execute(_COPIED)


@contextmanager
def _on_the_disk(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits inside survive loss of power, and so do all earlier ones."""
    [level] = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute("PRAGMA synchronous = full")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA synchronous = {level}")
