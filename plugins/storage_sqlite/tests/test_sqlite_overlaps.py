"""What reads, searches and upkeep see of a trim or a replacement that is under way, or fails: threads are
held at the statement where it matters."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from kgw_storage_sqlite import reading
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.log import TRIMMED, Log
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.errors import KafkaStorageError
from kgw_core.records.batch import iter_batches
from kgw_core.spi.storage import Batch, Run, Topic, TopicPartition
from kgw_core.testing.batches import make_batch

pytestmark = pytest.mark.anyio

SECONDS = 30.0
T = Topic("t", UUID(int=1), 1)
TP = TopicPartition("t", T.id, 0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(Config(path=tmp_path / "kgw.db", synchronous="normal", read_ahead=0))
    await made.open()
    await made.create_topic(T)
    yield made
    await made.close()


async def until(done: Callable[[], bool], what: str) -> None:
    for _ in range(10_000):
        if done():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(what)


class Point:
    """Somewhere a thread is held, from ``reached`` until ``go``."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._go = threading.Event()

    def hold(self) -> None:
        self._reached.set()
        assert self._go.wait(SECONDS)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, SECONDS)

    def go(self) -> None:
        self._go.set()


class Watched:
    """A connection that calls ``before(statement)`` and ``after(statement)``."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        before: Callable[[str], None] = lambda statement: None,
        after: Callable[[str], None] = lambda statement: None,
    ) -> None:
        self._connection = connection
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *args: Any) -> Any:
        self._before(statement)
        result = self._connection.execute(statement, *args)
        self._after(statement)
        return result


def watched(connection: sqlite3.Connection, **hooks: Callable[[str], None]) -> sqlite3.Connection:
    return cast(sqlite3.Connection, Watched(connection, **hooks))


def dated(offset: int, size: int) -> Batch:
    """One record whose timestamp is 1000 + its offset."""
    return make_batch(offset, 1, timestamp=1_000 + offset, size=size)


async def filled(store: SqliteStore, count: int) -> Log:
    """A log with a chunk of its own for each of ``count`` records."""
    for offset in range(count):
        await store.append(TP, [dated(offset, 40_000)])
    return store._logs.get(TP)


def offsets(runs: list[Run]) -> list[int]:
    return [batch.base_offset for run in runs for batch in iter_batches(run.data)]


def failing(connection: sqlite3.Connection, statement: str) -> sqlite3.Connection:
    def fail(executed: str) -> None:
        if executed == statement:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    return watched(connection, before=fail)


async def fail_replace(store: SqliteStore, log: Log) -> None:
    with pytest.raises(KafkaStorageError, match="full"):
        await store.database.write(lambda c: log.replace(failing(c, "COMMIT"), 0, 3, []))
    await store.bounds(TP)


async def fail_trim(store: SqliteStore, log: Log) -> None:
    with pytest.raises(KafkaStorageError, match="full"):
        await store.database.write(lambda c: log.trim(failing(c, TRIMMED), 3))
    assert (await store.bounds(TP)).start == 0


async def nothing_fails(store: SqliteStore, log: Log) -> None:
    pass


@pytest.mark.parametrize("first", [nothing_fails, fail_replace, fail_trim])
async def test_a_read_in_the_midst_of_a_replacement_skips_nothing(store: SqliteStore, first: Any) -> None:
    """Its first statement runs before the commit, the others after it."""
    log = await filled(store, 10)
    await first(store, log)
    begun, committed = Point(), Point()

    def before(statement: str) -> None:
        if statement == "COMMIT":
            begun.hold()

    def after(statement: str) -> None:
        if statement == "COMMIT":  # it counts, but its thread has not told yet
            committed.hold()

    smaller = [dated(offset, 10_000) for offset in range(9)]
    writing = asyncio.create_task(
        store.database.write(lambda c: log.replace(watched(c, before=before, after=after), 0, 8, smaller))
    )
    await begun.reached()
    seen = Point()

    def look(statement: str) -> None:
        if statement == reading._CONTAINING:
            seen.hold()

    reads = asyncio.create_task(
        store.database.read(lambda c: reading.read(watched(c, after=look), log, 2, 1 << 20))
    )
    await seen.reached()
    begun.go()
    await committed.reached()
    seen.go()
    runs = await reads
    committed.go()
    await writing
    assert offsets(runs) == list(range(2, 10))
    assert offsets(list(await store.read(TP, 2, 1 << 20))) == list(range(2, 10))


@pytest.mark.parametrize(
    ("search", "held", "expected"),
    [
        (partial(reading.find_time, timestamp=1_003), reading._DATA, 3),
        (reading.find_max_time, reading._MAX_TIME, 5),
    ],
    ids=["find_time", "find_max_time"],
)
async def test_a_search_by_time_sees_one_state_of_the_log(
    store: SqliteStore, search: Callable[..., int | None], held: str, expected: int
) -> None:
    """Between two of its statements, a replacement moves what it is about to find to another chunk."""
    await store.append(TP, [make_batch(0, 1, timestamp=9_000)])
    for offset in range(1, 6):
        await store.append(TP, [dated(offset, 40_000)])
    await store.replace(TP, 0, 0, [])  # what was the largest is gone, so that has to be looked for
    log = store._logs.get(TP)
    found = Point()

    def before(statement: str) -> None:
        if statement == held:
            found.hold()

    searching = asyncio.create_task(store.database.read(lambda c: search(watched(c, before=before), log=log)))
    await found.reached()
    await store.replace(TP, 1, 5, [dated(offset, 5_000) for offset in range(1, 6)])
    found.go()
    assert await searching == expected
    assert await store.database.read(partial(search, log=log)) == expected


async def test_a_replacement_that_fails_loses_nothing_to_upkeep(store: SqliteStore) -> None:
    """Upkeep has something to delete before the start, while the start is ahead of what then fails."""
    log = await filled(store, 6)
    committing = Point()

    def before(statement: str) -> None:
        if statement == "COMMIT":
            committing.hold()
            raise sqlite3.OperationalError("it failed")

    writing = asyncio.create_task(
        store.database.write(lambda c: log.replace(watched(c, before=before), 0, 3, []))
    )
    await committing.reached()
    assert store._upkeep is not None and store.database._writer is not None
    store._upkeep.trimmed(log)
    writer = store.database._writer
    await until(lambda: writer.busy == 2, "the step of upkeep does not wait behind the replacement")
    committing.go()
    with pytest.raises(sqlite3.OperationalError, match="it failed"):
        await writing
    upkeep = store._upkeep
    await until(lambda: not upkeep._trimmed, "upkeep is not done")
    assert offsets(list(await store.read(TP, 0, 1 << 20))) == list(range(6))
