"""Inserts rows of chunks: many with one statement, which keeps none of their bytes."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Final

ROWS: Final = 256
"""Rows that one INSERT takes; more of them go into one transaction. Each number of rows has a statement."""
BOUND: Final = 16 << 10
"""Bytes of records that such a statement may keep until it runs again."""

# the data not last, for _unbind
_INSERT = "INSERT INTO chunks (data, id, last, time, peak, total, written) VALUES "
_WIDTH: Final = 7
AT_ONCE: Final = ROWS * _WIDTH
"""Values that one statement takes."""
_VALUES = f"({', '.join(['?'] * _WIDTH)})"


def insert(connection: sqlite3.Connection, rows: list[object]) -> None:
    """Insert rows of ``chunks``, flattened. One statement if they are few: SQLite is entered once, and the
    interpreter lock taken back once."""
    for at in range(0, len(rows), AT_ONCE):
        some = rows[at : at + AT_ONCE] if len(rows) > AT_ONCE else rows
        statement = _INSERT + ",".join([_VALUES] * (len(some) // _WIDTH))
        try:
            connection.execute(statement, some)
        finally:
            if sum(map(len, some[::_WIDTH])) > BOUND:  # type: ignore[arg-type] # these are the data
                _unbind(connection, statement, len(some))


def _unbind(connection: sqlite3.Connection, statement: str, count: int) -> None:
    """Make the cached ``statement`` forget its ``count`` parameters: SQLite copied them, and the driver has
    nothing to give them back by. They are bound one by one, so the last one, which cannot be, leaves all the
    others replaced, and the statement does not run."""
    with suppress(OverflowError, sqlite3.Error):
        connection.execute(statement, [0] * (count - 1) + [1 << 64])
