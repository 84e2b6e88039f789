"""Retention: deletes old records by age and by size, at intervals, if ``cleanup.policy`` has delete.

Kafka deletes whole segments. Here there are none, so whole batches are deleted from the front of a log:

- by age if a batch's largest timestamp is more than ``retention.ms`` ago, or, if no record has a time (a time
  before 1970 is none), if it was written longer ago than that (:mod:`kgw_core.log.ages`).
- by size if without the first batch there are still ``retention.bytes`` or more.

Batches above the high watermark are never deleted. As in Kafka, records stay readable until the check that
deletes them. A store that declares ``native_retention`` for a topic deletes its records itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import chain, repeat

from kgw_core.clock import Clock
from kgw_core.errors import OffsetOutOfRange
from kgw_core.log.ages import Ages
from kgw_core.log.partition import PartitionLog
from kgw_core.log.upkeep import Throttle, each_batch, each_log
from kgw_core.records.batch import RecordBatch
from kgw_core.spi.storage import LogStore

logger = logging.getLogger(__name__)

CHECK_SECONDS = 300.0
"""The default of ``topics.retention_check_interval``."""

PIECE = 64 << 10
"""How many bytes of batches are read at a time."""


class Retention:
    """Checks the logs that ``logs`` returns. ``interval`` is the seconds between two :meth:`check`.

    ``max_inflated`` is the most bytes to which a batch may inflate if its records have to be read.
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
        self._throttle = Throttle()

    async def check(self) -> None:
        """Check all logs once. :raises PartlyFailed: some logs failed; the others were checked."""
        await each_log(list(self._logs()), self._check, self._throttle)

    async def _check(self, log: PartitionLog) -> None:
        start = log.start
        try:
            await self._check_log(log)
        except OffsetOutOfRange:
            async with log.changing():  # a trim in flight tells the log when it is done
                pass
            if log.start == start:
                raise
            # else records were deleted meanwhile, and the next check sees the new start

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
        """The offset of the first batch that is too young to be deleted; ``start`` if no batch is deleted."""
        offset = start
        async for batch in self._batches(log, start, end):
            if not await ages.is_old(batch):
                return max(batch.base_offset, start)
            offset = batch.next_offset
            if offset >= ages.unchecked:
                break
        # From here on headers are true, so the store can find the next young batch with a time. If it finds
        # none, all batches would be deleted. That is not left to the store alone: each header is checked.
        async with log.changing():  # compaction moves batches, and a store may search them step by step
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
        """The offset of the first batch that stays when at most ``excess`` bytes are deleted from the
        front."""
        before = start
        async for batch in self._batches(log, start, end):
            excess -= batch.size
            if excess < 0:
                break
            before = batch.next_offset
        return before

    def _batches(self, log: PartitionLog, start: int, end: int) -> AsyncIterator[RecordBatch]:
        """The batches below ``end``, from the one with ``start`` on."""
        sizes = chain((1,), repeat(PIECE))  # mostly the first one shows that there is nothing to delete
        return each_batch(
            lambda offset: self._store.read(log.tp, offset, next(sizes)), start, end, self._throttle
        )

    async def _drop(self, log: PartitionLog, before: int) -> None:
        start = log.start
        await log.trim(before)
        logger.debug("%s: retention deleted the records below offset %d (from %d on)", log.tp, before, start)
