"""Opens a log: gets its leadership with bounds and epoch, and reads its producers."""

from __future__ import annotations

from typing import NamedTuple

import anyio.lowlevel

from kgw_core.log.ages import written_before
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.snapshots import PIECE, Snapshots
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, LogStore, TopicPartition


class Opened(NamedTuple):
    """The state of a log after opening. ``size`` is how many bytes were read for the producers."""

    start: int
    high_watermark: int
    leader_epoch: int
    producers: Producers
    size: int


async def opened(
    tp: TopicPartition,
    store: LogStore,
    ledger: OffsetLedger,
    snapshots: Snapshots | None,
    now: int,
    expiration_ms: int,
) -> Opened:
    """Lead the log by the ledger, which gives bounds and epoch. Read its producers from their snapshot, and
    from the headers of the batches after it.

    :param now: ms since the epoch.
    :param expiration_ms: how long silent producers are remembered.
    :raises Exception: from store and ledger.
    """
    start, end, epoch, _ = await ledger.lead(tp)
    producers, offset, size = Producers(), start, 0
    if snapshots is not None:
        producers, offset = await snapshots.load(tp, start, end)
    heard = LastHeard(now, now - expiration_ms)
    first = offset
    while offset < end:
        runs = await store.read(tp, offset, SCAN_BYTES, end)
        if not runs:
            raise RuntimeError(f"{tp} ends at {end}, but there is nothing at offset {offset}")
        for run in runs:
            size += len(run.data)
            for batch in iter_batches(run.data):
                if batch.producer_id >= 0 and not batch.is_control:
                    producers.put(
                        batch.producer_id,
                        batch.producer_epoch,
                        batch.base_sequence,
                        batch.last_sequence,
                        Appended(batch.base_offset, batch.max_timestamp if batch.log_append_time else -1),
                        heard.of(batch),
                    )
        offset = runs[-1].next_offset
    if heard.doubtful:
        written = await written_before(store, tp, first, end, heard.expired_before)
        heard.settle(producers, written)
    return Opened(start, end, epoch, producers, size)


async def take_over(producers: Producers, before: Producers) -> None:
    """Add the producers of a log that was open ``before`` to ``producers``, which were read. Others are
    served meanwhile."""
    for number, producer_id in enumerate(before.ids(), 1):
        producer = before.get(producer_id)
        if producer is not None:
            producers.take_over(producer_id, producer)
        if number % PIECE == 0:
            await anyio.lowlevel.checkpoint()


class LastHeard:
    """The last activity of producers, by the times of their batches, which are the clients'.

    A producer must not be dropped because its records have old times or none, and not be kept for ever
    because their times are in the future.
    """

    def __init__(self, now: int, expired_before: int) -> None:
        self.expired_before = expired_before
        self.doubtful: dict[int, RecordBatch] = {}
        """The last batch of each producer without a usable time."""
        self._now = now

    def of(self, batch: RecordBatch) -> int:
        """The time of the batch, or now if that is impossible."""
        if self.expired_before <= batch.max_timestamp <= self._now:
            self.doubtful.pop(batch.producer_id, None)
            return batch.max_timestamp
        self.doubtful[batch.producer_id] = batch
        return self._now

    def settle(self, producers: Producers, written: int) -> None:
        """Batches below offset ``written`` were written so long ago that their producers may be dropped."""
        for producer_id, batch in self.doubtful.items():
            producer = producers.get(producer_id)
            if producer is not None and batch.base_offset < written:
                producer.last_timestamp = min(batch.max_timestamp, self.expired_before - 1)
