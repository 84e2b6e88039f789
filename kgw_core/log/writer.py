"""The writers: tasks that carry what waits in the logs' queues into a store that has to wait.

Each takes the logs that have something queued and nothing in flight, and hands them to one
``append_many``; so one commit serves many partitions and connections, and the slower the store is,
the more goes into one, up to a size.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from kgw_core.errors import KafkaStorageError
from kgw_core.gathering import Gathering
from kgw_core.spi.storage import Append, LogStore

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)

MAX_APPEND_BYTES = 8 << 20
"""What goes into one ``append_many``, or one batch; the rest goes into the next. More would spare the store
little, and make those who wait, and its own upkeep between two, wait longer."""


class Writers:
    """Keeps up to ``store.writers`` appends under way. ``answers``: those that one append brings about."""

    def __init__(self, store: LogStore, answers: Gathering) -> None:
        self._store = store
        self._answers = answers
        self._due: dict[PartitionLog, None] = {}
        self._wake = anyio.Event()
        self._busy = 0
        self._stopping = False
        self._ended = anyio.Event()

    def submit(self, log: PartitionLog) -> None:
        """``log`` has something in its queue."""
        if not log.queue.in_flight:
            self._due[log] = None
            self._wake.set()

    async def run(self) -> None:
        """One writer; returns after :meth:`stop`, when nothing is left to write."""
        while True:
            if not self._due:
                if self._stopping:
                    if not self._busy:
                        self._ended.set()
                    return
                self._wake = anyio.Event() if self._wake.is_set() else self._wake
                await self._wake.wait()
                continue
            self._busy += 1
            try:
                await self._write()
            finally:
                self._busy -= 1

    async def _write(self) -> None:
        logs: list[PartitionLog] = []
        appends: list[Append] = []
        room = MAX_APPEND_BYTES
        while self._due and room > 0:
            log = next(iter(self._due))  # those that have been due the longest
            del self._due[log]
            if log.queue.waiting and not log.queue.in_flight:
                flight = log.queue.depart(room)
                room -= flight.size
                logs.append(log)
                appends.append(Append(log.tp, flight.batches))
        if not logs:
            return
        try:
            outcomes = await self._store.append_many(appends)
            if len(outcomes) != len(appends):
                raise KafkaStorageError(f"store gave {len(outcomes)} outcomes for {len(appends)} appends")
        except Exception as error:
            outcomes = [error] * len(appends)
        with self._answers:
            for log, outcome in zip(logs, outcomes, strict=True):
                try:
                    log.settle(outcome)
                except Exception:  # a fault of one log: the writer serves the others, too
                    logger.exception("%s: an append could not be settled", log.tp)
                if log.queue.waiting:
                    self.submit(log)

    async def finished(self) -> None:
        """Return when, after :meth:`stop`, nothing is left to write."""
        if self._busy or self._due:
            await self._ended.wait()

    def stop(self) -> None:
        """Write what is queued, then let the writers end."""
        self._stopping = True
        self._wake.set()
