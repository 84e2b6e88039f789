"""The leader epoch of all logs: it rises when the database is opened and was not closed before (KIP-101).

After a power cut the last records may be missing (``synchronous = "normal"``). What is appended then gets
their offsets and a higher epoch, so a client that has read them can tell: it asks where the epoch of what it
read last ends (KIP-320). Whether the database was closed is on the disk before anything is appended, whatever
``synchronous`` says.
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
    """Note that the database is open; the leader epoch."""

    with _on_the_disk(connection):
        connection.execute(_OPENED)
    [epoch] = connection.execute(_EPOCH).fetchone()
    return int(epoch)


def closed(connection: sqlite3.Connection) -> None:
    """Note that nothing is missing: the last write."""
    with _on_the_disk(connection):
        connection.execute(_CLOSED)


def touched(connection: sqlite3.Connection) -> None:
    """Write something of no meaning, while it is open."""
    connection.execute(_TOUCHED)


def copied(connection: sqlite3.Connection) -> None:
    """Make a copy tell that it is one: what the original got later, its logs have not."""
    connection.execute(_COPIED)


@contextmanager
def _on_the_disk(connection: sqlite3.Connection) -> Iterator[None]:
    """What is committed inside survives loss of power, and with it what was committed before."""
    [level] = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute("PRAGMA synchronous = full")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA synchronous = {level}")
