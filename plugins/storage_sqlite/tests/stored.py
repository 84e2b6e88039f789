"""What is in ``data/v<number>.db``, databases as each released version of the schema wrote them.

``python stored.py FILE`` writes one with the code that is here: done once for each version, never again.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID

import anyio
from kgw_storage_sqlite.config import Config
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.spi.storage import Batch, LogStore, Topic, TopicPartition
from kgw_core.testing.batches import make_batch

ORDERS = Topic("orders", UUID(int=1), 2, {"retention.ms": "5000"})
TABLE = Topic("table", UUID(int=2), 1, {"cleanup.policy": "compact"})
ALL = TopicPartition("orders", ORDERS.id, 0)
TRIMMED = TopicPartition("orders", ORDERS.id, 1)
COMPACTED = TopicPartition("table", TABLE.id, 0)
WRITTEN = 1_600_000_000_000
"""When the first batch of each log was written, and a minute later the next: from version 3 on."""
STATE = {b"groups/o/one": b"12", b"cluster/id": b"the-id", b"empty": b""}


def batches(topic: str) -> list[Batch]:
    """Ten batches of two records, from offset 0 on."""
    return [
        make_batch(base, 2, size=300, tag=topic, write_time=WRITTEN + base * 30_000)
        for base in range(0, 20, 2)
    ]


LEFT = {
    ALL: (0, 20, batches("all")),
    TRIMMED: (7, 20, batches("trimmed")[3:]),
    COMPACTED: (0, 20, [batches("table")[0], *batches("table")[5:]]),
}
"""Of each log: start, end, and the batches that are there."""


async def write(path: Path) -> None:
    store = SqliteStore(Config(path=path))
    await store.open()
    await store.create_topic(ORDERS)
    await store.create_topic(TABLE)
    for tp, tag in ((ALL, "all"), (TRIMMED, "trimmed"), (COMPACTED, "table")):
        for batch in batches(tag):
            await store.append(tp, [batch])
    await store.trim(TRIMMED, 7)
    assert await store.replace(COMPACTED, 2, 9, [])
    state = store.state_store()
    assert state is not None
    await state.open()
    await state.commit(STATE)
    await state.close()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = delete")


async def check(store: LogStore) -> None:
    """The open ``store`` has all of it, and its logs go on."""
    assert sorted(await store.topics(), key=lambda topic: topic.name) == [ORDERS, TABLE]
    for tp, (start, end, left) in LEFT.items():
        bounds = await store.bounds(tp)
        assert (bounds.start, bounds.end) == (start, end)
        assert bounds.size == sum(len(batch.data) for batch in left)
        runs = await store.read(tp, start, 1 << 20)
        assert b"".join(bytes(run.data) for run in runs) == b"".join(bytes(batch.data) for batch in left)
        assert list(await store.append(tp, [make_batch(end, 1)])) == [end]
    state = store.state_store()
    assert state is not None
    await state.open()
    found = {entry.key: entry.value async for entry in state.scan(b"")}
    assert found == STATE
    versions = {entry.version async for entry in state.scan(b"")}
    assert await state.commit({b"more": b"1"}) > max(versions)
    await state.close()


if __name__ == "__main__":
    anyio.run(write, Path(sys.argv[1]))
