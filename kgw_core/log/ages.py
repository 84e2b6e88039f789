"""The age of batches: by the times of their records, or by their write times if the records have none.

For Kafka a time below 0 is unknown, and records without a time age from the last write of their segment. The
header of a batch has its largest time. Below ``Bounds.unchecked`` nobody has compared that with the records,
so it counts there only if it makes the batch young.
"""

from __future__ import annotations

from kgw_core.log.stored_records import latest_time
from kgw_core.records.batch import RecordBatch
from kgw_core.spi.storage import LogStore, TopicPartition


async def written_before(store: LogStore, tp: TopicPartition, start: int, end: int, time: int) -> int:
    """The offset in ``start..end`` below which everything was written before ``time`` (ms).

    A batch counts as older than those after it, also if the clock was set back. The number of calls to the
    store grows with the logarithm of ``end - start``.
    """
    if start < end and 0 <= await store.write_time(tp, end - 1) < time:
        return end  # all of it is older
    while start < end:
        middle = (start + end) // 2
        if 0 <= await store.write_time(tp, middle) < time:
            start = middle + 1
        else:
            end = middle
    return start


class Ages:
    """Finds the old batches in ``start..end`` of one log: those with a time before ``young_from`` (ms)."""

    def __init__(
        self,
        store: LogStore,
        tp: TopicPartition,
        start: int,
        end: int,
        *,
        unchecked: int,
        young_from: int,
        max_inflated: int,
    ) -> None:
        self.unchecked = unchecked
        self.young_from = young_from
        self._store = store
        self._tp = tp
        self._start = start
        self._end = end
        self._max_inflated = max_inflated
        self._written: int | None = None

    async def is_old(self, batch: RecordBatch) -> bool:
        """Whether all records of ``batch`` are old: by their times, or by its write time if none has a
        time."""
        latest: int | None = batch.max_timestamp
        if batch.max_timestamp >= self.young_from:
            return False
        if batch.base_offset < self.unchecked:
            latest = await latest_time(batch, self._max_inflated)
            if latest is not None and latest >= self.young_from:
                return False
        if latest is not None and latest >= 0:
            return True
        return batch.next_offset <= await self.written()

    async def written(self) -> int:
        """The offset below which everything was written before ``young_from``."""
        if self._written is None:
            self._written = await written_before(
                self._store, self._tp, self._start, self._end, self.young_from
            )
        return self._written
