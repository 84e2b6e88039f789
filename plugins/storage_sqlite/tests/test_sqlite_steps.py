"""Work on very many logs is done in steps. No turn of the writing thread changes more than some number of
rows. A crash or a failure between two steps leaves logs of no topic, and upkeep removes them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import anyio
import pytest
from kgw_storage_sqlite import making, upkeep
from kgw_storage_sqlite import store as store_module
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.making import Making
from kgw_storage_sqlite.store import SqliteStore
from kgw_storage_sqlite.worker import Worker

from kgw_core.errors import KafkaStorageError, TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.spi.storage import Append, Topic, TopicConflict, TopicPartition
from kgw_core.testing.batches import make_batch

pytestmark = pytest.mark.anyio

T = TypeVar("T")
STEPS = 4
ROWS = 10
BEFORE = Topic("t", UUID(int=7 << 64), 5)
LARGE = Topic("t", UUID(int=7 << 64), STEPS * ROWS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(Config(path=path / "kgw.db", synchronous="normal"))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(tmp_path / "store") as made:
        yield made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS", ROWS)


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each turn of a thread has changed."""
    found: list[int] = []
    run = Worker.run

    async def counted(self: Worker, work: Callable[[sqlite3.Connection], T]) -> T:
        def watched(connection: sqlite3.Connection) -> T:
            before = connection.total_changes
            try:
                return work(connection)
            finally:
                found.append(connection.total_changes - before)

        return await run(self, watched)

    monkeypatch.setattr(Worker, "run", counted)
    return found


def partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, topic.id, number) for number in range(topic.partitions)]


async def cleaned(store: SqliteStore) -> None:
    """Wait until upkeep has removed what is no topic's."""
    logs = store._logs
    for _ in range(2_000):
        if not logs.hidden and not logs.failed and not logs.dead:
            return
        await anyio.sleep(0.01)
    raise AssertionError("upkeep does not end")


async def rows(store: SqliteStore) -> int:
    [count] = await store.database.read(lambda c: c.execute("SELECT count(*) FROM logs").fetchone())
    return int(count)


async def usable(store: SqliteStore, topic: Topic) -> None:
    """All logs of the topic are there, and nothing else is."""
    assert list(await store.topics()) == [topic]
    tps = partitions(topic)
    assert await store.append_many([Append(tp, [make_batch(0)]) for tp in tps]) == [[0]] * len(tps)
    assert [(await store.bounds(tp)).end for tp in tps] == [1] * len(tps)
    await cleaned(store)
    assert await rows(store) == len(tps)
    assert [(await store.bounds(tp)).end for tp in tps] == [1] * len(tps)
    assert await store.check() == []


async def test_no_turn_changes_more_than_some_rows(store: SqliteStore, changed: list[int]) -> None:
    count = 2 * making.ROWS + 500
    topic = Topic("t", UUID(int=3 << 64), count)
    grown = Topic("t", topic.id, count + making.ROWS + 1)
    await store.create_topic(topic)
    await store.update_topic(grown, topic)
    tps = partitions(grown)
    for at in range(0, count, 200):
        await store.append_many([Append(tp, [make_batch(0)]) for tp in tps[at : min(at + 200, count)]])
    async with anyio.create_task_group() as tasks:
        for tp in tps[:count]:
            tasks.start_soon(store.trim, tp, 1)
    await store.delete_topic(topic.id)
    with pytest.raises(UnknownTopicOrPartition):
        await store.bounds(tps[0])
    await cleaned(store)
    assert await rows(store) == 0
    assert max(changed) <= max(making.ROWS + 1, store_module.TRIMS, upkeep.FEW * upkeep.ROWS)
    assert sum(changed) >= 5 * count


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("what", ["create", "grow"])
async def test_appends_go_on_between_the_steps(store: SqliteStore, what: str) -> None:
    other = Topic("other", UUID(int=9 << 64), 1)
    await store.create_topic(other)
    many = Topic("t", BEFORE.id, 20 * ROWS)
    done = anyio.Event()

    async def make() -> None:
        await (store.create_topic(many) if what == "create" else store.update_topic(many, BEFORE))
        done.set()

    if what == "grow":
        await store.create_topic(BEFORE)
    appended = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        while not done.is_set():
            await store.append(partitions(other)[0], [make_batch(appended)])
            appended += 1
    assert appended >= 15


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("what", ["create", "grow"])
@pytest.mark.parametrize("steps", range(STEPS + 1))
async def test_a_kill_between_two_steps(
    tmp_path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, what: str, steps: int
) -> None:
    """The files are copied after some of the steps: nothing of the topic is seen before the last one, and its
    name and id can be used at once."""
    if what == "grow":
        await store.create_topic(BEFORE)
    step = Making._step
    done = 0

    def counted(self: Making, connection: sqlite3.Connection, **which: int) -> None:
        nonlocal done
        if done == steps:
            shutil.copytree(tmp_path / "store", tmp_path / "killed")
        done += 1
        step(self, connection, **which)

    monkeypatch.setattr(Making, "_step", counted)
    await (store.create_topic(LARGE) if what == "create" else store.update_topic(LARGE, BEFORE))
    assert done == STEPS
    if steps == STEPS:
        shutil.copytree(tmp_path / "store", tmp_path / "killed")
    monkeypatch.undo()
    await usable(store, LARGE)
    async with opened(tmp_path / "killed") as killed:
        seen = list(await killed.topics())
        if steps == STEPS:
            assert seen == [LARGE]
        elif what == "create":
            assert seen == []
            with pytest.raises(UnknownTopicOrPartition):
                await killed.bounds(partitions(LARGE)[0])
            await killed.create_topic(LARGE)
        else:
            assert seen == [BEFORE]
            with pytest.raises(UnknownTopicOrPartition):
                await killed.bounds(partitions(LARGE)[BEFORE.partitions])
            await killed.update_topic(LARGE, BEFORE)
        await usable(killed, LARGE)
    async with opened(tmp_path / "killed") as again:
        assert (await again.bounds(partitions(LARGE)[-1])).end == 1
        assert not again._logs.dead


@pytest.mark.parametrize("again", ["at once", "later", "after a start"])
async def test_a_full_database_in_the_midst_leaves_nothing(tmp_path: Path, again: str) -> None:
    topic = Topic("t", UUID(int=5 << 64), 6 * making.ROWS)

    def limit(most: int) -> Callable[[sqlite3.Connection], Any]:
        def work(connection: sqlite3.Connection) -> None:
            [pages] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + most}")

        return work

    async with opened(tmp_path) as store:
        await store.database.write(limit(8))
        with pytest.raises(KafkaStorageError):
            await store.create_topic(topic)
        assert await store.topics() == []
        assert store._logs.failed or store._logs.dead  # some steps were done
        await store.database.write(limit(100_000))
        if again == "later":
            await cleaned(store)
            assert await rows(store) == 0
        if again != "after a start":
            await store.create_topic(topic)
            await cleaned(store)
            assert await rows(store) == topic.partitions
    async with opened(tmp_path) as store:
        if again == "after a start":
            assert await store.topics() == []
            await store.create_topic(topic)
            await cleaned(store)
        assert list(await store.topics()) == [topic]
        assert (await store.bounds(partitions(topic)[-1])).end == 0
        assert await rows(store) == topic.partitions


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("number", [1, STEPS])
async def test_a_caller_that_is_cancelled_in_a_step(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The step is done all the same: after the last one the topic is there and stays, else nothing is."""
    write = Making._write
    loop = asyncio.get_running_loop()
    over = threading.Event()
    scope = anyio.CancelScope()
    done = 0

    def cancelled(self: Making, connection: sqlite3.Connection, **which: int) -> None:
        nonlocal done
        done += 1
        if done == number:
            loop.call_soon_threadsafe(scope.cancel)
            assert over.wait(10)
        write(self, connection, **which)

    monkeypatch.setattr(Making, "_write", cancelled)
    with scope:
        await store.create_topic(LARGE)
    over.set()
    assert scope.cancelled_caught
    await cleaned(store)
    if number < STEPS:
        assert await store.topics() == []
        await store.create_topic(LARGE)
    await usable(store, LARGE)


@pytest.mark.usefixtures("small")
async def test_what_others_do_between_the_steps(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is taken meanwhile stays theirs; a topic that is deleted meanwhile does not grow."""
    other = Topic("t", UUID(int=8 << 64), 1)
    async with anyio.create_task_group() as tasks:
        with pytest.raises(TopicAlreadyExists):
            tasks.start_soon(store.create_topic, other)
            await store.create_topic(LARGE)
    assert list(await store.topics()) == [other]
    more = Topic("t", other.id, STEPS * ROWS)
    with pytest.raises(TopicConflict):
        await store.update_topic(more, Topic("t", other.id, 2))
    async with anyio.create_task_group() as tasks:
        with pytest.raises(UnknownTopicOrPartition):
            tasks.start_soon(store.delete_topic, other.id)
            await store.update_topic(more, other)
    await store.create_topic(LARGE)
    await usable(store, LARGE)


async def test_of_two_updates_at_the_same_time_one_gets_all_logs(tmp_path: Path, small: None) -> None:
    """The steps of the one that loses take no log of the other."""
    tps = [TopicPartition("t", BEFORE.id, number) for number in range(LARGE.partitions)]
    async with opened(tmp_path) as store:
        await store.create_topic(BEFORE)
        larger = Topic("t", BEFORE.id, LARGE.partitions + ROWS)
        results = await asyncio.gather(
            store.update_topic(LARGE, BEFORE), store.update_topic(larger, BEFORE), return_exceptions=True
        )
        [done] = [number for number, result in enumerate(results) if result is None]
        assert isinstance(results[1 - done], KafkaStorageError | TopicConflict)
        for tp in tps:
            assert await store.append(tp, [make_batch(0)]) == [0]
    async with opened(tmp_path) as store:
        assert [(await store.bounds(tp)).end for tp in tps] == [1] * len(tps)
