"""How old the batches of a log are: by their records' times, or by their write times where these say nothing.

Kafka takes a time below 0 for unknown, and lets records without one age from their segment's last write. The
header of a batch has its largest time. Below ``Bounds.unchecked`` nobody has compared that with the records:
it counts there only where it makes the batch young.
"""

from __future__ import annotations

from kgw_core.log.inside import latest_time
from kgw_core.records.batch import RecordBatch
from kgw_core.spi.storage import LogStore, TopicPartition


async def written_before(store: LogStore, tp: TopicPartition, start: int, end: int, time: int) -> int:
    """The offset in ``start..end`` below which everything was written before ``time`` (ms).

    A batch is older than those behind it, whatever write time it has. So it does no harm if the clock was put
    back. The number of questions to the store grows with the logarithm of ``end - start``.
    """
    if start < end and 0 <= await store.write_time(tp, end - 1) < time:
        return end  # nobody writes to it any more
    while start < end:
        middle = (start + end) // 2
        if 0 <= await store.write_time(tp, middle) < time:
            start = middle + 1
        else:
            end = middle
    return start


class Ages:
    """Which batches in ``start..end`` of one log are old: of a time before ``young_from`` (ms)."""

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
        """Whether all records of ``batch`` are: by their times, or where none has one, by its write time."""
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
