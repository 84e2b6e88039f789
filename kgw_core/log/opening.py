"""What a log has to know before it can be used: its bounds, its position, and its producers."""

from __future__ import annotations

from typing import NamedTuple

from kgw_core.log.producers import Appended, Producers
from kgw_core.log.snapshots import Snapshots
from kgw_core.records.batch import iter_batches
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, LogStore, TopicPartition


class Opened(NamedTuple):
    """``start`` and ``high_watermark`` are offsets. ``size``: bytes that were read for the producers."""

    start: int
    high_watermark: int
    leader_epoch: int
    producers: Producers
    size: int


async def opened(
    tp: TopicPartition, store: LogStore, ledger: OffsetLedger, snapshots: Snapshots | None
) -> Opened:
    """Bounds from the store, position from the ledger, producers from their snapshot and from the headers of
    the batches that came after it.

    :raises Exception: what store and ledger raise.
    """
    bounds = await store.bounds(tp)
    position = await ledger.open(tp, bounds)
    producers, offset, size = Producers(), bounds.start, 0
    if snapshots is not None:
        producers, offset = await snapshots.load(tp, bounds.start, bounds.end)
    while offset < bounds.end:
        runs = await store.read(tp, offset, SCAN_BYTES)
        if not runs:
            break
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
                        batch.max_timestamp,
                    )
        offset = runs[-1].next_offset
    return Opened(position.start, position.committed, bounds.epoch, producers, size)
