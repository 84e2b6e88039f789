"""One database file: its lock, the writing connection, and the reading ones."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from kgw_core.errors import KafkaStorageError
from kgw_storage_sqlite import epoch, errors, schema
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.lock import FileLock
from kgw_storage_sqlite.new import New
from kgw_storage_sqlite.room import Room
from kgw_storage_sqlite.worker import PAGE_SIZE, Worker, connect

T = TypeVar("T")

LITTLE: Final = 4 << 20
"""Bytes that writes wait for at the end of a checkpoint,"""
PASSES: Final = 4
"""unless they are faster: then it is what they bring during one pass."""


class Unusable(Exception):
    """The database cannot be used. The message is what the user reads."""


class Database:
    """All writing goes through one thread, in order; each of the readers has one, too."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.path = config.path.absolute()
        self._lock = FileLock(self.path)
        self._new: New | None = None
        self._writer: Worker | None = None
        self._readers: list[Worker] = []
        self._checkpointer: Worker | None = None
        self.room = Room(self.path, config.reserve)
        self.wal = self.room.wal
        self.wake: Callable[[], object] | None = None
        """Called on the event loop when the write-ahead log needs a checkpoint, or there is no room."""
        self.epoch = 0
        """The leader epoch of all logs."""
        self._noted = False  # that it is open

    # -- opening and closing

    async def open(self, prepare: Callable[[sqlite3.Connection], T]) -> T:
        """Lock it, bring it to this version, and do ``prepare(connection)``.

        :raises Unusable: it is locked, too new, damaged, or cannot be made.
        """
        try:
            self._new = await anyio.to_thread.run_sync(New, self.path, self._lock.path)
            try:
                await anyio.to_thread.run_sync(self._acquire, self._new)
                return await self._connect(prepare)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self.abandon()
                raise
        except sqlite3.Error as error:
            raise Unusable(f"{self.path}: {errors.explained(error)}") from error
        except schema.WrongVersion as error:
            raise Unusable(f"{self.path}: {error}") from error
        except OSError as error:
            raise Unusable(f"{self.path} cannot be opened: {_told(error)}") from error

    def _acquire(self, new: New) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        new.locked()

    async def _connect(self, prepare: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._connect_with(prepare)
        except (sqlite3.Error, OSError) as error:
            full = isinstance(error, OSError) or errors.may_be_room(error)
            if not full or not await anyio.to_thread.run_sync(self.room.give_up):
                raise
        await self._disconnect()
        return await self._connect_with(prepare)

    async def _connect_with(self, prepare: Callable[[sqlite3.Connection], T]) -> T:
        await anyio.to_thread.run_sync(self._check)
        self._writer = await Worker.opened(self._connector(readonly=False))
        prepared = await self._writer.run(partial(self._upgrade_and, prepare))
        for _ in range(self.config.readers):
            self._readers.append(await Worker.opened(self._connector(readonly=True)))
        self._checkpointer = await Worker.opened(self._connector(readonly=False))
        return prepared

    def _upgrade_and(self, prepare: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        schema.upgrade(connection)
        self.epoch = epoch.opened(connection)
        self._noted = True
        self.room.begin(connection)
        return prepare(connection)

    def _check(self) -> None:
        """Before anything is written: a file that is not ours, or newer, stays as it is."""
        if self.path.exists() and self.path.stat().st_size:
            with contextlib.closing(self._connector(readonly=True)()) as connection:
                schema.version_of(connection)

    def _connector(self, *, readonly: bool) -> Callable[[], sqlite3.Connection]:
        config = self.config
        return partial(
            connect,
            self.path,
            synchronous=config.synchronous,
            lock_timeout=config.lock_timeout,
            cache=config.cache,
            readonly=readonly,
        )

    async def close(self) -> None:
        """Close all connections and unlock."""
        await self._disconnect()
        await anyio.to_thread.run_sync(self._lock.release)

    async def abandon(self) -> None:
        """Close all connections, remove what :meth:`open` has made, unless others use it, and unlock."""
        await self._disconnect()
        if self._new is not None:
            await anyio.to_thread.run_sync(self._new.undo, self._lock)

    async def _disconnect(self) -> None:
        """The connection that writes is closed last: it empties the write-ahead log."""
        readers, self._readers = self._readers, []
        checkpointer, self._checkpointer = self._checkpointer, None
        writer, self._writer = self._writer, None
        if writer is not None and self._noted:
            with contextlib.suppress(sqlite3.Error):
                await writer.run(epoch.closed)
        self._noted = False
        for worker in (*readers, checkpointer, writer):
            if worker is not None:
                with contextlib.suppress(sqlite3.Error):  # what cannot be done now is done when it is opened
                    await worker.close()

    # -- using it

    async def write(
        self, work: Callable[[sqlite3.Connection], T], *, size: int = PAGE_SIZE, frees: bool = False
    ) -> T:
        """Run ``work(connection)`` in the writing thread; it may be called again when it fails.

        :param size: about the bytes that it adds to the write-ahead log.
        :param frees: the work makes room, so the reserve may be given up for it.
        :raises KafkaStorageError: the work cannot be done now, and nothing was written.
        """
        if self._writer is None:
            raise KafkaStorageError(f"{self.path} is closed")
        try:
            return await self._writer.run(partial(self._write, work, size, frees))
        finally:
            if self.wake is not None and (self.wal.due or self.room.news):
                self.wake()

    def _write(
        self, work: Callable[[sqlite3.Connection], T], size: int, frees: bool, connection: sqlite3.Connection
    ) -> T:
        tries = 0
        while True:
            try:
                if self.wal.overdue:
                    self.wal.carry(connection)
                result = work(connection)
            except sqlite3.Error as error:
                if not self.room.made(connection, error, tries, frees=frees):
                    told = self.room.told(connection, error)
                    if told is error:
                        raise
                    raise told from error
                tries += 1
            else:
                self.wal.written += size
                return result

    async def checkpoint(self, *, whole: bool = False) -> None:
        """Carry the write-ahead log over, beside the writes. Once its file is as large as it may stay, or if
        the ``whole`` of it has to go, the little that came meanwhile is carried over between two of them. The
        writes wait for the disk then; with that the log has nothing that is needed, and begins anew."""
        for _ in range(PASSES):
            begun = self.wal.written
            if self._checkpointer is None:
                raise KafkaStorageError(f"{self.path} is closed")
            try:
                await self._checkpointer.run(self.wal.carry)
            except sqlite3.Error:
                break  # the thread that writes can make room for it, or say what is wrong
            if self.wal.written - begun <= LITTLE:
                if not whole and self.wal.may_grow:
                    return
                break
        await self.write(self.wal.carry, size=0, frees=True)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work(connection)`` in the reading thread with the least to do."""
        if not self._readers:
            raise KafkaStorageError(f"{self.path} is closed")
        reader = self._readers[0]
        for other in self._readers:
            if other.busy < reader.busy:
                reader = other
        try:
            return await reader.run(work)
        except sqlite3.Error as error:
            raise KafkaStorageError(errors.explained(error)) from error

    @property
    def writing(self) -> bool:
        """Whether the writing thread is busy."""
        return self._writer is not None and self._writer.busy > 0


def _told(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{error.strerror}; who runs the gateway has to be able to write it, and into its directory"
    return error.strerror or str(error)


def transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``work(connection)`` in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result
