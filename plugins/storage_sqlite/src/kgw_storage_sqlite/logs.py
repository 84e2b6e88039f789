"""All logs as the writing thread knows them. Everything here that takes a connection runs there."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from kgw_core.errors import KafkaStorageError, UnknownTopicOrPartition
from kgw_core.spi.storage import Append, Batch, OffsetConflict, TopicPartition
from kgw_storage_sqlite import errors
from kgw_storage_sqlite.database import transaction
from kgw_storage_sqlite.inserting import AT_ONCE, insert
from kgw_storage_sqlite.log import Beginning, Log
from kgw_storage_sqlite.packing import Chunk, pack
from kgw_storage_sqlite.room import Room
from kgw_storage_sqlite.schema import MAX_LOGS, MAX_OFFSET, OFFSET_BITS, logs, sql
from kgw_storage_sqlite.wal import pages

_LOGS = sql(sa.select(logs).order_by(logs.c.id))
_NEW_LOG = sql(sa.insert(logs))


class Trim:
    """A request to move a log's start to ``before``. ``outcome``: the log after that, or the error."""

    __slots__ = ("before", "outcome", "tp")

    def __init__(self, tp: TopicPartition, before: int) -> None:
        self.tp = tp
        self.before = before
        self.outcome: Log | Exception | None = None


class Logs:
    """All logs by partition, and the ids of those that are deleted but not yet gone."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._by_tp: dict[TopicPartition, Log] = {}
        self.dead: dict[int, None] = {}

    def load(self, connection: sqlite3.Connection, names: Mapping[UUID, str]) -> None:
        """Read the table of logs. ``names``: those of the topics."""
        for id, topic_id, partition, start, end, holes, unchecked, upgraded in connection.execute(_LOGS):
            if topic_id is None:
                self.dead[id] = None
            else:
                id_of_topic = UUID(bytes=topic_id)
                tp = TopicPartition(names.get(id_of_topic, ""), id_of_topic, partition)
                self._by_tp[tp] = Log(tp, id, start, end, holes, unchecked, upgraded)

    def get(self, tp: TopicPartition) -> Log:
        """:raises UnknownTopicOrPartition: it is not there."""
        log = self._by_tp.get(tp)
        if log is None:
            raise UnknownTopicOrPartition(f"no partition {tp} with topic id {tp.topic_id}")
        return log

    def known(self, tp: TopicPartition, connection: sqlite3.Connection) -> Log:
        """:meth:`get`, and looked at."""
        log = self.get(tp)
        if not log.known:
            log.look(connection)
        return log

    def all_known(self) -> list[Log]:
        return [log for log in list(self._by_tp.values()) if log.known]

    # -- topics; these are called inside a transaction, and what they return is done after it

    def make(self, connection: sqlite3.Connection, tps: Sequence[TopicPartition]) -> list[Log]:
        """Insert new logs. :raises KafkaStorageError: there are as many as can be."""
        used = {log.id for log in self._by_tp.values()} | set(self.dead)
        following = max(used, default=0) + 1
        if following + len(tps) > MAX_LOGS:
            ids = [id for id in range(1, MAX_LOGS) if id not in used][: len(tps)]
            if len(ids) < len(tps):
                raise KafkaStorageError(f"the database holds {len(used)} partitions, and cannot hold more")
        else:
            ids = list(range(following, following + len(tps)))
        made = [Log(tp, id) for tp, id in zip(tps, ids, strict=True)]
        connection.executemany(
            _NEW_LOG,
            [
                {
                    "id": log.id,
                    "topic_id": log.tp.topic_id.bytes,
                    "partition": log.tp.partition,
                    "start": 0,
                    "end": 0,
                    "holes": 0,
                    "unchecked": 0,
                    "upgraded": 0,
                }
                for log in made
            ],
        )
        for log in made:
            log.known = True
        return made

    def add(self, made: Sequence[Log]) -> None:
        for log in made:
            self._by_tp[log.tp] = log

    def forget(self, topic_id: UUID) -> None:
        for tp in [tp for tp in self._by_tp if tp.topic_id == topic_id]:
            log = self._by_tp.pop(tp)
            log.gone = True
            log.version += 2
            self.dead[log.id] = None

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
