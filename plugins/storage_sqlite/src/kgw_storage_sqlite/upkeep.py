"""Work beside appends: checkpoints of the write-ahead log, deletion of trimmed records, and the return of
free space. It goes in small steps, so an append waits for one step at most."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio
import sqlalchemy as sa

from kgw_core.errors import KafkaStorageError
from kgw_storage_sqlite import errors
from kgw_storage_sqlite.database import Database, transaction
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.logs import Logs
from kgw_storage_sqlite.schema import chunks, key, logs, sql
from kgw_storage_sqlite.wal import pages
from kgw_storage_sqlite.worker import PAGE_SIZE

if TYPE_CHECKING:
    from kgw_core.background import Background

STEP: Final = 4 << 20
"""Bytes that one step deletes. A step that shortens the file moves a quarter of it."""
ROWS: Final = 200
"""The most logs that one transaction clears or removes."""
FEW: Final = 16
"""A log with as many chunks to delete is cleared in steps of its own."""
SPARE_PAGES: Final = (64 << 20) // PAGE_SIZE
"""Free pages that the file keeps for new records: at most this, and a quarter of the disk's free space. The
file is shortened only if it has twice as many."""
LOOK_SECONDS: Final = 5.0
"""The longest pause in seconds between two checks for room."""
REST: Final = 0.005
"""Seconds between two steps, in which appends run."""

_SIZES = """
    SELECT max(id), total(size), count(*) FROM (
        SELECT id, length(data) AS size FROM chunks
        WHERE id >= :lower AND id < :upper ORDER BY id LIMIT :most)
"""
_DELETE = sql(
    sa.delete(chunks).where(chunks.c.id >= sa.bindparam("lower"), chunks.c.id < sa.bindparam("upper"))
)
_FORGET = sql(sa.delete(logs).where(logs.c.id == sa.bindparam("dead")))


class Upkeep:
    """Runs when there is work. Failed work is retried."""

    def __init__(self, database: Database, known: Logs, background: Background) -> None:
        self._database = database
        self._logs = known
        self._trimmed: dict[Log, None] = {}
        self._background = background
        self._chore = background.chore(f"upkeep of {database.path}", self._work)
        self._looking: anyio.CancelScope | None = None

    def start(self) -> None:
        self._database.wake = self._wake
        self._wake()
        if self._logs.dead:
            self._chore.due()

    async def stop(self) -> None:
        """Stop. The rest of the work is done after the next start."""
        self._database.wake = None
        if self._looking is not None:
            self._looking.cancel()
        await self._chore.stop()

    def _wake(self) -> None:
        room, wal = self._database.room, self._database.wal
        if wal.due or room.news:
            self._chore.due()
        if room.news and self._looking is None:
            self._looking = anyio.CancelScope()
            self._background.start(self._look(self._looking))
        room.news = False

    async def _look(self, scope: anyio.CancelScope) -> None:
        """Check for room until there is some. Operators see this in the log and in the gateway's health."""
        with scope:
            name = f"appending to {self._database.path}"
            look = partial(self._database.write, self._database.room.look_again, size=0)
            await self._background.until_done(name, look, most=LOOK_SECONDS)
        self._looking = None

    def trimmed(self, log: Log) -> None:
        """``log`` was trimmed: delete the chunks before its start."""
        self._trimmed[log] = None
        self._chore.due()

    def deleted(self) -> None:
        """A topic was deleted, or other chunks became free."""
        self._chore.due()

    async def _work(self) -> None:
        try:
            if self._database.wal.due:
                await self._database.checkpoint()
            await self._delete()
        except sqlite3.Error as error:  # the retry checks the outcome
            raise KafkaStorageError(errors.explained(error)) from error

    # -- deleting

    async def _delete(self) -> None:
        some = False
        while self._trimmed:
            trimmed = list(islice(self._trimmed, ROWS))
            clear = partial(_clear_trimmed, trimmed=trimmed)
            cleared, deleted = await self._database.write(clear, size=STEP // 8, frees=True)
            for log in trimmed[:cleared]:
                del self._trimmed[log]
            if not cleared:  # there is much to delete
                while await self._step(partial(_delete_before, log=trimmed[0])):
                    pass
            if deleted or not cleared:
                some = True
                await self._rest()
        while self._logs.hidden or self._logs.failed:
            await self._database.write(lambda connection: self._logs.bury(ROWS), size=0, frees=True)
        while self._logs.dead:
            some = True
            dead = list(islice(self._logs.dead, ROWS))
            remove = partial(_remove, dead=dead)
            removed = await self._database.write(remove, size=pages(0, len(dead)), frees=True)
            for id in dead[:removed]:
                del self._logs.dead[id]
            if not removed:  # a large one
                lower, upper = key(dead[0], 0), key(dead[0] + 1, 0)
                while await self._step(partial(_delete_some, lower=lower, upper=upper)):
                    pass
            await self._rest()
            if self._database.wal.due:
                await self._database.checkpoint()
        if some or self._database.room.refusing is not None:
            spare = min(SPARE_PAGES, self._database.room.free() // PAGE_SIZE // 4)
            give_back = partial(_give_back, most=spare)
            while await self._database.write(give_back, size=STEP // 2, frees=True):
                await self._rest()
            await self._database.checkpoint(whole=True)  # a checkpoint shortens the file

    async def _step(self, delete: Callable[[sqlite3.Connection], bool]) -> bool:
        """Delete a few chunks. Return whether there are more."""
        there = await self._database.write(delete, size=STEP // 8, frees=True)
        if there:
            await self._rest()
        if self._database.wal.due:
            await self._database.checkpoint()
        return there

    async def _rest(self) -> None:
        await asyncio.sleep(REST)


def _delete_before(connection: sqlite3.Connection, *, log: Log) -> bool:
    """Delete some chunks before the start of ``log``. Only the writing thread knows the start for certain:
    while a trim or a replacement is not committed, ``log.first`` may be ahead of the database."""
    return not log.gone and _delete_some(connection, lower=log.lower, upper=log.first)


def _delete_some(connection: sqlite3.Connection, *, lower: int, upper: int) -> bool:
    most, size = 1, 0
    while True:
        last, size, count = connection.execute(
            _SIZES, {"lower": lower, "upper": upper, "most": most}
        ).fetchone()
        if count < most or size * 2 >= STEP or most >= 4_096:
            break
        most = min(4_096, max(most * 2, int(STEP * count / max(size, 1))))
    if last is None:
        return False
    connection.execute(_DELETE, {"lower": lower, "upper": last + 1})
    return True


def _clear_trimmed(connection: sqlite3.Connection, *, trimmed: Sequence[Log]) -> tuple[int, bool]:
    """What lies before the start of each log, as :func:`_clear` does."""
    spans = [(log.lower, log.lower if log.gone else log.first) for log in trimmed]
    return transaction(connection, lambda connection: _clear(connection, spans))


def _remove(connection: sqlite3.Connection, *, dead: Sequence[int]) -> int:
    """Remove the first of the logs with these ids, as :func:`_clear` does; return how many."""

    def work(connection: sqlite3.Connection) -> int:
        cleared, _ = _clear(connection, [(key(id, 0), key(id + 1, 0)) for id in dead])
        connection.executemany(_FORGET, [{"dead": id} for id in dead[:cleared]])
        return cleared

    return transaction(connection, work)


def _clear(connection: sqlite3.Connection, spans: Sequence[tuple[int, int]]) -> tuple[int, bool]:
    """Delete the chunks in the first of these spans of ids, up to one that has too many for this step; return
    how many spans, and whether any chunk was there."""
    room, some = STEP, False
    for number, (lower, upper) in enumerate(spans):
        _, size, count = connection.execute(_SIZES, {"lower": lower, "upper": upper, "most": FEW}).fetchone()
        room -= size
        if count == FEW or room < 0:
            return number, some
        if count:
            some = True
            connection.execute(_DELETE, {"lower": lower, "upper": upper})
    return len(spans), some


def _give_back(connection: sqlite3.Connection, *, most: int) -> bool:
    """Shorten the file by one step. Return whether there is more to free. ``most``: free pages to keep."""
    [free] = connection.execute("PRAGMA freelist_count").fetchone()
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    spare = min(most, pages // 4)
    if free <= 2 * spare:
        return False
    # executescript runs it to its end; execute would free one page for each fetched row
    connection.executescript(f"PRAGMA incremental_vacuum({min(free - spare, STEP // 4 // PAGE_SIZE)})")
    return True
