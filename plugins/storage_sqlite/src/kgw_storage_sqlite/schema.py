"""The tables, and how a database of an older version becomes one of this version.

``chunks`` holds the records. A row is one or more whole batches, back to back: all that one append brought to
a log, as long as that is little. Its id is the log's id and the offset of its first record in one number
(:func:`key`), so the rows of a log lie together, in order, in the table's own tree: appends touch no index.
Measured beside a key of two columns WITHOUT ROWID, large batches were a fifth faster, small ones the same.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import StaticPool

APPLICATION_ID: Final = 0x4B475731
"""``PRAGMA application_id`` of our databases: "KGW1"."""

OFFSET_BITS: Final = 43
MAX_OFFSET: Final = (1 << OFFSET_BITS) - 1
"""The last offset that a partition can have: 100,000 records a second reach it after 2.8 years."""
MAX_LOGS: Final = (1 << 20) - 1
"""Partitions that can be there at once."""

EPOCHS_SINCE: Final = 2
"""The first version that has the table ``store``."""

metadata = sa.MetaData()


topics = sa.Table(
    "topics",
    metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("partitions", sa.Integer, nullable=False),
    sa.Column("configs", sa.Text, nullable=False),  # JSON
)

logs = sa.Table(
    "logs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("topic_id", sa.LargeBinary),  # NULL: deleted, and its chunks are on their way out
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),  # at least; what the last chunk says, if that is more
    sa.Column("holes", sa.Integer, nullable=False),  # bytes by which chunks.total overstates the log's size
    sa.Column("unchecked", sa.Integer, nullable=False),  # what lies below is of before an upgrade,
    sa.Column("upgraded", sa.Integer, nullable=False),  # which was at this time: ms since the epoch
    sa.UniqueConstraint("topic_id", "partition"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),  # offset of the last record
    sa.Column("time", sa.Integer, nullable=False),  # largest max_timestamp
    sa.Column(
        "peak", sa.Integer, nullable=False
    ),  # largest time in the log up to here: what is searched by time
    sa.Column("total", sa.Integer, nullable=False),  # bytes in the log up to and with this one
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("written", sa.Integer, nullable=False),  # latest write time, -1: not known
)

store = sa.Table(  # one row
    "store",
    metadata,
    sa.Column("epoch", sa.Integer, nullable=False),  # the leader epoch of all logs
    sa.Column("clean", sa.Integer, nullable=False),  # 1 after a close, else 0 or 2
)

state = sa.Table(
    "state",
    metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),  # the empty key holds the last commit's version
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)


def key(log_id: int, offset: int) -> int:
    """The id of the chunk of a log that begins at ``offset``."""
    return log_id << OFFSET_BITS | offset


def first(statement: sa.Select[Any], most: sa.ColumnElement[int] | None = None) -> sa.Select[Any]:
    """The first row, or the first ``most``. In a text made once, plain numbers would become parameters."""
    one: sa.ColumnElement[int] = sa.literal_column("1")
    return statement.limit(one if most is None else most).offset(sa.literal_column("0"))


def sql(statement: sa.ClauseElement) -> str:
    """``statement`` as text with ``:name`` parameters, for the driver: made once, run many times."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


class WrongVersion(Exception):
    """The file is not one that this plugin can use. The message is what the user reads."""


Migration = Callable[[sa.Connection], None]


_FIRST: Final = """
    CREATE TABLE topics (
        id BLOB NOT NULL, name TEXT NOT NULL, partitions INTEGER NOT NULL, configs TEXT NOT NULL,
        PRIMARY KEY (id), UNIQUE (name)
    );
    CREATE TABLE logs (
        id INTEGER NOT NULL, topic_id BLOB, partition INTEGER NOT NULL, start INTEGER NOT NULL,
        "end" INTEGER NOT NULL, holes INTEGER NOT NULL, PRIMARY KEY (id), UNIQUE (topic_id, partition)
    );
    CREATE TABLE chunks (
        id INTEGER NOT NULL, last INTEGER NOT NULL, time INTEGER NOT NULL, peak INTEGER NOT NULL,
        total INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (id)
    );
    CREATE TABLE state (
        "key" BLOB NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY ("key")
    ) WITHOUT ROWID
"""
"""The tables of version 1."""


def _create(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in _FIRST.split(";"):
        connection.exec_driver_sql(statement)


def _add_epoch(connection: sa.Connection) -> None:
    """A database that is in use already does not say how it was closed: it may have been by a power cut."""
    metadata.create_all(connection, [store])
    used = connection.execute(sa.select(logs.c.id).limit(1)).first() is not None
    connection.execute(sa.insert(store).values(epoch=0, clean=int(not used)))


def _add_write_times(connection: sa.Connection) -> None:
    """What is there was written now, at the latest. Its headers were not compared with its records."""
    connection.exec_driver_sql("ALTER TABLE chunks ADD COLUMN written INTEGER NOT NULL DEFAULT -1")
    for column in ("unchecked", "upgraded"):
        connection.exec_driver_sql(f"ALTER TABLE logs ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    connection.exec_driver_sql(
        "UPDATE logs SET upgraded = ?, unchecked = coalesce((SELECT last + 1 FROM chunks "
        f"WHERE chunks.id >= logs.id << {OFFSET_BITS} AND chunks.id < logs.id + 1 << {OFFSET_BITS} "
        "ORDER BY chunks.id DESC LIMIT 1), 0)",
        (time.time_ns() // 1_000_000,),
    )


MIGRATIONS: list[Migration] = [_create, _add_epoch, _add_write_times]
"""The one at index n makes version n + 1 of version n; 0 is an empty file. Never change one that was
released: the tables above are the newest version's, so when they change, the first of these has to spell its
own."""


def upgrade(raw: sqlite3.Connection) -> None:
    """Bring the database to this version, in one transaction.

    :raises WrongVersion: another program's database, or one of a newer plugin.
    :raises sqlite3.Error: it cannot be done, and is as it was.
    """
    version = version_of(raw)
    if version == len(MIGRATIONS):
        return
    try:
        _migrate(raw, version)
    except sa.exc.DBAPIError as error:
        raise (error.orig or error) from error


def _migrate(raw: sqlite3.Connection, version: int) -> None:
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for number in range(version, len(MIGRATIONS)):
            MIGRATIONS[number](connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.commit()


def version_of(raw: sqlite3.Connection) -> int:
    """The database's version, 0 for an empty one.

    :raises WrongVersion: another program's database, or one of a newer plugin.
    """
    [version] = raw.execute("PRAGMA user_version").fetchone()
    [application] = raw.execute("PRAGMA application_id").fetchone()
    [tables] = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise WrongVersion("the file is a database of another program")
    if version > len(MIGRATIONS):
        raise WrongVersion(
            f"the database has version {version}, and this kgw-storage-sqlite knows up to {len(MIGRATIONS)}: "
            "use the newer one that wrote it"
        )
    return int(version)
