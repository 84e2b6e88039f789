"""Starts that fail: one line that says why, and everything is as it was before."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import ENV, serve
from kgw_storage_sqlite import database
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.lock import FileLock, InUse
from kgw_storage_sqlite.store import SqliteStore
from msgspec.structs import replace

from kgw_core import gateway
from kgw_core.config import Listener
from kgw_core.errors import KafkaStorageError
from kgw_core.groups.service import GroupService
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateStore, Versions
from kgw_core.testing.gateway import free_config
from kgw_core.topics.catalog import Catalog

KGW = [sys.executable, "-c", "from kgw_core.cli import main; main(prog_name='kgw')"]


def start(tmp_path: Path, path: str, **options: int) -> str:
    """The message of a start that fails."""
    config = tmp_path / "kgw.toml"
    config.write_text(f'[[listeners]]\nport = 0\n[storage]\nuse = "sqlite"\npath = "{path}"\n')
    before = contents(tmp_path)
    done = subprocess.run(
        [*KGW, "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENV,
        **options,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert contents(tmp_path) == before
    [line] = done.stderr.splitlines()
    return line.replace(f"{tmp_path}/", "").removeprefix("Error: ")


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in directory.rglob("*")}


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE letters (text)")


@pytest.mark.parametrize(
    ("make", "path", "told"),
    [
        (Path.mkdir, "there", "[storage] path: there is a directory; expected a file, such as there/kgw.db"),
        (
            Path.touch,
            "there/kgw.db",
            "[storage] path: there/kgw.db cannot be there: there is not a directory",
        ),
        (
            Path.touch,
            ":memory:",
            '[storage] path: ":memory:" is no file; use = "memory" keeps everything in memory',
        ),
        (
            Path.touch,
            "~no-such-user/a",
            '[storage] path: "~no-such-user/a" is in the home of an unknown user',
        ),
        (
            lambda path: path.write_text("a letter " * 1000),
            "there",
            "storage sqlite: there: the file is not a database, or damaged: file is not a database",
        ),
        (another_programs, "there", "storage sqlite: there: the file is a database of another program"),
        (Path.touch, "a/" + "x" * 300, f"storage sqlite: a/{'x' * 300} cannot be opened: File name too long"),
    ],
)
def test_a_path_that_cannot_be_is_told(
    tmp_path: Path, make: Callable[[Path], object], path: str, told: str
) -> None:
    make(tmp_path / "there")
    assert start(tmp_path, path) == (f"kgw.toml: {told}" if told[0] == "[" else told)


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """Nobody can write into the test's directory meanwhile, not even root."""
    if os.name != "posix":
        pytest.skip("there are other permissions here")
    if os.geteuid():
        tmp_path.chmod(0o555)
        yield
        tmp_path.chmod(0o755)
        return
    modes = {place: place.stat().st_mode for place in (tmp_path, *tmp_path.parents)}
    for place, mode in modes.items():
        if not mode & 0o001:
            place.chmod(mode | 0o001)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for place, mode in modes.items():
            place.chmod(mode)


@pytest.mark.anyio
@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("path", ["kgw.db", "deep/down/kgw.db"])
async def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(database.Unusable) as caught:
        await database.Database(Config(path=tmp_path / path)).open(lambda _: None)
    assert str(caught.value) == (
        f"{tmp_path / path} cannot be opened: Permission denied; who runs the gateway has to be able to "
        "write it, and into its directory"
    )


def test_a_database_in_use_is_left_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "first" / "kgw.db", tmp_path / "second"
    other.mkdir()
    with serve(path.parent) as gateway:
        told = start(other, str(path))
        process = f"process {gateway.process.pid} on "
        assert told.startswith(f"storage sqlite: {path} is in use by another gateway ({process}")
        assert (path.parent / "kgw.db.lock").read_text().startswith(process)


@pytest.mark.anyio
async def test_what_was_made_goes_again_where_opening_fails(tmp_path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (0,)
        raise sqlite3.OperationalError("no luck")

    path = tmp_path / "deep" / "down" / "kgw.db"
    with pytest.raises(database.Unusable, match="no luck"):
        await database.Database(Config(path=path)).open(fail)
    assert contents(tmp_path) == {}
    start_from(path.parent)
    with pytest.raises(database.Unusable, match="no luck"):
        await database.Database(Config(path=path)).open(fail)
    assert sorted(left.name for left in contents(path.parent)) == ["kgw.db", "kgw.db.lock"]


def start_from(directory: Path) -> None:
    """The file is as another start left it."""
    directory.mkdir(parents=True)
    (directory / "kgw.db").touch()
    (directory / "kgw.db.lock").touch()


# -- starts that fail after the database was opened


class Failing(StateStore):
    """A state that cannot be opened."""

    name = "failing"

    async def open(self, context: object = None) -> None:
        raise OSError("no luck")

    async def get(self, key: bytes) -> Entry | None:
        raise NotImplementedError

    def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        raise NotImplementedError

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        raise NotImplementedError


def failing_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteStore, "state_store", lambda _: Failing())


def failing_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> None:
        raise KafkaStorageError("no luck")

    monkeypatch.setattr(Catalog, "load", fail)


def failing_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the midst of it, that nobody has thought of."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(GroupService, "__init__", fail)


def failing_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(98, "no luck")

    monkeypatch.setattr(gateway, "take_connections", fail)


def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupt(_: object) -> None:
        raise KeyboardInterrupt("no luck")

    monkeypatch.setattr(Catalog, "load", interrupt)


FAILURES = [failing_state, failing_topics, failing_groups, failing_listener, interrupted]


async def failed_start(path: Path) -> None:
    config = replace(free_config("t:3"), listeners=(Listener(port=0),))
    store = SqliteStore(Config(path=path))
    with pytest.raises(BaseException) as caught:
        async with gateway.running(config, store=store):
            raise AssertionError("it started")
    leaves = [caught.value]
    while isinstance(leaves[-1], BaseExceptionGroup):
        leaves.append(leaves[-1].exceptions[0])
    assert "no luck" in str(leaves[-1])


@pytest.mark.anyio
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_start_that_fails_later_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[pytest.MonkeyPatch], None]
) -> None:
    failure(monkeypatch)
    await failed_start(tmp_path / "deep" / "down" / "kgw.db")
    assert contents(tmp_path) == {}


@pytest.mark.anyio
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_start_that_fails_leaves_a_database_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[pytest.MonkeyPatch], None]
) -> None:
    path = tmp_path / "kgw.db"
    async with gateway.running(free_config("kept:2"), store=SqliteStore(Config(path=path))):
        pass
    with monkeypatch.context() as patched:
        failure(patched)
        await failed_start(path)
    async with gateway.running(free_config(), store=SqliteStore(Config(path=path))) as running:
        assert "kept" in running.broker.catalog.by_name


@pytest.mark.anyio
async def test_a_database_that_another_program_uses_by_now_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a shell that looks what is in it."""
    path = tmp_path / "kgw.db"
    others: list[sqlite3.Connection] = []

    async def look(_: object) -> None:
        others.append(sqlite3.connect(path))
        others[0].execute("BEGIN")
        others[0].execute("SELECT count(*) FROM topics").fetchone()
        raise KafkaStorageError("no luck")

    monkeypatch.setattr(Catalog, "load", look)
    await failed_start(path)
    assert path.exists()
    assert "stays though the start failed, as others use it" in caplog.text
    with closing(others[0]) as other:
        assert other.execute("SELECT count(*) FROM topics").fetchone() == (0,)


@pytest.mark.anyio
async def test_once_it_serves_nothing_is_taken_away(tmp_path: Path) -> None:
    """Whatever ends it: a client may have been told that something is stored."""
    path = tmp_path / "kgw.db"
    with pytest.raises(ExceptionGroup):
        async with gateway.running(free_config("t:1"), store=SqliteStore(Config(path=path))):
            raise ZeroDivisionError
    assert path.exists()


def test_a_lock_that_was_removed_meanwhile_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is opened, then who has it removes it: what counts is the file that is there."""
    from kgw_storage_sqlite import lock

    first, second, third = (FileLock(tmp_path / "kgw.db") for _ in range(3))
    first.acquire()
    locked = lock._lock

    def once(file: object) -> None:
        monkeypatch.setattr(lock, "_lock", locked)
        first.release(remove=True)
        locked(file)  # type: ignore[arg-type]

    monkeypatch.setattr(lock, "_lock", once)
    second.acquire()
    with pytest.raises(InUse):
        third.acquire()
    second.release()
