"""SQLite keeps no records in memory but in its page cache."""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.spi.storage import Topic, TopicPartition
from kgw_core.testing.batches import make_batch

MiB = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def memory_used() -> Callable[[], int]:
    """``sqlite3_memory_used``: bytes that SQLite has in this process."""
    try:
        function = ctypes.CDLL(_sqlite3.__file__).sqlite3_memory_used
    except (AttributeError, OSError) as error:
        pytest.skip(f"SQLite's own count of its memory cannot be reached in this Python: {error}")
    function.restype = ctypes.c_int64
    return lambda: int(function())


@pytest.mark.anyio
async def test_statements_do_not_keep_what_they_inserted(
    tmp_path: Path, memory_used: Callable[[], int]
) -> None:
    """The driver keeps a statement for each number of rows."""
    store = SqliteStore(Config(path=tmp_path / "kgw.db", synchronous="normal", cache=2 * MiB))
    await store.open()
    try:
        topic = Topic("t", UUID(int=1), 1)
        await store.create_topic(topic)
        tp = TopicPartition("t", topic.id, 0)
        for end in range(16):  # the page cache has no more room after these
            await store.append(tp, [make_batch(end, 1, size=MiB)])
        before = memory_used()
        assert before > 2 * MiB, "that is no count"
        end = 16
        for rows in range(1, 17):
            await store.append(tp, [make_batch(end + row, 1, size=128 << 10) for row in range(rows)])
            end += rows
        assert memory_used() - before < 4 * MiB, "17 MiB went through 16 statements"
    finally:
        await store.close()


@pytest.mark.anyio
async def test_the_cache_of_a_new_database_is_as_large_as_it_is_set(
    tmp_path: Path, memory_used: Callable[[], int]
) -> None:
    """Its pages are larger than those of an empty file, in which SQLite counts until it knows better."""
    at_rest = memory_used()
    store = SqliteStore(Config(path=tmp_path / "kgw.db", synchronous="normal", cache=2 * MiB))
    await store.open()
    try:
        topic = Topic("t", UUID(int=1), 1)
        await store.create_topic(topic)
        tp = TopicPartition("t", topic.id, 0)
        for end in range(24):
            await store.append(tp, [make_batch(end, 1, size=MiB)])
        assert MiB < memory_used() - at_rest < 6 * MiB
    finally:
        await store.close()
