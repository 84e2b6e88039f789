"""Trims that wait together are one commit: DeleteRecords of everything names 100,000 partitions."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from kgw_storage_sqlite import logs as logs_module
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.logs import Logs, Trim
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.errors import OffsetOutOfRange, UnknownTopicOrPartition
from kgw_core.spi.storage import Topic, TopicPartition
from kgw_core.testing.batches import make_batch

pytestmark = pytest.mark.anyio

COUNT = 40
T = Topic("t", UUID(int=1), COUNT)
TPS = [TopicPartition("t", T.id, number) for number in range(COUNT)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(Config(path=tmp_path / "kgw.db", synchronous="normal"))
    await made.open()
    await made.create_topic(T)
    for tp in TPS:
        for offset in range(4):
            await made.append(tp, [make_batch(offset)])
    yield made
    await made.close()


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trims went into each commit, or the attempt at one."""
    found: list[int] = []
    trim = Logs.trim

    def counted(self: Logs, connection: sqlite3.Connection, trims: Sequence[Trim]) -> None:
        found.append(len(trims))
        trim(self, connection, trims)

    monkeypatch.setattr(Logs, "trim", counted)
    return found


async def together(store: SqliteStore, trims: Sequence[tuple[TopicPartition, int]]) -> list[Exception | None]:
    """The error that each trim raised."""
    outcomes: list[Exception | None] = [None] * len(trims)

    async def one(number: int) -> None:
        tp, before = trims[number]
        try:
            await store.trim(tp, before)
        except Exception as error:
            outcomes[number] = error

    async with anyio.create_task_group() as tasks:
        for number in range(len(trims)):
            tasks.start_soon(one, number)
    return outcomes


async def starts(store: SqliteStore) -> list[int]:
    return [(await store.bounds(tp)).start for tp in TPS]


async def test_those_that_wait_are_one_commit(store: SqliteStore, groups: list[int]) -> None:
    assert await together(store, [(tp, 3) for tp in TPS]) == [None] * COUNT
    assert len(groups) <= 3
    assert sum(groups) == COUNT
    assert await starts(store) == [3] * COUNT
    await store.close()
    await store.open()
    assert await starts(store) == [3] * COUNT


async def test_one_that_is_refused_takes_none_along(store: SqliteStore) -> None:
    nowhere = TopicPartition("u", UUID(int=2), 0)
    outcomes = await together(store, [(TPS[0], 2), (TPS[1], 9), (nowhere, 1), (TPS[2], 4), (TPS[0], 3)])
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        OffsetOutOfRange,
        UnknownTopicOrPartition,
        type(None),
        type(None),
    ]
    assert (await starts(store))[:3] == [3, 0, 4]


async def test_where_they_cannot_be_done_together_each_is_tried_alone(
    store: SqliteStore, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what had been changed in memory is as it was."""
    transaction = logs_module.transaction

    def fails_for_many(connection: sqlite3.Connection, work: object) -> object:
        done = transaction

        def checked(connection: sqlite3.Connection) -> object:
            result = work(connection)  # type: ignore[operator]
            if groups[-1] > 1 or broken(connection):
                raise sqlite3.OperationalError("no luck")
            return result

        return done(connection, checked)

    def broken(connection: sqlite3.Connection) -> bool:
        [start] = connection.execute("SELECT start FROM logs WHERE partition = 7").fetchone()
        return bool(start)

    monkeypatch.setattr(logs_module, "transaction", fails_for_many)
    outcomes = await together(store, [(tp, 2) for tp in TPS])
    assert max(groups) > 1
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], sqlite3.OperationalError)
    expected = [2] * COUNT
    expected[7] = 0
    assert await starts(store) == expected
    [run] = await store.read(TPS[7], 0, 1)
    assert bytes(run.data) == bytes(make_batch(0).data)
    await store.close()
    await store.open()
    assert await starts(store) == expected
