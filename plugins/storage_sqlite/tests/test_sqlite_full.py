"""A full disk: nothing is lost, reads go on, and what is deleted makes room again."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from broker import SECONDS, admin, consumer, create_topic, serve, take
from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from disks import Ballast, left, run, tmpfs
from kgw_storage_sqlite import logs, room
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.store import SqliteStore
from kgw_storage_sqlite.wal import WriteAheadLog

from kgw_core.errors import KafkaStorageError, MessageTooLarge
from kgw_core.spi import storage
from kgw_core.testing.batches import make_batch
from kgw_core.testing.gateway import GatewayProcess

MiB = 1 << 20
SIZE = 20_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", 60) as place:
        yield place


# -- clients


class Sender:
    """Sends records and does not send them again; ``taken`` are the offsets of those that were stored."""

    def __init__(self, gateway: GatewayProcess, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": gateway.bootstrap, "retries": 0, "batch.size": SIZE, "linger.ms": 0}
        )
        self.taken: dict[int, bytes] = {}
        self.errors: list[KafkaError] = []

    def send(self, count: int) -> bool:
        """Whether all of them were taken."""
        before = len(self.errors)
        for _ in range(count):
            value = os.urandom(SIZE)
            self._producer.produce(self._topic, value, b"key", partition=0, on_delivery=self._told)
        assert self._producer.flush(SECONDS) == 0
        return len(self.errors) == before

    def _told(self, error: Any, message: Message) -> None:
        if error is not None:
            self.errors.append(error)
        else:
            offset = message.offset()
            assert offset is not None and offset not in self.taken
            self.taken[offset] = message.value() or b""

    def fill(self) -> None:
        """Send until the disk is full."""
        while self.send(20):
            assert len(self.taken) * SIZE < 100 * MiB, "the disk is never full"
        assert {error.code() for error in self.errors} == {KafkaError.KAFKA_STORAGE_ERROR}

    def go_on(self, count: int) -> None:
        """Send until so many more are taken."""
        deadline = time.monotonic() + SECONDS
        wanted = len(self.taken) + count
        while len(self.taken) < wanted:
            assert time.monotonic() < deadline, "appends do not go on"
            if not self.send(1):
                time.sleep(0.1)


def by_records(gateway: GatewayProcess) -> None:
    client = admin(gateway)
    client.delete_records([TopicPartition("old", 0, -1)])[TopicPartition("old", 0)].result(SECONDS)


def by_topic(gateway: GatewayProcess) -> None:
    client = admin(gateway)
    client.delete_topics(["old"])["old"].result(SECONDS)


def set_config(gateway: GatewayProcess, name: str, value: str) -> None:
    client = admin(gateway)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    [done] = client.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, "old", incremental_configs=[entry])]
    ).values()
    done.result(SECONDS)


def by_retention(gateway: GatewayProcess) -> None:
    set_config(gateway, "retention.bytes", "1000")


def by_compaction(gateway: GatewayProcess) -> None:
    set_config(gateway, "min.cleanable.dirty.ratio", "0.01")
    set_config(gateway, "cleanup.policy", "compact")


ENV = {"KGW_TOPICS__RETENTION_CHECK_INTERVAL": "300ms", "KGW_TOPICS__COMPACTION_CHECK_INTERVAL": "300ms"}


@pytest.mark.parametrize("make_room", [by_records, by_topic, by_retention, by_compaction])
def test_deleting_makes_room(disk: Path, tmp_path: Path, make_room: Callable[[GatewayProcess], None]) -> None:
    with serve(tmp_path, database=disk / "kgw.db", env=ENV) as gateway:
        create_topic(gateway, "old")
        create_topic(gateway, "kept")
        old, kept = Sender(gateway, "old"), Sender(gateway, "kept")
        assert old.send(400) and kept.send(400)
        old.fill()
        kept.fill()
        assert len(old.taken) + len(kept.taken) > 1_000, "much of the disk was not used"
        with consumer(gateway, "group") as reader:
            reader.subscribe(["kept"])
            take(reader, 100)
            reader.commit(asynchronous=False)
        make_room(gateway)
        kept.go_on(300)
        gateway.wait_for_log("appending to .* works again")
        told = gateway.log.count("kgw.db failed, and is tried again")
        assert told == 1 or (make_room is by_compaction and told < 20), "it gives room back bit by bit"
    with serve(tmp_path, database=disk / "kgw.db") as gateway, consumer(gateway, "group") as reader:
        reader.subscribe(["kept"])
        rest = take(reader, len(kept.taken) - 100)
        assert {message.offset(): message.value() for message in rest} == {
            offset: value for offset, value in kept.taken.items() if offset >= 100
        }


def test_it_can_be_killed_and_started_on_a_disk_that_others_have_filled(disk: Path, tmp_path: Path) -> None:
    """Stored records can be read, and deletions free room."""
    database = disk / "kgw.db"
    with serve(tmp_path, database=database) as gateway:
        create_topic(gateway, "old")
        old = Sender(gateway, "old")
        assert old.send(500)
        Ballast(disk).fill()
        gateway.kill()
    with serve(tmp_path, database=database) as gateway:
        new = Sender(gateway, "old")
        new.fill()
        with consumer(gateway, "group") as reader:
            reader.assign([TopicPartition("old", 0, 0)])
            found = {message.offset(): message.value() for message in take(reader, 500 + len(new.taken))}
        assert found == {**old.taken, **new.taken}
        by_records(gateway)
        new.go_on(1)


# -- the store


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(Config(path=path, **settings))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def log(store: SqliteStore, name: str = "t") -> storage.TopicPartition:
    topic = storage.Topic(name, uuid4(), 1)
    await store.create_topic(topic)
    return storage.TopicPartition(name, topic.id, 0)


async def append(store: SqliteStore, tp: storage.TopicPartition, count: int, size: int = SIZE) -> int:
    """Append batches one by one; how many were taken until one was refused."""
    end = (await store.bounds(tp)).end
    for number in range(count):
        try:
            await store.append(tp, [make_batch(end + number, 1, size=size)])
        except KafkaStorageError:
            return number
    return count


def wal(directory: Path) -> bytes:
    return (directory / "kgw.db-wal").read_bytes()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def until(done: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not await done():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [100, SIZE, 400_000])
async def test_the_last_append_leaves_room_to_delete(disk: Path, size: int) -> None:
    """Whatever the appends' size, what they leave free is enough, and not much more than is needed."""
    async with opened(disk / "kgw.db") as store:
        tp, other = await log(store), await log(store, "other")
        await append(store, other, 100)
        ballast = Ballast(disk)
        ballast.fill(leave=8 * MiB)
        taken = await append(store, tp, 100_000, size)
        assert taken * size > MiB or size == 100
        assert left(disk) < 4 * MiB
        await store.trim(tp, taken)
        await store.trim(other, 100)
        await until(lambda: _took(store, other), "appends do not go on")


async def _works(store: SqliteStore) -> bool:
    try:
        await store.ping()
    except KafkaStorageError:
        return False
    return not store._upkeep._background.health.failing


async def _took(store: SqliteStore, tp: storage.TopicPartition) -> bool:
    return await append(store, tp, 1) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("pending", [0, 30, 150])
async def test_room_that_others_take_is_made_by_deleting(disk: Path, pending: int) -> None:
    """The disk is full to the last byte, whatever is in the write-ahead log at that moment."""
    async with opened(disk / "kgw.db") as store:
        tp, other = await log(store), await log(store, "other")
        await append(store, tp, 600)
        await store.database.checkpoint(whole=True)
        await append(store, other, pending)
        Ballast(disk).fill()
        assert left(disk) == 0
        await append(store, other, 1_000)
        state = store.state_store()
        assert state is not None
        await state.open()
        for number in range(200):
            await state.commit({b"groups/offset": b"%d" % number})
        assert (await store.read(tp, 0, 1))[0].base_offset == 0
        await store.trim(tp, 600)
        await until(lambda: _took(store, other), "appends do not go on")
        assert (await store.ping()) is None


@pytest.mark.anyio
async def test_a_disk_that_is_full_is_told_once_and_by_ping(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with opened(disk / "kgw.db") as store:
        tp = await log(store)
        ballast = Ballast(disk)
        ballast.fill(leave=2 * MiB)
        for _ in range(50):
            await append(store, tp, 1_000)
        with pytest.raises(KafkaStorageError, match="the disk is full"):
            await store.ping()
        assert len(caplog.records) == 1 and "the disk is full" in caplog.text
        [failing] = store._upkeep._background.health.failing.values()
        assert failing.work == f"appending to {disk / 'kgw.db'}"
        ballast.remove()
        await until(lambda: _works(store), "it is not seen that there is room, if nobody appends")
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
        assert await append(store, tp, 1) == 1


@pytest.mark.anyio
async def test_a_backup_onto_the_same_disk_fails_and_leaves_nothing(disk: Path) -> None:
    async with opened(disk / "kgw.db") as store:
        tp = await log(store)
        await append(store, tp, 1_000)
        before = names(disk)
        with pytest.raises(KafkaStorageError, match="the disk is full"):
            await SqliteStore(store._settings).backup(disk / "copy.db")
        assert names(disk) == before
        await until(lambda: _took(store, tp), "appends do not go on")


@pytest.mark.anyio
async def test_appends_beside_a_backup_stop_before_the_log_cannot_be_carried_over(disk: Path) -> None:
    """A reader of an older state keeps the write-ahead log from beginning anew."""
    async with opened(disk / "kgw.db") as store:
        tp = await log(store)
        await append(store, tp, 100)
        reader = sqlite3.connect(disk / "kgw.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM chunks").fetchone()
        taken = 100 + await append(store, tp, 10_000)
        assert taken > 300, "it stopped early"
        reader.execute("COMMIT")
        reader.close()
        reserve = (disk / "kgw.db.reserve").stat().st_size
        await store.database.checkpoint(whole=True)
        assert (disk / "kgw.db.reserve").stat().st_size == reserve > MiB, "there was no room without it"
        await until(lambda: _took(store, tp), "appends do not go on")
        assert await append(store, tp, 300) == 300
        assert (await store.bounds(tp)).end > taken + 300


@pytest.mark.anyio
async def test_more_partitions_than_sqlite_can_number_are_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_LOGS", 10)
    async with opened(tmp_path / "kgw.db") as store:
        topics = [storage.Topic(name, uuid4(), count) for name, count in (("a", 6), ("b", 4), ("c", 2))]
        await store.create_topic(topics[0])
        with pytest.raises(KafkaStorageError, match="holds 6 partitions, and cannot hold more"):
            await store.create_topic(topics[1])
        assert [topic.name for topic in await store.topics()] == ["a"]
        await store.create_topic(topics[2])


@pytest.mark.anyio
async def test_a_batch_larger_than_sqlite_takes_is_too_large_by_itself(tmp_path: Path) -> None:
    """Beside it others are written. SQLite's own limit is 1,000,000,000 bytes."""
    async with opened(tmp_path / "kgw.db") as store:
        tps = [await log(store, name) for name in ("a", "b", "c")]
        await store.database.write(lambda to: to.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 3 * SIZE), size=0)
        appends = [
            storage.Append(tp, [make_batch(0, 1, size=size)])
            for tp, size in zip(tps, (SIZE, 4 * SIZE, SIZE), strict=True)
        ]
        first, large, last = await store.append_many(appends)
        assert (first, last) == ([0], [0])
        assert isinstance(large, MessageTooLarge) and not large.retriable
        assert "SQLite does not take that much at once" in str(large)
        assert store.database.room.refusing is None, "the disk is not full"
        assert [(await store.bounds(tp)).end for tp in tps] == [1, 0, 1]
        assert await append(store, tps[1], 1) == 1


@pytest.mark.anyio
async def test_a_limit_of_the_number_of_pages_is_no_full_disk_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite says the same as of a full disk."""
    async with opened(tmp_path / "kgw.db") as store:
        tp, other = await log(store), await log(store, "other")
        await append(store, tp, 100)
        await store.database.write(lambda c: c.execute("PRAGMA max_page_count = 120").fetchone())
        await append(store, other, 100)
        assert await append(store, other, 1) == 0
        await store.trim(tp, 100)
        await until(lambda: _took(store, other), "appends do not go on")
        assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_limit_of_the_file_s_size_is_told_and_deleting_goes_on(tmp_path: Path) -> None:
    """So is a quota: the system does not call it a full disk."""
    with serve(tmp_path, env={"KGW_STORAGE__RESERVE": "1MiB"}) as gateway:
        create_topic(gateway, "old")
        sender = Sender(gateway, "old")
        assert sender.send(200)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (8 * MiB, 8 * MiB))
        sender.fill()
        with consumer(gateway, "group") as reader:
            reader.assign([TopicPartition("old", 0, 0)])
            found = {message.offset(): message.value() for message in take(reader, len(sender.taken))}
        assert found == sender.taken
        by_records(gateway)
        sender.go_on(1)
        gateway.wait_for_log("appending to .* works again")
        assert gateway.log.count("appending to ") == 2, "that it fails, and that it works again"
        assert "and may have written all the same" not in gateway.log, "it is known that nothing was"


def test_a_file_system_that_becomes_read_only_is_told(tmp_path: Path) -> None:
    """The file system becomes read-only, as ext4 does when the disk fails."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(60 * MiB)
    run("mkfs.ext4", "-q", str(image))
    run("mount", "-o", "loop,errors=remount-ro", str(image), str(place))
    try:
        with serve(tmp_path, database=place / "kgw.db") as gateway:
            create_topic(gateway, "old")
            sender = Sender(gateway, "old")
            assert sender.send(50)
            [device] = [
                line.split()[0]
                for line in Path("/proc/mounts").read_text().splitlines()
                if str(place) in line
            ]
            Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("a test")
            for _ in range(5):
                assert not sender.send(1)
            gateway.wait_for_log("the file system is read-only")
            assert gateway.log.count("appending to ") == 1, "it is told once"
            with consumer(gateway, "group") as reader:
                reader.assign([TopicPartition("old", 0, 0)])
                assert len(take(reader, 50)) == 50, "reads go on"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


# -- writes of which the disk does not say whether they were done


@pytest.mark.anyio
async def test_a_write_that_may_have_reached_the_disk_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes it back; it may be whole in the write-ahead log, and a crash would bring it to life."""
    async with opened(tmp_path / "kgw.db") as store:
        tp = await log(store)
        await append(store, tp, 3)

        def fail(connection: sqlite3.Connection, rows: list[object]) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(logs, "insert", fail)
            size = store.database.wal.size()
            before = wal(tmp_path)
            with pytest.raises(sqlite3.OperationalError):  # the core looks what there is
                await append(store, tp, 1)
        assert store.database.wal.size() == size
        assert wal(tmp_path) != before, "nothing was written over it"
        assert (await store.bounds(tp)).end == 3
        await until(lambda: _took(store, tp), "appends do not go on")


# -- the write-ahead log


@pytest.mark.anyio
async def test_small_commits_do_not_let_the_write_ahead_log_grow(tmp_path: Path) -> None:
    """Each writes a page or two, however little it brings."""
    async with opened(tmp_path / "kgw.db", synchronous="normal") as store:
        tp = await log(store)
        assert await append(store, tp, 6_000, size=100) == 6_000
        assert store.database.wal.size() < 120 * MiB, "200 MiB went into it"


@pytest.mark.anyio
async def test_writes_rarely_wait_for_the_write_ahead_log_to_be_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time they do, it is for the disk: three times what is written has to be there."""
    carried: list[sqlite3.Connection] = []
    carry = WriteAheadLog.carry

    def counted(self: WriteAheadLog, connection: sqlite3.Connection) -> bool:
        carried.append(connection)
        return carry(self, connection)

    monkeypatch.setattr(WriteAheadLog, "carry", counted)
    async with opened(tmp_path / "kgw.db", synchronous="normal") as store:
        tp = await log(store)
        for _ in range(300):
            await append(store, tp, 20, size=100)
            while store.database.wal.due:  # noqa: ASYNC110 # as slow as who carries over beside it
                await asyncio.sleep(0.001)
        writer = store.database._writer
        assert writer is not None
        waited = sum(connection is writer._conn for connection in carried)
    assert len(carried) >= 6, "at 32 MiB each, by an estimate that is too high"
    assert waited <= 3, f"{waited} of {len(carried)}: 200 MiB went into it, and its file keeps 64"


@pytest.mark.anyio
@pytest.mark.parametrize("own", [False, True])
async def test_nor_do_commits_of_the_state(tmp_path: Path, own: bool) -> None:
    from kgw_storage_sqlite.state import SqliteStateStore

    async with opened(tmp_path / "kgw.db", synchronous="normal") as store:
        config = Config(path=tmp_path / "state.db", synchronous="normal")
        state = SqliteStateStore(config) if own else store.state_store()
        assert isinstance(state, SqliteStateStore)
        await state.open()
        for number in range(6_000):
            await state.commit({b"groups/%d" % (number % 100): b"%d" % number})
        size = state._database.wal.size()
        await state.close()
        assert size < 120 * MiB, "200 MiB went into it"


@pytest.mark.anyio
async def test_deleting_does_not_write_what_it_deletes(tmp_path: Path) -> None:
    """Some builds of SQLite overwrite all that is deleted with zeros, unless they are told not to."""
    async with opened(tmp_path / "kgw.db") as store:
        tp, other = await log(store), await log(store, "other")
        await append(store, tp, 60, size=500_000)
        await append(store, other, 1)
        await store.database.checkpoint(whole=True)
        before = store.database.wal.written

        def frames(connection: sqlite3.Connection) -> int:
            [[_, written, _]] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return int(written)

        upkeep = store._upkeep
        assert upkeep is not None
        await upkeep.stop()
        await store.trim(tp, 60)
        deleted = 0
        from kgw_storage_sqlite.upkeep import _delete_before

        known = store._logs.get(tp)
        while await store.database.write(lambda c: _delete_before(c, log=known)):
            deleted += 1
        assert deleted
        pages = await store.database.write(frames)
        assert pages * 32_768 < 3 * MiB, "30 MB were deleted"
        assert store.database.wal.written > before


def test_what_is_kept_back_fits_the_disk(tmp_path: Path) -> None:
    """An eighth of it at most."""
    with tmpfs(tmp_path / "small", 24) as place:
        kept = room.Room(place / "kgw.db", 16 * MiB)
        connection = sqlite3.connect(place / "kgw.db")
        kept.begin(connection)
        connection.close()
        assert (place / "kgw.db.reserve").stat().st_size == 3 * MiB
