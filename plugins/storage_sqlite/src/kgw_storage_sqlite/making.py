"""Makes the logs of a topic in steps. Each step is one transaction with a bounded number of rows, so an
append waits for one step at most.

A log belongs to its topic if the topic's row is there, and says more partitions than the log's number. That
row is written in the last step. So all logs appear together, and after a crash between two steps none does:
the rows that belong to no topic are deleted logs (:meth:`Logs.load`), which upkeep removes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

import sqlalchemy as sa

from kgw_core.errors import KafkaStorageError
from kgw_core.spi.storage import Topic, TopicPartition
from kgw_storage_sqlite.database import Database, transaction
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.logs import Logs
from kgw_storage_sqlite.schema import logs as table
from kgw_storage_sqlite.schema import sql
from kgw_storage_sqlite.wal import pages

ROWS: Final = 1000
"""Logs that are made in one transaction. It took 11 ms when this was chosen."""
ROW: Final = 256
"""Bytes that a log's row takes in the write-ahead log, about."""

_INSERT = sql(sa.insert(table))
_DISOWN = sql(
    sa.update(table)
    .where(
        table.c.topic_id == sa.bindparam("topic"),
        table.c.partition >= sa.bindparam("first"),
        table.c.partition < sa.bindparam("end"),
    )
    .values(topic_id=sa.null())
)


class Making:
    """The logs of the partitions of ``topic`` from ``first`` on.

    ``check(connection)`` runs in the transaction of each step, and ``enter(connection)``, which writes the
    topic's row, in that of the last one. ``frees``: see :meth:`Database.write`.
    """

    def __init__(
        self,
        logs: Logs,
        topic: Topic,
        first: int,
        check: Callable[[sqlite3.Connection], object],
        enter: Callable[[sqlite3.Connection], object],
        *,
        frees: bool = False,
    ) -> None:
        self._logs = logs
        self._topic = topic
        self._first = first
        self._check = check
        self._enter = enter
        self._frees = frees
        self._ids: list[int] = []
        self._made: dict[int, Log] = {}
        self._number = 0  # of this update of the topic

    async def run(self, database: Database) -> None:
        """Make all or none. :raises Exception: from a step; upkeep has to remove what was made."""
        end = self._topic.partitions
        try:
            at = self._first
            while True:
                upper = min(at + ROWS, end)
                step = partial(self._step, first=at, end=upper)
                await database.write(step, size=pages(ROW * (upper - at), 4), frees=self._frees)
                at = upper
                if at >= end:
                    return
        except BaseException:
            self._logs.failed.append(self._ids)
            raise

    def _step(self, connection: sqlite3.Connection, *, first: int, end: int) -> None:
        transaction(connection, partial(self._write, first=first, end=end))
        if end >= self._topic.partitions:
            self._logs.publish(self._topic.id, self._made, self._ids)

    def _write(self, connection: sqlite3.Connection, *, first: int, end: int) -> None:
        self._check(connection)
        updates, key = self._logs.updates, self._topic.id.int
        if not self._ids:
            if self._first:  # a topic that exists; a new one has an id of its own
                updates[key] = self._number = updates.get(key, 0) + 1
            self._ids += self._logs.reserve(self._topic.partitions - self._first)
        elif self._first and updates.get(key) != self._number:  # each would take rows from the other
            raise KafkaStorageError(f"another update of topic {self._topic.name} has begun meanwhile")
        name, topic_id = self._topic.name, self._topic.id
        if first < end:
            # an attempt that failed may have left rows that upkeep has not removed yet
            connection.execute(_DISOWN, {"topic": topic_id.bytes, "first": first, "end": end})
        rows = []
        for partition in range(first, end):
            log = Log(TopicPartition(name, topic_id, partition), self._ids[partition - self._first])
            log.known = True
            self._made[partition] = log
            row = {"id": log.id, "topic_id": topic_id.bytes, "partition": partition}
            rows.append({**row, "start": 0, "end": 0, "holes": 0, "unchecked": 0, "upgraded": 0})
        connection.executemany(_INSERT, rows)
        if end >= self._topic.partitions:
            self._enter(connection)
