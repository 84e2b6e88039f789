"""All logs as the writing thread knows them. Everything here that takes a connection runs there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from kgw_core.errors import KafkaStorageError, UnknownTopicOrPartition
from kgw_core.spi.storage import Append, Batch, OffsetConflict, Topic, TopicPartition
from kgw_storage_sqlite import errors
from kgw_storage_sqlite.database import transaction
from kgw_storage_sqlite.inserting import AT_ONCE, insert
from kgw_storage_sqlite.log import Beginning, Log
from kgw_storage_sqlite.packing import Chunk, pack
from kgw_storage_sqlite.room import Room
from kgw_storage_sqlite.schema import MAX_LOGS, MAX_OFFSET, OFFSET_BITS, logs, sql
from kgw_storage_sqlite.wal import pages

_LOGS = sql(sa.select(logs).order_by(logs.c.id))
_NO_LOGS: Final[dict[int, Log]] = {}


class Trim:
    """A request to move a log's start to ``before``. ``outcome``: the log after that, or the error."""

    __slots__ = ("before", "outcome", "tp")

    def __init__(self, tp: TopicPartition, before: int) -> None:
        self.tp = tp
        self.before = before
        self.outcome: Log | Exception | None = None


class Logs:
    """All logs, by topic and partition.

    ``hidden`` are logs whose topic was deleted; ``failed`` the reserved ids of logs that could not be made;
    ``dead`` the ids of logs that nobody uses any more, but whose rows may still be there. Upkeep takes the
    first two to the third, and removes them. ``updates`` counts, by topic, the updates
    that made logs, as only the latest one may go on.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._by_topic: dict[int, dict[int, Log]] = {}  # by the topic id's integer, and the partition
        self._next = 1
        self._reserved: set[int] = set()
        self.updates: dict[int, int] = {}
        self.hidden: list[Log] = []
        self.failed: list[list[int]] = []
        self.dead: dict[int, None] = {}

    def load(self, connection: sqlite3.Connection, topics: Iterable[Topic]) -> None:
        """Read the table of logs. What belongs to none of ``topics`` was deleted, or its making was cut
        short."""
        by_id = {topic.id.bytes: topic for topic in topics}
        for id, topic_id, partition, *values in connection.execute(_LOGS):
            self._next = id + 1
            topic = by_id.get(topic_id)
            if topic is None or partition >= topic.partitions:
                self.dead[id] = None
            else:
                log = Log(TopicPartition(topic.name, topic.id, partition), id, *values)
                self._by_topic.setdefault(topic.id.int, {})[partition] = log

    def get(self, tp: TopicPartition) -> Log:
        """:raises UnknownTopicOrPartition: it is not there."""
        log = self._by_topic.get(tp.topic_id.int, _NO_LOGS).get(tp.partition)
        if log is None:
            raise UnknownTopicOrPartition(f"no partition {tp} with topic id {tp.topic_id}")
        return log

    def known(self, tp: TopicPartition, connection: sqlite3.Connection) -> Log:
        """:meth:`get`, and looked at."""
        log = self.get(tp)
        if not log.known:
            log.look(connection)
        return log

    # -- topics

    def reserve(self, count: int) -> list[int]:
        """Ids of new logs. :raises KafkaStorageError: there are as many logs as can be."""
        if self._next + count <= MAX_LOGS:
            ids = list(range(self._next, self._next + count))
            self._next += count
        else:
            live = {log.id for logs in self._by_topic.values() for log in logs.values()}
            used = live.union(self.dead, self._reserved, [log.id for log in self.hidden])
            ids = [id for id in range(1, MAX_LOGS) if id not in used][:count]
            if len(ids) < count:
                raise KafkaStorageError(f"the database holds {len(used)} partitions, and cannot hold more")
        self._reserved.update(ids)
        return ids

    def publish(self, topic_id: UUID, made: dict[int, Log], ids: list[int]) -> None:
        """Let the topic have the logs ``made``. Their reserved ``ids`` are used, so the list is cleared."""
        self._by_topic.setdefault(topic_id.int, {}).update(made)
        self._reserved.difference_update(ids)
        ids.clear()

    def hide(self, topic_id: UUID) -> None:
        """The topic was deleted."""
        self.updates.pop(topic_id.int, None)
        self.hidden += self._by_topic.pop(topic_id.int, _NO_LOGS).values()

    def bury(self, most: int) -> None:
        """End the use of up to ``most`` hidden logs: what reads them says that they were deleted. Ids that
        failed are dead, too: if the last step was done all the same, there are none."""
        while self.failed:
            ids = self.failed.pop()
            self.dead.update(dict.fromkeys(ids))
            self._reserved.difference_update(ids)
        some = self.hidden[-most:]
        for log in some:
            log.gone = True
            log.version += 2
            self.dead[log.id] = None
        del self.hidden[-most:]

    # -- trimming

    def trim(self, connection: sqlite3.Connection, trims: Sequence[Trim]) -> None:
        """Do all in one commit, and set the outcome of each.

        :raises sqlite3.Error: none was done.
        """
        done: list[tuple[Trim, Log, Beginning]] = []
        refused: list[tuple[Trim, Exception]] = []

        def work(connection: sqlite3.Connection) -> None:
            for trim in trims:
                try:
                    log = self.known(trim.tp, connection)
                    old = log.beginning
                    log.trim(connection, trim.before)
                except sqlite3.Error:
                    raise
                except Exception as error:
                    refused.append((trim, error))
                else:
                    done.append((trim, log, old))

        try:
            transaction(connection, work)
        except BaseException:
            for _, log, old in reversed(done):
                log.put_back(old)
            raise
        for trim, log, _ in done:
            trim.outcome = log
        for trim, error in refused:
            trim.outcome = error

    # -- appending

    def append(
        self, connection: sqlite3.Connection, appends: Sequence[Append]
    ) -> list[Sequence[int] | Exception]:
        """Append all in one commit. If the database is damaged where one log lies, or a batch is larger than
        SQLite takes, the others are written."""
        results: list[Sequence[int] | Exception] = []
        taken: list[tuple[int, Log, list[Chunk]]] = []
        for tp, batches, _ in appends:
            try:
                log = self.known(tp, connection)
                self._check(log, batches)
            except sqlite3.Error as error:
                results.append(errors.translated(error))
            except Exception as error:
                results.append(error)
            else:
                taken.append((len(results), log, pack(batches)))
                results.append([batch.base_offset for batch in batches])
        if not taken:
            return results
        try:
            self._insert(connection, taken)
        except KafkaStorageError as error:
            for index, _, _ in taken:
                results[index] = error
        except sqlite3.DatabaseError as error:
            told = self._room.told(connection, error)
            alone = errors.code(error) in errors.OF_ONE and len(taken) > 1
            for index, log, packed in taken:
                if not alone:
                    results[index] = told
                    continue
                try:
                    self._insert(connection, [(index, log, packed)])
                except sqlite3.DatabaseError as own:
                    results[index] = self._room.told(connection, own)
                except KafkaStorageError as own:
                    results[index] = own
        return results

    @staticmethod
    def _check(log: Log, batches: Sequence[Batch]) -> None:
        if batches[0].base_offset != log.end:
            raise OffsetConflict(batches[0].base_offset, log.end)
        if batches[-1].base_offset + batches[-1].span > MAX_OFFSET:
            raise KafkaStorageError(f"{log.tp} is full: offsets go up to {MAX_OFFSET}")

    def _insert(self, connection: sqlite3.Connection, taken: Sequence[tuple[int, Log, list[Chunk]]]) -> None:
        rows: list[object] = []
        after: list[tuple[Log, int, int, int]] = []
        size = 0
        for _, log, packed in taken:
            peak, total, shifted = log.peak, log.total, log.id << OFFSET_BITS
            for base, last, time, data, written in packed:
                if time > peak:
                    peak = time
                total += len(data)
                rows += (data, shifted | base, last, time, peak, total, written)
            after.append((log, packed[-1].last + 1, peak, total))
            size += total - log.total
        cost = pages(size, len(taken))
        self._room.spend(connection, cost)
        try:
            if len(rows) > AT_ONCE:
                connection.execute("BEGIN IMMEDIATE")
                insert(connection, rows)
                connection.execute("COMMIT")
            else:
                insert(connection, rows)  # one statement is one transaction
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for _, log, _ in taken:
                log.known = False  # what is there now is what the database says
            raise
        for log, end, peak, total in after:
            log.end, log.peak, log.total = end, peak, total
        self._room.appended(cost)
