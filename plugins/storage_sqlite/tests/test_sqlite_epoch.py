"""The leader epoch: it rises when the database was not closed, so clients notice what a power cut took."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from broker import SECONDS, consumer, create_topic, produce, take
from confluent_kafka import Consumer, KafkaError, TopicPartition
from kgw_storage_sqlite import epoch
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.database import Unusable
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.records import RecordBatch
from kgw_core.spi import storage
from kgw_core.testing.gateway import GatewayProcess
from kgw_core.testing.power import PowerCut

FILES = ("kgw.db", "kgw.db-wal", "kgw.db-shm")
TOPIC = storage.Topic("t", UUID(int=1), 1)
TP = storage.TopicPartition("t", TOPIC.id, 0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# -- the store


async def opened(
    directory: Path, synchronous: Literal["full", "normal"] = "normal"
) -> tuple[SqliteStore, int]:
    """The store on ``kgw.db`` in ``directory``, open, and the leader epoch of its log."""
    store = SqliteStore(Config(path=directory / "kgw.db", synchronous=synchronous))
    await store.open()
    if not await store.topics():
        await store.create_topic(TOPIC)
    return store, (await store.bounds(TP)).epoch


def snapshot(directory: Path, to: Path) -> Path:
    """The files of a database as a power cut at this moment may leave them."""
    to.mkdir()
    for name in FILES:
        if (directory / name).exists():
            shutil.copy(directory / name, to / name)
    return to


@pytest.mark.anyio
async def test_the_epoch_stays_over_clean_restarts_and_rises_after_others(tmp_path: Path) -> None:
    store, first = await opened(tmp_path)
    cut = snapshot(tmp_path, tmp_path / "cut")
    await store.close()
    assert first == 0
    for _ in range(2):
        store, again = await opened(tmp_path)
        await store.close()
        assert again == 0, "it was closed"
    for expected in (1, 2):
        store, risen = await opened(cut)
        cut = snapshot(cut, tmp_path / f"cut-{expected}")
        await store.close()
        assert risen == expected
    store, risen = await opened(cut)
    await store.close()
    assert risen == 3
    store, risen = await opened(cut)
    await store.close()
    assert risen == 3, "it was closed this time"


@pytest.mark.anyio
@pytest.mark.parametrize("noted", [False, True])
async def test_a_start_that_fails_hides_no_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    """Whether it fails before it has noted that the database is open, or after."""
    store, _ = await opened(tmp_path)
    cut = snapshot(tmp_path, tmp_path / "cut")
    await store.close()

    def fail(*_: object) -> int:
        raise sqlite3.OperationalError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(*((SqliteStore, "_load") if noted else (epoch, "opened")), fail)
        with pytest.raises(Unusable, match="no luck"):
            await SqliteStore(Config(path=cut / "kgw.db")).open()
    store, risen = await opened(cut)
    await store.close()
    assert risen == 1


@pytest.mark.anyio
async def test_topics_that_are_made_later_are_in_the_same_epoch(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    cut = snapshot(tmp_path, tmp_path / "cut")
    await store.close()
    store, _ = await opened(cut)
    later = storage.Topic("later", UUID(int=2), 1)
    await store.create_topic(later)
    assert (await store.bounds(storage.TopicPartition("later", later.id, 0))).epoch == 1
    await store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_that_it_is_open_is_on_the_disk_before_anything_is_appended(
    tmp_path: Path, synchronous: Literal["full", "normal"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could take that note with the records, and nobody would notice."""
    noted: list[tuple[str, int]] = []

    class Watched(sqlite3.Connection):
        def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            if statement.startswith("UPDATE store"):
                [level] = super().execute("PRAGMA synchronous").fetchone()
                noted.append((statement, level))
            return super().execute(statement, *arguments)

    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: original(*a, factory=Watched, **k))
    store, _ = await opened(tmp_path, synchronous)
    assert [level for _, level in noted] == [2], "2 is FULL: a commit waits for the disk"
    levels = {"full": 2, "normal": 1}
    assert await store.database.write(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (
        levels[synchronous],
    )
    await store.close()
    assert [level for _, level in noted] == [2, 2]


@pytest.mark.anyio
async def test_a_backup_is_ahead_of_what_the_original_comes_to(tmp_path: Path) -> None:
    """Clients that have seen the original after the backup notice that another log is there."""
    store, before = await opened(tmp_path)
    await SqliteStore(store._settings).backup(tmp_path / "copy.db")
    await store.close()
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(tmp_path / "copy.db", restored / "kgw.db")
    store, after = await opened(restored)
    await store.close()
    assert after == before + epoch.BACKUP
    store, again = await opened(restored)
    await store.close()
    assert again == after


@pytest.mark.anyio
async def test_a_database_that_knows_no_epoch_may_have_been_cut(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "data" / "v1.db", tmp_path / "kgw.db")
    with closing(sqlite3.connect(tmp_path / "kgw.db")) as connection:
        [[topic_id]] = connection.execute("SELECT id FROM topics WHERE name = 'orders'")
    store = SqliteStore(Config(path=tmp_path / "kgw.db"))
    await store.open()
    assert (await store.bounds(storage.TopicPartition("orders", UUID(bytes=topic_id), 0))).epoch == 1
    await store.close()


# -- clients


def power_cut(tmp_path: Path) -> PowerCut:
    data = tmp_path / "data"
    config = f'[storage]\nuse = "sqlite"\nsynchronous = "normal"\npath = "{data / "kgw.db"}"\n'
    return PowerCut(tmp_path, data, config)


@contextmanager
def reader(gateway: GatewayProcess, reset: str) -> Iterator[Consumer]:
    options = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "log_level": 0}
    with consumer(gateway, "readers", **{"auto.offset.reset": reset}, **options) as made:
        made.assign([TopicPartition("t", 0, 0)])
        yield made


KEPT = [b"kept %d" % number for number in range(10)]
LOST = [b"lost %d" % number for number in range(5)]
NEW = [b"new %d" % number for number in range(20)]


def test_a_consumer_notices_what_a_power_cut_took(tmp_path: Path) -> None:
    """It has read to offset 15, there are 30 records again, and only 10 of them are those it has read."""
    machine = power_cut(tmp_path)
    with ExitStack() as readers:
        with machine.serving() as gateway:
            create_topic(gateway, "t")
            assert produce(gateway, "t", KEPT) == list(range(10))
            machine.sync(gateway)
            assert produce(gateway, "t", LOST) == list(range(10, 15))
            resetting = readers.enter_context(reader(gateway, "earliest"))
            strict = readers.enter_context(reader(gateway, "error"))
            for each in (resetting, strict):
                assert [message.value() for message in take(each, 15)] == KEPT + LOST
            machine.cut(gateway)
        with machine.serving(elsewhere=True) as gateway:
            assert produce(gateway, "t", NEW) == list(range(10, 30)), "before the consumers are back"
        with machine.serving() as gateway:
            assert [message.value() for message in take(resetting, 20)] == NEW, "from where the logs part"
            told = strict.poll(SECONDS)
            assert told is not None and told.error() is not None, "it goes on as if nothing had been"
            assert told.error().code() == KafkaError._AUTO_OFFSET_RESET
            assert "truncation detected at offset 15" in told.error().str()


def test_a_consumer_goes_on_where_nothing_was_cut(tmp_path: Path) -> None:
    """A gateway that was killed lost nothing: the same position, in the next epoch."""
    machine = power_cut(tmp_path)
    with ExitStack() as readers:
        with machine.serving() as gateway:
            create_topic(gateway, "t")
            produce(gateway, "t", KEPT)
            strict = readers.enter_context(reader(gateway, "error"))
            take(strict, 10)
            gateway.kill()
        with machine.serving() as gateway:
            assert produce(gateway, "t", NEW) == list(range(10, 30))
            found = take(strict, 20)
            assert [message.value() for message in found] == NEW
            assert {message.leader_epoch() for message in found} == {1}


@pytest.mark.anyio
async def test_batches_of_the_next_epoch_say_so(tmp_path: Path) -> None:
    """The epoch stands in the stored batches, where look-ups find where each ends (KIP-101)."""
    machine = power_cut(tmp_path)
    for number in range(3):
        with machine.serving() as gateway:
            if not number:
                create_topic(gateway, "t")
            produce(gateway, "t", [b"%d" % number])
            gateway.kill()
    store = SqliteStore(Config(path=tmp_path / "data" / "kgw.db"))
    await store.open()
    [topic] = await store.topics()
    runs = await store.read(storage.TopicPartition("t", topic.id, 0), 0, 1 << 20)
    await store.close()
    data = memoryview(b"".join(bytes(run.data) for run in runs))
    epochs = []
    while data:
        batch = RecordBatch(data)
        epochs.append(batch.partition_leader_epoch)
        data = data[batch.size :]
    assert epochs == [0, 1, 2]
