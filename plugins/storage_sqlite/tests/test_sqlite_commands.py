"""`kgw backup` and `kgw check-store`, beside a gateway and on damaged files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from broker import CONFIG, SECONDS, consumer, create_topic, produce, serve, take
from confluent_kafka import TopicPartition
from crc32c import crc32c

from kgw_core.records import HEADER_SIZE, RecordBatch

KGW = [sys.executable, "-c", "from kgw_core.cli import main; main(prog_name='kgw')"]


def kgw(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KGW, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The config of a gateway that has stopped; topics "one" and "two" of 200 records each."""
    with serve(tmp_path) as gateway:
        for name in ("one", "two"):
            create_topic(gateway, name)
            assert len(produce(gateway, name, [b"%d" % n + b"v" * 5_000 for n in range(200)])) == 200
    return tmp_path / "kgw.toml"


def test_a_backup_of_a_gateway_at_work_is_a_database_of_one_moment(tmp_path: Path) -> None:
    """Restored as the how-to says; what was acknowledged before the backup is in it, in order."""
    (tmp_path / "restored").mkdir()
    target = tmp_path / "restored" / "kgw.db"
    with serve(tmp_path / "first") as gateway:
        create_topic(gateway, "orders")
        before = produce(gateway, "orders", [b"%d" % n for n in range(300)])
        end = threading.Event()

        def go_on() -> None:
            while not end.is_set():
                produce(gateway, "orders", [b"later"] * 50)

        worker = threading.Thread(target=go_on)
        worker.start()
        try:
            done = kgw("backup", "--config", tmp_path / "first" / "kgw.toml", target)
        finally:
            end.set()
            worker.join(SECONDS)
        assert done.returncode == 0, done.stderr
        assert f"all data is in {target}" in done.stdout
        again = kgw("backup", "--config", tmp_path / "first" / "kgw.toml", target)
        assert again.returncode == 1
        assert f"{target} is there already" in again.stderr
        nowhere = tmp_path / "nowhere" / "kgw.db"
        again = kgw("backup", "--config", tmp_path / "first" / "kgw.toml", nowhere)
        assert again.returncode == 1
        assert again.stderr == (
            f"Error: storage sqlite: backup to {nowhere} failed: there is no directory {nowhere.parent}\n"
        )
    assert [path.name for path in target.parent.iterdir()] == ["kgw.db"], "one file, nothing beside it"
    with serve(tmp_path / "restored") as gateway, consumer(gateway, "readers") as reader:
        reader.assign([TopicPartition("orders", 0, 0)])
        assert [message.value() for message in take(reader, len(before))] == [b"%d" % n for n in range(300)]
        _, high = reader.get_watermark_offsets(TopicPartition("orders", 0), timeout=SECONDS)
        assert produce(gateway, "orders", [b"on"]) == [high]


def test_a_sound_database_has_nothing_wrong(filled: Path) -> None:
    done = kgw("check-store", "--config", filled)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing is wrong\n", "")


def test_a_changed_record_is_found(filled: Path) -> None:
    """SQLite itself does not see this: the pages are whole, a batch in one is not."""
    database = filled.with_name("kgw.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        [(id, data)] = connection.execute(
            "SELECT id, data FROM chunks ORDER BY id LIMIT 1 OFFSET 1"
        ).fetchall()
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        connection.execute("UPDATE chunks SET data = ? WHERE id = ?", (damaged, id))
    connection.close()
    done = kgw("check-store", "--config", filled)
    assert done.returncode == 1
    [line] = done.stdout.splitlines()
    assert line.startswith("one-0: offsets ")
    assert "CRC" in line
    assert done.stderr == "1 problem(s)\n"


def test_a_batch_whose_records_are_corrupt_is_found(filled: Path) -> None:
    """Its CRC is right: versions that did not look at the records took it."""
    database = filled.with_name("kgw.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        [(id, data)] = connection.execute(
            "SELECT id, data FROM chunks WHERE length(data) > 1000 ORDER BY id DESC LIMIT 1"
        ).fetchall()
        batch = RecordBatch(data)
        corrupt = bytearray(data)
        corrupt[HEADER_SIZE + 2] = 0x80  # the attributes of the first record
        corrupt[17:21] = crc32c(bytes(corrupt[21 : batch.size])).to_bytes(4, "big")
        connection.execute("UPDATE chunks SET data = ? WHERE id = ?", (bytes(corrupt), id))
    done = kgw("check-store", "--config", filled)
    assert done.returncode == 1
    assert f"the batch at {batch.base_offset} is corrupt: record 0: its attributes are 0x80" in done.stdout


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    config = tmp_path / "kgw.toml"
    config.write_text(CONFIG.format(path=tmp_path / "kgw.db"))
    done = kgw("check-store", "--config", config)
    assert (done.returncode, done.stdout) == (1, f"{tmp_path / 'kgw.db'} is not there\n")
    (tmp_path / "kgw.db").write_bytes(b"this is a letter, not a database" * 1_000)
    for command in (["check-store", "--config", config], ["backup", "--config", config, tmp_path / "copy"]):
        done = kgw(*command)
        assert done.returncode == 1
        assert "not a database" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "copy").exists()


def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(filled: Path, tmp_path: Path) -> None:
    database = filled.with_name("kgw.db")
    data = bytearray(database.read_bytes())
    size = int.from_bytes(data[16:18], "big")  # of a page; https://sqlite.org/fileformat.html
    data[size + 8 : 3 * size] = b"\xff" * (2 * size - 8)
    database.write_bytes(data)
    done = kgw("backup", "--config", filled, tmp_path / "copy")
    assert done.returncode == 1
    assert f"{database} is damaged" in done.stderr or "the database is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("copy*"))


def test_a_storage_without_backup_says_so(tmp_path: Path) -> None:
    config = tmp_path / "kgw.toml"
    config.write_text('[storage]\nuse = "memory"\n')
    done = kgw("backup", "--config", config, tmp_path / "copy")
    assert done.returncode == 1
    assert "storage memory: it has no backup" in done.stderr
    done = kgw("check-store", "--config", config)
    assert "storage memory: it cannot check itself" in done.stderr
