"""Retention: old records go by age and by size, on a schedule, where ``cleanup.policy`` says delete.

Kafka drops whole segments; here there are none, so whole batches go from the front of a log:

- by age while a batch's largest timestamp lies more than ``retention.ms`` back, or where no record has one
  (a time before 1970 is none), while it was written longer ago than that (:mod:`kgw_core.log.ages`).
- by size while without the first batch there would still be ``retention.bytes`` or more.

Nothing above the high watermark goes. The records stay readable until the look that drops them, as in Kafka.
A store that declares ``native_retention`` for a topic sees to it itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio.lowlevel

from kgw_core.background import Faults
from kgw_core.clock import Clock
from kgw_core.errors import OffsetOutOfRange, UnknownTopicOrPartition
from kgw_core.log.ages import Ages
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.spi.storage import LogStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)

CHECK_SECONDS = 300.0
"""Default of ``topics.retention_check_interval``."""

PIECE = 64 << 10
"""Bytes whose headers are looked at before others may get a turn."""

TURN_SECONDS = 0.002
"""How long the event loop is held at a stretch, apart from what the store takes."""


class Retention:
    """Looks at all logs that ``logs`` gives. ``interval``: seconds from one :meth:`check` to the next.

    ``max_inflated``: bytes that a batch may decompress to, where its records have to be looked at.
    """

    def __init__(
        self,
        store: LogStore,
        clock: Clock,
        logs: Callable[[], Iterable[PartitionLog]],
        interval: float,
        max_inflated: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._logs = logs
        self.interval = interval
        self._max_inflated = max_inflated
        self._turn_began = 0.0

    async def check(self) -> None:
        """Look once. :raises PartlyFailed: some logs could not be looked at; the others were."""
        self._turn_began = time.perf_counter()
        faults = Faults("partition(s)")
        for log in list(self._logs()):
            await self._rest()
            start = log.start
            try:
                await self._check_log(log)
            except UnknownTopicOrPartition:
                pass  # deleted meanwhile
            except OffsetOutOfRange as error:
                async with log.changing():  # a trim that is under way: it tells the log when it is done
                    pass
                if log.start == start:
                    faults.add(log.tp, error)
                # else records were deleted meanwhile, and the next look finds where the log begins now
            except Exception as error:
                faults.add(log.tp, error)
        faults.tell()

    async def _check_log(self, log: PartitionLog) -> None:
        topic = log.topic
        configs = topic.configs
        limit = configs.retention_bytes
        if topic.deleted or not configs.delete or (configs.retention_ms < 0 and limit < 0):
            return
        if self._store.capabilities(topic.topic).native_retention:
            return
        bounds = await self._store.bounds(log.tp)
        start, end = (log.start, log.high_watermark) if log.ready else bounds[:2]
        if start >= end:
            return
        size = bounds.size
        if configs.retention_ms >= 0:
            ages = Ages(
                self._store,
                log.tp,
                start,
                end,
                unchecked=bounds.unchecked,
                young_from=self._clock.time_ms() - configs.retention_ms,
                max_inflated=self._max_inflated,
            )
            before = await self._first_young(log, start, end, ages)
            if before > start:
                await self._drop(log, before)
                start, size = before, (await self._store.bounds(log.tp)).size
        if 0 <= limit < size and start < end:
            before = await self._first_within(log, start, end, size - limit)
            if before > start:
                await self._drop(log, before)

    async def _first_young(self, log: PartitionLog, start: int, end: int, ages: Ages) -> int:
        """Where the batches begin that may not go by their age; ``start`` if none may go."""
        offset = start
        async for batch in self._batches(log, start, end):
            if not await ages.is_old(batch):
                return max(batch.base_offset, start)
            offset = batch.next_offset
            if offset >= ages.unchecked:
                break
        # From here on headers are true, so the store can say where the next dated young one is. Its word that
        # there is none would cost all of them: then each header is looked at.
        async with log.changing():  # compaction moves batches, which a store may look for step by step
            found = await self._store.find_time(log.tp, ages.young_from)
        if found is not None:
            end = min(found, end)
            offset = max(offset, min(await ages.written(), end))
        async for batch in self._batches(log, offset, end):
            if not await ages.is_old(batch):
                return batch.base_offset
            offset = batch.next_offset
        return offset

    async def _first_within(self, log: PartitionLog, start: int, end: int, excess: int) -> int:
        """Where the batches begin that are left when at most ``excess`` bytes go from the front."""
        before = start
        async for batch in self._batches(log, start, end):
            excess -= batch.size
            if excess < 0:
                break
            before = batch.next_offset
        return before

    async def _batches(self, log: PartitionLog, start: int, end: int) -> AsyncIterator[RecordBatch]:
        """The batches that lie below ``end``, from the one that holds ``start`` on."""
        offset, size = start, 1  # mostly the first one says that there is nothing to do
        while offset < end:
            runs = await self._store.read(log.tp, offset, size)
            if not runs:
                return
            for run in runs:
                for batch in iter_batches(run.data):
                    if batch.next_offset > end:
                        return
                    yield batch
            offset, size = runs[-1].next_offset, PIECE
            await self._rest()

    async def _drop(self, log: PartitionLog, before: int) -> None:
        start = log.start
        await log.trim(before)
        logger.debug("%s: retention dropped what was below offset %d (from %d on)", log.tp, before, start)

    async def _rest(self) -> None:
        """Let others have a turn, if this one has been long enough."""
        if time.perf_counter() - self._turn_began >= TURN_SECONDS:
            await anyio.lowlevel.checkpoint()
            self._turn_began = time.perf_counter()
