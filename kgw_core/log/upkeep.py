"""Work on all logs at intervals, such as retention and compaction: one log after another, beside requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import anyio

from kgw_core.background import Faults
from kgw_core.errors import NotLeaderOrFollower, UnknownTopicOrPartition
from kgw_core.log.partition import PartitionLog
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.spi.storage import Fenced, Run

TURN_SECONDS: Final = 0.002
"""How long the event loop is held at a time, without the time of the store."""


class Throttle:
    """Divides long work into turns of :data:`TURN_SECONDS`. Between two turns, others have the event loop for
    ``pause`` seconds, or for one turn."""

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        self._began = 0.0

    def begin(self) -> None:
        """Begin a turn now."""
        self._began = time.perf_counter()

    async def rest(self) -> None:
        """Serve others if this turn has taken long enough."""
        if time.perf_counter() - self._began >= TURN_SECONDS:
            await anyio.sleep(self._pause)
            self._began = time.perf_counter()


async def each_log(
    logs: Iterable[PartitionLog], work: Callable[[PartitionLog], Awaitable[object]], throttle: Throttle
) -> None:
    """Await ``work(log)`` for each log.

    :raises PartlyFailed: it failed on some logs. It was done on the others.
    """
    faults = Faults("partition(s)")
    throttle.begin()
    for log in logs:
        await throttle.rest()
        try:
            await work(log)
        except (UnknownTopicOrPartition, NotLeaderOrFollower, Fenced):
            pass  # it was deleted, or another gateway has become its leader meanwhile
        except Exception as error:
            faults.add(log.tp, error)
    faults.tell()


async def each_batch(
    read: Callable[[int], Awaitable[Sequence[Run]]], start: int, end: int, throttle: Throttle
) -> AsyncIterator[RecordBatch]:
    """The batches below offset ``end``, from the one with ``start`` on. ``read(offset)`` returns runs."""
    offset = start
    while offset < end:
        runs = await read(offset)
        for run in runs:
            for batch in iter_batches(run.data):
                if batch.next_offset > end:
                    return
                yield batch
                await throttle.rest()
        if not runs:
            return
        offset = runs[-1].next_offset
