"""Reading ahead: while a consumer handles one piece of a log, the store reads the next."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from kgw_core.spi.storage import Run
from kgw_storage_sqlite.log import Log

logger = logging.getLogger(__name__)

Reading = Callable[[Log, int, int], Awaitable[list[Run]]]
Key = tuple[Log, int, int]

PLACES: Final = 256
"""Readers whose position is remembered."""


class Piece(NamedTuple):
    """A read ahead, and the log's state at its begin."""

    version: int
    end: int
    task: asyncio.Task[list[Run] | None]


class ReadAhead:
    """Remembers the ends of reads. A read that begins at one is a scan: the piece behind it is read ahead.

    ``room``: bytes that may be read ahead in all.
    """

    def __init__(self, read: Reading, room: int) -> None:
        self._read = read
        self._room = room
        self._held = 0
        self._places: OrderedDict[tuple[Log, int], None] = OrderedDict()
        self._pieces: OrderedDict[Key, Piece] = OrderedDict()
        self.hits = 0
        """Reads that found their piece read already, or being read."""

    async def read(self, log: Log, offset: int, max_bytes: int) -> list[Run]:
        """The result of the store's read, maybe sooner."""
        if not 0 < max_bytes <= self._room // 2:
            return await self._read(log, offset, max_bytes)
        runs = await self._taken(log, offset, max_bytes)
        scan = runs is not None or (log, offset) in self._places
        if runs is None:
            runs = await self._read(log, offset, max_bytes)
        self._places.pop((log, offset), None)
        if runs and runs[-1].next_offset < log.end:
            following = runs[-1].next_offset
            self._places[log, following] = None
            if len(self._places) > PLACES:
                self._places.popitem(last=False)
            if scan:
                self._begin(log, following, max_bytes)
        return runs

    async def _taken(self, *key: *Key) -> list[Run] | None:
        """The piece read ahead for this read, if a read now would still give the same."""
        piece = self._pieces.pop(key, None)
        if piece is None:
            return None
        log, _, max_bytes = key
        self._held -= max_bytes
        runs = await asyncio.shield(piece.task)
        if not runs or piece.version != log.version:
            return None
        if runs[-1].next_offset >= piece.end and log.end > piece.end:
            return None  # it ended with the log, which has grown
        self.hits += 1
        return runs

    def _begin(self, *key: *Key) -> None:
        if key in self._pieces:
            return
        log, offset, max_bytes = key
        while self._pieces and self._held + max_bytes > self._room:
            (_, _, size), dropped = self._pieces.popitem(last=False)
            self._held -= size
            dropped.task.cancel()
        self._held += max_bytes
        task = asyncio.get_running_loop().create_task(self._quietly(log, offset, max_bytes))
        self._pieces[key] = Piece(log.version, log.end, task)

    async def _quietly(self, log: Log, offset: int, max_bytes: int) -> list[Run] | None:
        try:
            return await self._read(log, offset, max_bytes)
        except Exception as error:  # the read that wants it fails by itself
            logger.debug("reading %s ahead at %d failed: %s", log.tp, offset, error)
            return None

    async def stop(self) -> None:
        """Give up the reads under way."""
        tasks = [piece.task for piece in self._pieces.values()]
        self._pieces.clear()
        self._held = 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
