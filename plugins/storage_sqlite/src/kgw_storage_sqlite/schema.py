"""The tables, and the migrations from older versions.

``chunks`` has the records. A row is one or more whole batches, back to back. A small append to a log becomes
one row. A row's id combines the log's id and the offset of the first record (:func:`key`). So the rows of a
log are in order in the table's own tree, and appends touch no index. Compared with a key of two columns
WITHOUT ROWID, large batches were a fifth faster, and small ones equal.
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
"""The largest offset of a partition: 100,000 records a second reach it after 2.8 years."""
MAX_LOGS: Final = (1 << 20) - 1
"""The most partitions at a time."""

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
    # NULL, or the id of no topic: the log is deleted, and its chunks soon will be
    sa.Column("topic_id", sa.LargeBinary),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),  # if the last chunk ends later, its end counts
    sa.Column("holes", sa.Integer, nullable=False),  # bytes by which chunks.total overstates the log's size
    sa.Column("unchecked", sa.Integer, nullable=False),  # offsets below it are older than an upgrade
    sa.Column("upgraded", sa.Integer, nullable=False),  # time of that upgrade: ms since the epoch
    sa.UniqueConstraint("topic_id", "partition"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),  # offset of the last record
    sa.Column("time", sa.Integer, nullable=False),  # largest max_timestamp
    sa.Column("peak", sa.Integer, nullable=False),  # largest time in the log so far, for searches by time
    sa.Column("total", sa.Integer, nullable=False),  # bytes in the log so far, with this chunk
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("written", sa.Integer, nullable=False),  # latest write time, -1: unknown
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
    """``statement`` for the first row, or the first ``most``. The limit is literal, as :func:`sql` would make
    a parameter of a plain number."""
    one: sa.ColumnElement[int] = sa.literal_column("1")
    return statement.limit(one if most is None else most).offset(sa.literal_column("0"))


def sql(statement: sa.ClauseElement) -> str:
    """``statement`` as text with ``:name`` parameters for the driver. It is compiled once and run often."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


class WrongVersion(Exception):
    """This plugin cannot use the file. The user reads the message."""


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
    """Add the table ``store``. A database with logs does not tell how it was closed."""
    metadata.create_all(connection, [store])
    used = connection.execute(sa.select(logs.c.id).limit(1)).first() is not None
    connection.execute(sa.insert(store).values(epoch=0, clean=int(not used)))


def _add_write_times(connection: sa.Connection) -> None:
    """Add write times. The existing records were written before now, and their headers are unchecked."""
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
"""Index n migrates version n to version n + 1. Version 0 is an empty file. A released migration never
changes. The tables above are those of the newest version, so a migration that needs older tables has to spell
them."""


def upgrade(raw: sqlite3.Connection) -> None:
    """Migrate the database to this version, in one transaction.

    :raises WrongVersion: the database is of another program, or of a newer plugin.
    :raises sqlite3.Error: the migration failed, and the database is unchanged.
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

    :raises WrongVersion: the database is of another program, or of a newer plugin.
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
