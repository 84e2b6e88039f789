"""Work beside appends: deleted records leave the file, and the write-ahead log stays bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from kgw_storage_sqlite import upkeep
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.state import SqliteStateStore
from kgw_storage_sqlite.store import SqliteStore
from kgw_storage_sqlite.upkeep import Upkeep

from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import Append, Batch, OffsetConflict, Topic, TopicPartition
from kgw_core.testing.batches import make_batch

pytestmark = pytest.mark.anyio

MiB = 1 << 20
PIECE = MiB // 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(Config(path=tmp_path / "kgw.db", synchronous="normal"))
    await made.open()
    yield made
    await made.close()


async def log(store: SqliteStore, name: str = "t") -> TopicPartition:
    topic = Topic(name, uuid4(), 1)
    await store.create_topic(topic)
    return TopicPartition(name, topic.id, 0)


def large(base: int) -> Batch:
    return make_batch(base, 1, size=PIECE)


async def fill(store: SqliteStore, tp: TopicPartition, count: int) -> None:
    end = (await store.bounds(tp)).end
    for base in range(end, end + count):
        await store.append(tp, [large(base)])


async def until(done: Callable[[], bool], what: str) -> None:
    for _ in range(2_000):
        if done():
            return
        await anyio.sleep(0.01)
    raise AssertionError(what)


async def idle(upkeep: Upkeep | None) -> None:
    """Wait until there is nothing to do beside appends."""
    assert upkeep is not None
    await until(lambda: upkeep._chore._ended is None, "upkeep does not end")


@pytest.mark.parametrize("how", ["trim", "delete"])
async def test_space_of_what_is_deleted_comes_back(store: SqliteStore, how: str) -> None:
    """The file gets shorter, while another log is appended to."""
    tp, other = await log(store), await log(store, "other")
    await fill(store, tp, 100)
    await until(lambda: store.database.path.stat().st_size > 30 * MiB, "nothing reached the file")
    if how == "trim":
        await store.trim(tp, 100)
    else:
        await store.delete_topic(tp.topic_id)
    await fill(store, other, 4)
    await until(lambda: store.database.path.stat().st_size < 20 * MiB, "the file does not get shorter")
    assert (await store.bounds(other)).end == 4
    [run] = [await store.read(other, base, 1) for base in (3,)]
    assert bytes(run[0].data) == bytes(large(3).data)


async def test_the_write_ahead_log_does_not_grow_with_what_is_written(store: SqliteStore) -> None:
    tp = await log(store)
    for _ in range(5):
        await fill(store, tp, 80)
        await idle(store._upkeep)
    assert store.database.wal.size() < 120 * MiB, "200 MiB were written"


@pytest.mark.parametrize("what", ["appends", "commits of the state", "commits of a state of its own"])
async def test_nor_with_how_many_small_things_are_written(
    store: SqliteStore, tmp_path: Path, what: str
) -> None:
    """A commit of a hundred bytes writes whole pages; 3,000 of them took 100 to 150 MB."""
    tp = await log(store)
    state: StateStore = store.state_store()
    database, upkeep = store.database, store._upkeep
    if what == "commits of a state of its own":
        state = own = SqliteStateStore(Config(path=tmp_path / "state.db", synchronous="normal"))
        await own.open()
        database, upkeep = own._database, own._upkeep
    else:
        await state.open()
    for number in range(3_000):
        if what == "appends":
            await store.append(tp, [make_batch(number, 1)])
        else:
            await state.commit({b"groups/o/%d" % (number % 300): b"x" * 60})
        if number % 100 == 99:  # on a busy machine it may be slower than who writes all the time
            await idle(upkeep)
    await state.close()
    assert database.wal.size() < 80 * MiB
    if what == "commits of a state of its own":
        assert not (tmp_path / "state.db-wal").exists()


async def test_what_fails_is_told_once_and_seen_and_done_later(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it fails with: the disk is full, or there is a fault."""
    monkeypatch.setattr("kgw_core.background.FIRST_SECONDS", 0.001)
    tp = await log(store)
    await fill(store, tp, 20)
    faults: list[Exception] = [sqlite3.OperationalError("disk is full"), ZeroDivisionError("a fault")] * 2
    seen: list[str] = []
    clear = upkeep._clear_trimmed

    def failing(connection: sqlite3.Connection, *, trimmed: Sequence[Log]) -> tuple[int, bool]:
        if faults:
            raise faults.pop(0)
        return clear(connection, trimmed=trimmed)

    monkeypatch.setattr(upkeep, "_clear_trimmed", failing)
    health = store._upkeep._background.health
    health.changed.append(lambda: seen.append(", ".join(health.failing)))
    await store.trim(tp, 20)
    name = f"upkeep of {store.database.path}"
    await until(lambda: len(seen) == 5, "it is not tried again")
    assert seen == [name] * 4 + [""]
    assert sum(f"{name} failed, and is tried again" in line for line in caplog.messages) == 2
    assert store._upkeep is not None
    assert not store._upkeep._trimmed


async def test_a_deletion_that_was_cut_short_goes_on_after_a_start(store: SqliteStore) -> None:
    tp, other = await log(store), await log(store, "other")
    await fill(store, tp, 60)
    await store.append(other, [large(0)])
    assert store._upkeep is not None
    await store._upkeep.stop()
    await store.delete_topic(tp.topic_id)
    await store.trim(other, 1)
    await store.close()
    again = SqliteStore(store._settings)
    await again.open()
    try:
        assert [topic.name for topic in await again.topics()] == ["other"]
        assert (await again.bounds(other))[:4] == (1, 1, 0, 0)
        await until(lambda: not again._logs.dead, "the deleted log stays")
        await until(lambda: again.database.path.stat().st_size < 15 * MiB, "the file does not get shorter")
    finally:
        await again.close()


async def test_appends_to_many_logs_are_one_commit(store: SqliteStore) -> None:
    tps = [await log(store, f"t{number}") for number in range(50)]
    outcomes = await store.append_many([Append(tp, [make_batch(0, 3)]) for tp in tps])
    assert outcomes == [[0]] * 50
    missing = TopicPartition("no", uuid4(), 0)
    mixed = [(tps[0], 3), (missing, 0), (tps[1], 9)]
    outcomes = await store.append_many([Append(tp, [make_batch(base, 1)]) for tp, base in mixed])
    assert outcomes[0] == [3]
    assert isinstance(outcomes[1], UnknownTopicOrPartition)
    assert isinstance(outcomes[2], OffsetConflict)
