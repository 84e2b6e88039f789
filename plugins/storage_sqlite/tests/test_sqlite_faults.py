"""A broker on SQLite while the disk is full, the file is damaged, or another process has locked it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from broker import CONFIG, ENV, SECONDS, consumer, create_topic, produce, serve, take
from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from disks import tmpfs

from kgw_core.testing.gateway import GatewayProcess

KGW = [sys.executable, "-c", "from kgw_core.cli import main; main(prog_name='kgw')"]
MiB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    with tmpfs(tmp_path / "disk", 24) as place:
        yield place


def attempt(gateway: GatewayProcess, topic: str, values: list[bytes]) -> list[tuple[KafkaError | None, int]]:
    """Produce each value by itself and once; error or offset of each."""
    outcomes: list[tuple[KafkaError | None, int]] = []

    def delivered(error: Any, message: Message) -> None:
        outcomes.append((error, -1 if error is not None else message.offset()))

    producer = Producer(
        {"bootstrap.servers": gateway.bootstrap, "retries": 0, "batch.size": 1, "linger.ms": 0}
    )
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=delivered)
        producer.flush(SECONDS)
    assert len(outcomes) == len(values)
    return outcomes


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


# -- a full disk


def test_a_full_disk_refuses_loses_nothing_and_goes_on(small_disk: Path, tmp_path: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(8 * MiB))
    with serve(tmp_path, database=small_disk / "kgw.db") as gateway:
        create_topic(gateway, "orders")
        sent: dict[int, bytes] = {}
        refused = 0
        for number in range(200):
            value = b"%d." % number + bytes(400_000)
            [(error, offset)] = attempt(gateway, "orders", [value])
            if error is None:
                assert offset == len(sent), "offsets go on where the last one taken ended"
                sent[offset] = value
            else:
                assert error.code() == KafkaError.KAFKA_STORAGE_ERROR, error
                refused += 1
                if refused == 5:
                    break
        assert refused == 5, "the disk never was full"
        assert len(sent) >= 5
        gateway.wait_for_log("the disk is full")
        assert all_of(gateway, "orders", len(sent)) == list(sent.values()), "reading goes on"
        ballast.unlink()
        until(lambda: attempt(gateway, "orders", [b"again"])[0][0] is None, "it does not go on")
    with serve(tmp_path, database=small_disk / "kgw.db") as gateway:
        values = all_of(gateway, "orders", len(sent) + 1)
        assert values[: len(sent)] == list(sent.values())
        assert values[-1] == b"again"


def all_of(gateway: GatewayProcess, topic: str, count: int) -> list[bytes]:
    """All values; that there are ``count``, and no more."""
    with consumer(gateway, "readers") as reader:
        reader.assign([TopicPartition(topic, 0, 0)])
        messages = take(reader, count)
        _, high = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS)
        assert high == count
        return [message.value() for message in messages]


def test_a_file_system_that_is_read_only_is_told_at_start(small_disk: Path, tmp_path: Path) -> None:
    with serve(tmp_path, database=small_disk / "kgw.db") as gateway:
        create_topic(gateway, "orders")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    config = tmp_path / "kgw.toml"
    config.write_text(CONFIG.format(path=small_disk / "kgw.db"))
    done = subprocess.run(
        [*KGW, "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENV,
    )
    assert done.returncode == 1
    assert "storage sqlite" in done.stderr
    assert "ead-only file system" in done.stderr
    assert "Traceback" not in done.stderr


# -- damage


def damage(database: Path, marker: bytes) -> None:
    """Overwrite the first page that says that it is a leaf of a table and has ``marker`` in it."""
    with closing(sqlite3.connect(database)) as connection:
        [size] = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(database.read_bytes())
    for at in range(size, len(data), size):
        if data[at] == 0x0D and marker in data[at : at + size]:
            data[at : at + size] = b"\xff" * size
            database.write_bytes(data)
            return
    raise AssertionError(f"no page has {marker!r}")


def test_a_damaged_page_hurts_its_partition_only_and_is_found(tmp_path: Path) -> None:
    with serve(tmp_path) as gateway:
        for name in ("bad", "good"):
            create_topic(gateway, name)
            for number in range(30):  # so much that the two have no page in common
                produce(gateway, name, [b"%s-%d." % (name.encode(), number) * 500])
    damage(tmp_path / "kgw.db", b"bad-3.")
    with serve(tmp_path) as gateway:
        assert len(all_of(gateway, "good", 30)) == 30
        assert produce(gateway, "good", [b"more"]) == [30]
        with consumer(gateway, "readers") as reader:
            reader.assign([TopicPartition("bad", 0, 0)])
            found = reader.consume(30, timeout=2.0)
        gateway.wait_for_log("the database is damaged")
        whole = [b"bad-%d." % number * 500 for number in range(30)]
        assert [message.value() for message in found if not message.error()] == whole[: len(found)]
        assert len(found) < 30
    done = subprocess.run(
        [*KGW, "check-store", "--config", str(tmp_path / "kgw.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "structure: " in done.stdout
    assert "bad-0: " in done.stdout
    assert "good-0: " not in done.stdout


# -- a lock


def test_a_database_that_another_program_locks_is_told_and_waited_for(tmp_path: Path) -> None:
    with serve(tmp_path, env={"KGW_STORAGE__LOCK_TIMEOUT": "200ms"}) as gateway:
        create_topic(gateway, "orders")
        assert produce(gateway, "orders", [b"0"]) == [0]
        with closing(sqlite3.connect(tmp_path / "kgw.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            [(error, _)] = attempt(gateway, "orders", [b"no"])
            assert error is not None and error.code() == KafkaError.KAFKA_STORAGE_ERROR
            gateway.wait_for_log("another program has locked the database")
            other.execute("ROLLBACK")
        assert produce(gateway, "orders", [b"1"]) == [1]
        assert all_of(gateway, "orders", 2) == [b"0", b"1"]


def test_a_newer_database_and_another_programs_are_left_alone(tmp_path: Path) -> None:
    with serve(tmp_path):
        pass
    database = tmp_path / "kgw.db"
    for pragma, complaint in (
        ("user_version = 99", "the database has version 99"),
        ("application_id = 7", "the file is a database of another program"),
    ):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA {pragma}")
        before = database.read_bytes()
        done = subprocess.run(
            [*KGW, "serve", "--config", str(tmp_path / "kgw.toml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=ENV,
        )
        assert done.returncode == 1
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
        assert database.read_bytes() == before


# -- a slow disk

LIMITS = {
    "KGW_LIMITS__MAX_PARTITIONS": "1000",
    "KGW_LIMITS__MAX_REQUEST_SIZE": "4MiB",
    "KGW_LIMITS__MAX_IN_FLIGHT_BYTES": "4MiB",
    "KGW_LIMITS__MAX_TOTAL_IN_FLIGHT_BYTES": "16MiB",
    "KGW_LIMITS__TAIL_CACHE": "4MiB",
    "KGW_STORAGE__LOCK_TIMEOUT": "60s",
}


def resident(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_slow_disk_slows_producers_and_takes_no_memory(tmp_path: Path) -> None:
    """The disk does not answer for a while, here because somebody holds the database's lock."""
    count, size = 160, 500_000
    with serve(tmp_path, env=LIMITS) as gateway:
        create_topic(gateway, "orders")
        produce(gateway, "orders", [b"first"])
        offsets: list[int] = []
        options = {"linger.ms": 0, "batch.size": size, "queue.buffering.max.kbytes": 1 << 20}
        producers = [
            Producer({"bootstrap.servers": gateway.bootstrap, "enable.idempotence": True, **options})
            for _ in range(8)
        ]
        before = resident(gateway)
        with closing(sqlite3.connect(tmp_path / "kgw.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(count):
                producers[number % len(producers)].produce(
                    "orders",
                    b"%d." % number + bytes(size),
                    partition=0,
                    on_delivery=lambda error, message: offsets.append(message.offset()),
                )
            most = 0
            for _ in range(20):
                for producer in producers:
                    producer.poll(0.01)
                most = max(most, resident(gateway))
            assert not offsets, "acknowledged, and cannot have been written"
            other.execute("ROLLBACK")
        assert most - before < count * size * 2 // 3, "what producers have is in memory"
        for producer in producers:
            assert producer.flush(SECONDS) == 0
        assert sorted(offsets) == list(range(1, count + 1))
        heads = [value.split(b".")[0] for value in all_of(gateway, "orders", count + 1)[1:]]
        assert sorted(heads, key=int) == [b"%d" % number for number in range(count)]
