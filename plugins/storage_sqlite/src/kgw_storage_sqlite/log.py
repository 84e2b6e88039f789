"""One log as the writing thread knows it. Everything here that takes a connection runs there."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import sqlalchemy as sa

from kgw_core.errors import OffsetOutOfRange
from kgw_core.spi.storage import Batch, Bounds, TopicPartition
from kgw_storage_sqlite.inserting import insert
from kgw_storage_sqlite.packing import find, pack, placed
from kgw_storage_sqlite.schema import MAX_OFFSET, chunks, first, key, logs, sql

_ids = sa.and_(chunks.c.id >= sa.bindparam("lower"), chunks.c.id < sa.bindparam("upper"))
Beginning: TypeAlias = tuple[int, int, int, int, int, int, int]

_AT_OR_BEFORE = sql(
    first(
        sa.select(chunks.c.id, chunks.c.last)
        .where(_ids, chunks.c.id <= sa.bindparam("id"))
        .order_by(chunks.c.id.desc())
    )
)
_LAST = sql(
    first(sa.select(chunks.c.last, chunks.c.peak, chunks.c.total).where(_ids).order_by(chunks.c.id.desc()))
)
_FROM = sql(
    first(
        sa.select(chunks.c.id, chunks.c.total, sa.func.length(chunks.c.data))
        .where(_ids)
        .order_by(chunks.c.id)
    )
)
_DATA = sql(sa.select(chunks.c.data).where(chunks.c.id == sa.bindparam("id")))
_length_of_all = sa.func.sum(sa.func.length(chunks.c.data))
_SIZE = sql(sa.select(sa.func.coalesce(_length_of_all, sa.literal_column("0"))).where(_ids))
_WHOLE = sql(sa.select(chunks).where(_ids).order_by(chunks.c.id))
_DELETE = sql(sa.delete(chunks).where(_ids))
_RAISE = sql(
    sa.update(chunks).where(_ids, chunks.c.peak < sa.bindparam("least")).values(peak=sa.bindparam("least"))
)
TRIMMED = sql(
    sa.update(logs)
    .where(logs.c.id == sa.bindparam("log_id"))
    .values(start=sa.bindparam("new_start"), end=sa.bindparam("new_end"), holes=sa.bindparam("new_holes"))
)


class Log:
    """One partition. ``known``: its last chunk has been looked at, so all the rest is true.

    ``first`` is the id of the first chunk that counts, ``head`` how many bytes of it do not. ``version``
    changes with everything but appends, and is odd meanwhile, so that a read in several steps can tell
    whether they fit together. Records below ``unchecked`` are older than the upgrade at ``upgraded`` (ms).
    """

    __slots__ = (
        "before", "end", "first", "gone", "head", "holes", "id", "known", "lower", "peak", "start", "total",
        "tp", "unchecked", "upgraded", "upper", "version",
    )  # fmt: skip

    def __init__(
        self,
        tp: TopicPartition,
        id: int,
        start: int = 0,
        end: int = 0,
        holes: int = 0,
        unchecked: int = 0,
        upgraded: int = 0,
    ) -> None:
        self.tp = tp
        self.id = id
        self.unchecked = unchecked
        self.upgraded = upgraded
        self.lower = key(id, 0)
        self.upper = key(id + 1, 0)
        self.start = start
        self.end = end
        self.holes = holes
        self.known = False
        self.gone = False
        self.version = 0
        self._empty()

    def _empty(self) -> None:
        self.first = key(self.id, self.end)  # so that what is appended next does not lie below it
        self.head = 0
        self.peak = -1
        self.before = 0  # total before the first chunk
        self.total = 0  # total of the last one

    @property
    def size(self) -> int:
        return self.total - self.before - self.holes - self.head

    def bounds(self, epoch: int) -> Bounds:
        return Bounds(self.start, self.end, epoch, self.size, self.unchecked)

    def ids(self, id: int = 0) -> dict[str, int]:
        """Parameters of statements about this log's rows."""
        return {"lower": self.lower, "upper": self.upper, "id": id}

    def look(self, connection: sqlite3.Connection) -> None:
        """Make known. Costs the same however long the log is."""
        row = connection.execute(_LAST, self.ids()).fetchone()
        if row is None:
            self._empty()
            self.holes = 0
        else:
            last, self.peak, self.total = row
            self.end = max(self.end, last + 1)
            self._look_at_first(connection)
        self.known = True

    def _look_at_first(self, connection: sqlite3.Connection) -> None:
        """Find the first chunk that holds anything from the start on."""
        row = connection.execute(_AT_OR_BEFORE, self.ids(key(self.id, self.start))).fetchone()
        lower = self.lower
        if row is not None:
            lower = row[0] if row[1] >= self.start else row[0] + 1
        row = connection.execute(_FROM, {"lower": lower, "upper": self.upper}).fetchone()
        if row is None:
            self._empty()
            self.holes = 0
            return
        self.first, total, length = row
        self.before = total - length
        self.head = 0
        if self.first & MAX_OFFSET < self.start:
            [data] = connection.execute(_DATA, {"id": self.first}).fetchone()
            found = find(data, self.start)
            self.head = found.at if found else 0

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.version += 1
        try:
            yield
        finally:  # after a failure, too: whoever read meanwhile may have seen what is not so
            self.version += 1

    def trim(self, connection: sqlite3.Connection, before: int) -> None:
        """Move the start; records below it are no longer read, and are deleted later.

        :raises OffsetOutOfRange: above the end.
        """
        if before > self.end:
            raise OffsetOutOfRange(f"cannot trim {self.tp} to {before}: it ends at {self.end}")
        if before > self.start:
            with self._changing():
                self._trim(connection, before)

    @property
    def beginning(self) -> Beginning:
        """The values that a trim changes; :meth:`put_back` restores them."""
        return self.start, self.first, self.head, self.peak, self.before, self.total, self.holes

    def put_back(self, old: Beginning) -> None:
        """The transaction of a trim has failed."""
        with self._changing():
            self.start, self.first, self.head, self.peak, self.before, self.total, self.holes = old

    def _trim(self, connection: sqlite3.Connection, before: int) -> None:
        old = self.beginning
        size = self.size + self.head
        try:
            if self.holes:  # what the dropped ones took has to be counted, as total does not tell
                first = self.first
                self.start = before
                self._look_at_first(connection)
                [dropped] = connection.execute(_SIZE, {"lower": first, "upper": self.first}).fetchone()
                self.holes = self.total - self.before - (size - dropped)
            else:
                self.start = before
                self._look_at_first(connection)
            self._save(connection)
        except BaseException:
            self.start, self.first, self.head, self.peak, self.before, self.total, self.holes = old
            raise

    def _save(self, connection: sqlite3.Connection) -> None:
        row = {"log_id": self.id, "new_start": self.start, "new_end": self.end, "new_holes": self.holes}
        connection.execute(TRIMMED, row)

    def replace(
        self, connection: sqlite3.Connection, first: int, last: int, batches: Sequence[Batch]
    ) -> None:
        """Put ``batches`` in place of those in ``first..last``; other batches in their chunks stay."""
        with self._changing():
            self._replace(connection, first, last, batches)

    def _replace(
        self, connection: sqlite3.Connection, first: int, last: int, batches: Sequence[Batch]
    ) -> None:
        row = connection.execute(_AT_OR_BEFORE, self.ids(key(self.id, first))).fetchone()
        lower = row[0] if row is not None and row[1] >= first else key(self.id, first)
        ids = {"lower": max(lower, self.first), "upper": key(self.id, last + 1)}
        old = connection.execute(_WHOLE, ids).fetchall()
        if not old:
            return
        kept = [Batch(b.base, b.last - b.base + 1, b.time, memoryview(row[5])[b.at : b.at + b.size],
                      write_time=row[6])
                for row in (old[:1] if len(old) == 1 else (old[0], old[-1])) for b in placed(row[5])
                if b.last < first or b.base > last]  # fmt: skip
        new = pack(
            [b for b in kept if b[0] < first]
            + [b._replace(write_time=_written(old, b[0])) for b in batches if b[0] + b[1] > self.start]
            + [b for b in kept if b[0] > last]
        )
        size = self.size + self.head - sum(len(row[5]) for row in old) + sum(len(chunk.data) for chunk in new)
        start, end, previous = (
            self.start,
            self.end,
            (self.first, self.head, self.before, self.total, self.holes),
        )
        peak = self._peak_before(connection, old[0][0])
        total = old[-1][4] - sum(len(chunk.data) for chunk in new)
        rows: list[object] = []
        for chunk in new:
            peak = max(peak, chunk.time)
            total += len(chunk.data)
            rows += (chunk.data, key(self.id, chunk.base), chunk.last, chunk.time, peak, total, chunk.written)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_DELETE, ids)
            insert(connection, rows)
            if peak > old[-1][3]:  # what compaction puts in is never dated later; others may
                span = {"lower": ids["upper"], "upper": self.upper, "least": peak}
                connection.execute(_RAISE, span)
                self.peak = max(self.peak, peak)
            self._look_at_first(connection)
            self.holes = self.total - self.before - size
            self._save(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.start, self.end = start, end
            self.first, self.head, self.before, self.total, self.holes = previous
            self.known = False
            raise

    def _peak_before(self, connection: sqlite3.Connection, id: int) -> int:
        row = connection.execute(_LAST, {"lower": self.lower, "upper": id}).fetchone()
        return row[1] if row is not None and id > self.first else -1


def _written(rows: Sequence[tuple[Any, ...]], offset: int) -> int:
    """Write time of the batch at ``offset``, which lies in one of these ``rows`` of chunks."""
    index = bisect_right(rows, offset, key=lambda row: row[0] & MAX_OFFSET)
    written: int = rows[max(index - 1, 0)][6]
    return written
