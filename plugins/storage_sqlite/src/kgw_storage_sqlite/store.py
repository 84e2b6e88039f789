"""The LogStore. Each call of the contract is a function that runs in the writing or a reading thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID

import anyio.to_thread

from kgw_core.errors import KafkaStorageError
from kgw_core.records.runs import up_to
from kgw_core.spi.context import StoreContext
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import (
    Append,
    Batch,
    Bounds,
    Capabilities,
    LogStore,
    Read,
    Run,
    Topic,
    TopicPartition,
)
from kgw_storage_sqlite import reading, topics
from kgw_storage_sqlite.ahead import ReadAhead
from kgw_storage_sqlite.config import Config as Settings
from kgw_storage_sqlite.database import Database
from kgw_storage_sqlite.errors import translating
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.logs import Logs, Trim
from kgw_storage_sqlite.upkeep import Upkeep
from kgw_storage_sqlite.wal import pages

TRIMS: Final = 100
"""The most logs that one commit trims."""

CAPABILITIES = Capabilities(durable=True, commit_scope="store")


class SqliteStore(LogStore):
    """The log store in one database file."""

    name = "sqlite"
    Config: ClassVar[type[Settings]] = Settings
    writers = 1

    def __init__(self, config: Settings | None = None) -> None:
        super().__init__(config)
        self._settings = config or Settings()
        self.database = Database(self._settings)
        self._logs = Logs(self.database.room)
        self._upkeep: Upkeep | None = None
        self._trims: dict[Trim, None] = {}  # the trims that wait for a commit
        self._ahead = ReadAhead(self._read, self._settings.read_ahead)

    async def open(self, context: StoreContext | None = None) -> None:
        self._logs = Logs(self.database.room)
        await self.database.open(self._load)
        self._upkeep = Upkeep(self.database, self._logs, (context or StoreContext()).background)
        self._upkeep.start()

    def _load(self, connection: sqlite3.Connection) -> None:
        self._logs.load(connection, topics.listed(connection))

    async def close(self) -> None:
        await self._stop()
        await self.database.close()

    async def abandon(self) -> None:
        await self._stop()
        await self.database.abandon()

    async def _stop(self) -> None:
        await self._ahead.stop()
        if self._upkeep is not None:
            await self._upkeep.stop()

    async def ping(self) -> None:
        """Check that the database can be read, and that there is room.

        :raises KafkaStorageError: there is no room, or reading failed.
        """
        await self.database.read(topics.listed)
        if self.database.room.refusing is not None:
            raise KafkaStorageError(self.database.room.refusing)

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return CAPABILITIES

    def state_store(self) -> StateStore:
        from kgw_storage_sqlite.state import SqliteStateStore

        return SqliteStateStore(database=self.database)

    # -- topics

    async def topics(self) -> Sequence[Topic]:
        return await self.database.read(topics.listed)

    async def create_topic(self, topic: Topic) -> None:
        with self._upkeep_after_failure():
            await topics.create(self.database, self._logs, topic)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        with self._upkeep_after_failure():
            await topics.update(self.database, self._logs, topic, before)

    @contextmanager
    def _upkeep_after_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._upkeep is not None and self._logs.failed:
                self._upkeep.deleted()
            raise

    async def delete_topic(self, topic_id: UUID) -> None:
        work = partial(topics.delete, logs=self._logs, topic_id=topic_id)
        try:
            await self.database.write(work, size=pages(0, 4), frees=True)
        finally:  # if the caller was cancelled, it is done all the same
            if self._upkeep is not None:
                self._upkeep.deleted()

    # -- appending

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        [result] = await self.append_many([Append(tp, batches)])
        if isinstance(result, Exception):
            raise result
        return result

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        return await self.database.write(lambda connection: self._logs.append(connection, appends), size=0)

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        def work(connection: sqlite3.Connection) -> None:
            self._logs.known(tp, connection).replace(connection, first, last, batches)

        size = sum(len(batch.data) for batch in batches)
        await self.database.write(work, size=pages(size, 8), frees=True)
        if self._upkeep is not None and self.database.room.refusing is not None:
            self._upkeep.deleted()  # the disk needs the free pages of the file
        return True

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        mine = Trim(tp, before)

        def work(connection: sqlite3.Connection) -> None:
            """Do all waiting trims, up to :data:`TRIMS`; only this one if they fail together."""
            if mine.outcome is not None:
                return
            others = [trim for trim in list(self._trims) if trim is not mine and trim.outcome is None]
            try:
                self._logs.trim(connection, [mine, *others[: TRIMS - 1]])
            except sqlite3.Error:
                if not others:
                    raise
                self._logs.trim(connection, [mine])
            self.database.wal.written += pages(0, 4)

        self._trims[mine] = None
        try:
            await self.database.write(work, size=0, frees=True)
        finally:
            del self._trims[mine]
        if isinstance(mine.outcome, Exception):
            raise mine.outcome
        if self._upkeep is not None and mine.outcome is not None:
            self._upkeep.trimmed(mine.outcome)

    # -- reading

    async def _known(self, tp: TopicPartition) -> Log:
        log = self._logs.get(tp)
        if not log.known:  # only the thread that writes may say where a log ends
            log = await self.database.write(lambda connection: self._logs.known(tp, connection), size=0)
            if self._upkeep is not None and log.first > log.lower:
                self._upkeep.trimmed(log)  # a trim may have been cut short
        return log

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await self._known(tp)).bounds(self.database.epoch)

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return up_to(await self._ahead.read(await self._known(tp), offset, max_bytes), below)

    async def _read(self, log: Log, offset: int, max_bytes: int) -> list[Run]:
        return await self.database.read(partial(reading.read, log=log, offset=offset, max_bytes=max_bytes))

    async def read_many(self, reads: Sequence[Read]) -> list[Sequence[Run] | Exception]:
        logs: list[Log | Exception] = []
        for tp, *_ in reads:
            try:
                logs.append(await self._known(tp))
            except Exception as error:
                logs.append(error)

        def work(connection: sqlite3.Connection) -> list[Sequence[Run] | Exception]:
            results: list[Sequence[Run] | Exception] = []
            for log, (_, offset, max_bytes, below) in zip(logs, reads, strict=True):
                if isinstance(log, Exception):
                    results.append(log)
                    continue
                try:
                    with translating():
                        results.append(up_to(reading.read(connection, log, offset, max_bytes), below))
                except Exception as error:
                    results.append(error)
            return results

        return await self.database.read(work) if reads else []

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        log = await self._known(tp)
        return await self.database.read(partial(reading.find_time, log=log, timestamp=timestamp))

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        log = await self._known(tp)
        return await self.database.read(partial(reading.find_max_time, log=log, start=start, end=end))

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self.database.epoch

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        log = await self._known(tp)
        return await self.database.read(partial(reading.write_time, log=log, offset=offset))

    # -- beside a running gateway

    async def backup(self, path: Path) -> None:
        from kgw_storage_sqlite.backup import backup

        await anyio.to_thread.run_sync(backup, self.database.path, path)

    async def check(self) -> Sequence[str]:
        from kgw_storage_sqlite.checking import check

        return await anyio.to_thread.run_sync(check, self.database.path)
