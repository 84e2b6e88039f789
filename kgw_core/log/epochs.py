"""The end of a leader epoch in a log (KIP-101), as Kafka's LeaderEpochFileCache: stored batches have the
epochs, which never decrease."""

from __future__ import annotations

from kgw_core.log.partition import PartitionLog
from kgw_core.records.batch import RecordBatch

UNKNOWN = -1


async def end_of_epoch(log: PartitionLog, epoch: int) -> tuple[int, int]:
    """The largest epoch of the log up to ``epoch``, and the offset after its last record.

    The result is (-1, -1) if ``epoch`` is newer than the log's, or -1. An epoch older than all remaining
    batches ends at the log's start. The number of reads grows with the logarithm of the log's length.

    :raises KafkaError: the topic was deleted, or the store failed.
    """
    await log.open()
    current, end = log.leader_epoch, log.high_watermark
    if epoch == UNKNOWN or epoch > current:
        return UNKNOWN, UNKNOWN
    if epoch == current:
        return current, end
    low, high = log.start, end  # below low no batch is newer than epoch, and from high on all are
    found, newer = UNKNOWN, end
    while low < high:
        middle = (low + high) // 2
        batch = await batch_at(log, middle)
        if batch is None or batch.partition_leader_epoch > epoch:
            high = middle
            if batch is not None:
                newer = batch.base_offset
                high = min(middle, newer)
        else:
            found = batch.partition_leader_epoch
            low = batch.next_offset
    return (epoch if found == UNKNOWN else found), max(newer, log.start)


async def batch_at(log: PartitionLog, offset: int) -> RecordBatch | None:
    """The batch with ``offset``, or the next one after a gap of compaction; None if there is none."""
    runs = await log.read(max(offset, log.start), 1)
    return RecordBatch(memoryview(runs[0].data)) if runs else None
