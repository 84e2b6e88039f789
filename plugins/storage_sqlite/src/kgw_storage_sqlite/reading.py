"""Reads, on a reader's thread. Each statement costs the interpreter lock twice, so there are few of them:
a read takes at most three, however many chunks it covers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from kgw_core.errors import KafkaStorageError, OffsetOutOfRange, UnknownTopicOrPartition
from kgw_core.spi.storage import Run
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.packing import PACK, find, placed
from kgw_storage_sqlite.schema import MAX_OFFSET, chunks, first, key, sql

JOIN: Final = 16 << 10
"""Chunks that are smaller on average are put together by SQLite, and larger ones fetched one by one."""
MOST: Final = 8_192
"""Chunks that one read looks at, at most."""

_whole = sa.select(chunks.c.id, chunks.c.last, chunks.c.data)
_CONTAINING = sql(
    first(
        _whole.where(chunks.c.id <= sa.bindparam("id"), chunks.c.id >= sa.bindparam("lower")).order_by(
            chunks.c.id.desc()
        )
    )
)
_FOLLOWING = sql(
    first(
        _whole.where(chunks.c.id > sa.bindparam("id"), chunks.c.id < sa.bindparam("upper")).order_by(
            chunks.c.id
        )
    )
)
_BETWEEN = sql(
    _whole.where(chunks.c.id > sa.bindparam("after"), chunks.c.id <= sa.bindparam("to")).order_by(chunks.c.id)
)
_SIZES = """
    SELECT json_group_array(id), json_group_array(last), json_group_array(size) FROM (
        SELECT id, last, length(data) AS size FROM chunks
        WHERE id > :id AND id < :upper ORDER BY id LIMIT :most)
"""
# group_concat takes blobs for text, and gives their bytes back as they were
_JOINED = """
    SELECT CAST(group_concat(data, '') AS BLOB) FROM (
        SELECT data FROM chunks WHERE id > :after AND id <= :to ORDER BY id)
"""
_times = first(sa.select(chunks.c.id, chunks.c.time, chunks.c.peak).order_by(chunks.c.id))
_NEXT_TIMES = sql(_times.where(chunks.c.id >= sa.bindparam("id"), chunks.c.id < sa.bindparam("upper")))
_TIME_FROM = sql(
    _times.where(
        chunks.c.id >= sa.bindparam("id"),
        chunks.c.id < sa.bindparam("upper"),
        chunks.c.time >= sa.bindparam("time"),
    )
)
_WRITTEN = sql(
    first(
        sa.select(chunks.c.last, chunks.c.written)
        .where(chunks.c.id <= sa.bindparam("id"), chunks.c.id >= sa.bindparam("lower"))
        .order_by(chunks.c.id.desc())
    )
)
_WRITTEN_NEXT = sql(
    first(
        sa.select(chunks.c.last, chunks.c.written)
        .where(chunks.c.id > sa.bindparam("id"), chunks.c.id < sa.bindparam("upper"))
        .order_by(chunks.c.id)
    )
)
_MAX_TIME = sql(
    sa.select(sa.func.max(chunks.c.time)).where(
        chunks.c.id >= sa.bindparam("id"), chunks.c.id < sa.bindparam("upper")
    )
)
_LAST_OF = sql(
    first(
        sa.select(chunks.c.id, chunks.c.last)
        .where(chunks.c.id <= sa.bindparam("id"), chunks.c.id >= sa.bindparam("lower"))
        .order_by(chunks.c.id.desc())
    )
)
_PEAK = sql(
    first(
        sa.select(chunks.c.peak)
        .where(chunks.c.id >= sa.bindparam("id"), chunks.c.id < sa.bindparam("upper"))
        .order_by(chunks.c.id.desc())
    )
)
_DATA = sql(sa.select(chunks.c.data).where(chunks.c.id == sa.bindparam("id")))


def read(connection: sqlite3.Connection, log: Log, offset: int, max_bytes: int) -> list[Run]:
    """``LogStore.read`` for a known log."""
    version, end = log.version, log.end
    _check(log, offset, end)
    if offset == end:
        return []
    runs: list[Run] | None = None
    if not version & 1:
        try:
            runs = _read(connection, log, offset, end, max_bytes)
        except Exception:
            if log.version == version:
                raise
    if runs is None or log.version != version:  # its statements may not have seen the same
        _check(log, offset, end)
        with _snapshot(connection):
            runs = _read(connection, log, offset, end, max_bytes)
    _check(log, offset, end)  # a trim may have taken it away in between
    return runs


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements inside see one snapshot, that of the first."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


def _check(log: Log, offset: int, end: int) -> None:
    if log.gone:
        raise UnknownTopicOrPartition(f"{log.tp} was deleted")
    if not log.start <= offset <= end:
        raise OffsetOutOfRange(f"offset {offset} of {log.tp} is outside {log.start}..{end}")


def _read(connection: sqlite3.Connection, log: Log, offset: int, end: int, room: int) -> list[Run]:
    upper = key(log.id, end)
    row = connection.execute(_CONTAINING, {"id": key(log.id, offset), "lower": log.lower}).fetchone()
    if row is None or row[1] < offset:
        row = connection.execute(_FOLLOWING, {"id": key(log.id, offset), "upper": upper}).fetchone()
        if row is None:
            return []
    id, last, data = row
    batch = find(data, offset)
    if batch is None:
        raise KafkaStorageError(f"{log.tp}: the chunk at {id & MAX_OFFSET} is damaged")
    at, stop, next_offset = batch.at, len(data), last + 1
    if stop - at > room:
        stop, next_offset = _cut(data, at, room)
    view = memoryview(data)[at:stop]
    runs = [Run(batch.base, next_offset, view if len(view) < len(data) else data)]
    room -= len(view)
    if room > 0 and stop == len(data) and next_offset < end:
        runs += _read_on(connection, log, id, upper, room, len(data))
    return runs


def _read_on(
    connection: sqlite3.Connection, log: Log, id: int, upper: int, room: int, expected: int
) -> list[Run]:
    """The chunks behind ``id``, as far as there is room. ``expected``: bytes that one may have."""
    most = min(MOST, room // expected + 2)
    ids: list[int] = []
    lasts: list[int] = []
    sizes: list[int] = []
    while True:
        found = connection.execute(
            _SIZES, {"id": ids[-1] if ids else id, "upper": upper, "most": most}
        ).fetchone()
        more = json.loads(found[0])
        if more:
            ids += more
            lasts += json.loads(found[1])
            sizes += json.loads(found[2])
        total = sum(sizes)
        if len(more) < most or total >= room or len(ids) >= MOST:
            break
        most = min(MOST - len(ids), (room - total) * len(sizes) // total + 2)
    count = size = 0
    while count < len(sizes) and size + sizes[count] <= room:
        size += sizes[count]
        count += 1
    if count < len(sizes) and size < room and sizes[count] <= PACK:
        size += sizes[count]  # it may hold several batches, some of which fit
        count += 1
    if not count:
        return []
    span = {"after": id, "to": ids[count - 1]}
    if size >= count * JOIN:
        runs = [
            Run(row & MAX_OFFSET, last + 1, data) for row, last, data in connection.execute(_BETWEEN, span)
        ]
    else:
        [joined] = connection.execute(_JOINED, span).fetchone()
        runs = [Run(ids[0] & MAX_OFFSET, lasts[count - 1] + 1, joined or b"")]
    if size > room:
        _shorten(runs, size - room, sizes[count - 1])
    return runs


def _shorten(runs: list[Run], excess: int, last_size: int) -> None:
    """Take ``excess`` bytes or more off the end: batches of the last chunk, which has ``last_size`` bytes."""
    base, _, data = runs.pop()
    first = len(data) - last_size
    chunk = memoryview(data)[first:]
    stop, next_offset = 0, -1
    for batch in placed(chunk):
        if batch.at + batch.size > last_size - excess:
            break
        stop, next_offset = batch.at + batch.size, batch.last + 1
    if not stop and first:
        next_offset = next(placed(chunk)).base
    if first + stop:
        runs.append(Run(base, next_offset, memoryview(data)[: first + stop]))


def _cut(data: bytes, at: int, room: int) -> tuple[int, int]:
    """Where the batches from ``at`` on stop that have room, and the offset after them; one at least."""
    stop, next_offset = 0, -1
    for batch in placed(memoryview(data)[at:]):
        if stop and batch.at + batch.size > room:
            break
        stop, next_offset = batch.at + batch.size, batch.last + 1
    return at + stop, next_offset


# -- by time


def find_time(connection: sqlite3.Connection, log: Log, timestamp: int) -> int | None:
    """Base offset of the first batch that is dated ``timestamp`` or later.

    ``peak`` never falls along a log, so the first chunk where it is high enough is found by halving. That is
    the one, unless what made the peak was trimmed or replaced: then the way on is searched row by row. All of
    it is looked up in one snapshot, as a replacement gives what stays other chunks.
    """
    start, high = log.start, key(log.id, log.end)
    with _snapshot(connection):
        return _find_time(connection, log, start, high, timestamp)


def _find_time(connection: sqlite3.Connection, log: Log, start: int, high: int, timestamp: int) -> int | None:
    low = _first(connection, log, start)
    found: tuple[int, int, int] | None = None
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_NEXT_TIMES, {"id": middle, "upper": high}).fetchone()
        if row is None:
            high = middle
        elif row[2] >= timestamp:
            found, high = row, middle
        else:
            low = row[0] + 1
    if found is None:
        return None
    if found[1] < timestamp:
        span = {"id": found[0], "upper": log.upper, "time": timestamp}
        found = connection.execute(_TIME_FROM, span).fetchone()
        if found is None:
            return None
    return _batch_at(connection, log, start, found[0], timestamp)


def _first(connection: sqlite3.Connection, log: Log, start: int) -> int:
    """Where the chunks begin that hold anything from ``start`` on. ``log.first`` may be ahead of or behind
    the snapshot."""
    id = key(log.id, start)
    row = connection.execute(_LAST_OF, {"id": id, "lower": log.lower}).fetchone()
    return row[0] if row is not None and row[1] >= start else id


def _batch_at(connection: sqlite3.Connection, log: Log, start: int, id: int, timestamp: int) -> int | None:
    row = connection.execute(_DATA, {"id": id}).fetchone()
    if row is not None:
        for batch in placed(row[0]):
            if batch.time >= timestamp and batch.last >= start:
                return batch.base
    following = connection.execute(
        _TIME_FROM, {"id": id + 1, "upper": log.upper, "time": timestamp}
    ).fetchone()
    return None if following is None else _batch_at(connection, log, start, following[0], timestamp)


def find_max_time(
    connection: sqlite3.Connection, log: Log, start: int | None = None, end: int | None = None
) -> int | None:
    """Base offset of the first batch that has the largest max timestamp of those that hold offsets from
    ``start`` on and begin below ``end`` (None: all)."""
    from_start = start is None or start <= log.start
    start = log.start if start is None else max(start, log.start)
    end = log.end if end is None else min(end, log.end)
    high = key(log.id, max(start, end))
    with _snapshot(connection):
        first = _first(connection, log, start)
        row = connection.execute(_PEAK, {"id": first, "upper": high}).fetchone()
        if row is None:
            return None
        if from_start:
            found = _find_time(connection, log, start, high, row[0])
            if found is not None and found < end:
                return found
        # what had the largest was trimmed or replaced, or does not count
        [last, _] = connection.execute(_LAST_OF, {"id": high - 1, "lower": first}).fetchone()
        times = []
        for id in {first, last}:
            row = connection.execute(_DATA, {"id": id}).fetchone()
            if row is not None:
                times += [b.time for b in placed(row[0]) if b.last >= start and b.base < end]
        [largest] = connection.execute(_MAX_TIME, {"id": first + 1, "upper": last}).fetchone()
        if largest is not None:
            times.append(largest)
        return _find_time(connection, log, start, high, max(times)) if times else None


def write_time(connection: sqlite3.Connection, log: Log, offset: int) -> int:
    """When the chunk of the batch that holds ``offset``, or of the next one, was written; -1: not known."""
    offset = max(offset, log.start)
    id = key(log.id, offset)
    with _snapshot(connection):
        row = connection.execute(_WRITTEN, {"id": id, "lower": log.lower}).fetchone()
        if row is None or row[0] < offset:
            upper = key(log.id, log.end)
            row = connection.execute(_WRITTEN_NEXT, {"id": id, "upper": upper}).fetchone()
    if row is None:
        return -1
    written: int = row[1]
    return written if written >= 0 else log.upgraded or -1
