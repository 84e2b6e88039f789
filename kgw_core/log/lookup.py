"""Offsets by time: the store finds the batch by its header, and this module the record in the batch.

For a batch whose records cannot be read, the answer is its first offset and its header's time: a consumer
that starts there misses nothing. Below ``Bounds.unchecked`` the time in a header may be lower than those of
its records. These batches are found by bisection, which is right if the times of their first records ascend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from heapq import heappop, heappush
from typing import Final, NamedTuple, ParamSpec, TypeVar

from kgw_core.errors import KafkaError
from kgw_core.log.ages import written_before
from kgw_core.log.epochs import batch_at
from kgw_core.log.outcome import explained
from kgw_core.log.partition import PartitionLog
from kgw_core.log.stored_records import in_thread_if_large
from kgw_core.records.batch import NO_TIMESTAMP, RecordBatch, iter_batches
from kgw_core.records.record import iter_records
from kgw_core.records.scan import find_by_time, max_time_record

P = ParamSpec("P")
T = TypeVar("T")

_READ_BYTES = 1 << 20
_TRIES: Final = 16
"""The most batches that are read for the latest record. Usually the first one has it."""


class Found(NamedTuple):
    """A record's offset and timestamp (ms), and its batch's leader epoch."""

    offset: int
    timestamp: int
    leader_epoch: int


async def offset_for_time(log: PartitionLog, timestamp: int, max_inflated: int) -> Found | None:
    """The first record at or after the log start offset whose timestamp is at least ``timestamp`` (ms, not
    below 0)."""
    await log.open()
    offset = await _asked(log, log.context.store.find_time, log.tp, timestamp)
    end = log.high_watermark if offset is None else min(offset, log.high_watermark)
    for batch in await _around(log, timestamp, min(await _unchecked(log), end)):
        found = await _at_or_after(log, batch, timestamp, max_inflated)
        if found is not None:
            return found
    while offset is not None and (offset := max(offset, log.start)) < log.high_watermark:
        runs = await log.read(offset, _READ_BYTES)
        if not runs:
            return None
        for run in runs:
            for batch in iter_batches(run.data):
                if batch.max_timestamp >= timestamp and not batch.is_control:
                    found = await _at_or_after(log, batch, timestamp, max_inflated)
                    if found is not None:
                        return found
        offset = runs[-1].next_offset
    return None


async def offset_for_write_time(log: PartitionLog, time: int) -> int:
    """The offset below which everything was written before ``time`` (ms)."""
    return await _asked(log, written_before, log.context.store, log.tp, log.start, log.high_watermark, time)


async def epoch_at(log: PartitionLog, offset: int) -> int:
    """The leader epoch of the batch with ``offset``, or of the next one; the log's if there is none."""
    if not log.leader_epoch:
        return 0  # no batch has a higher one
    batch = await batch_at(log, offset) if offset < log.high_watermark else None
    return log.leader_epoch if batch is None else batch.partition_leader_epoch


async def _unchecked(log: PartitionLog) -> int:
    """The offset below which the times in headers may differ from those of the records."""
    return (await _asked(log, log.context.store.bounds, log.tp)).unchecked


async def _asked(log: PartitionLog, ask: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The answer of the log's store. :raises KafkaError: the store failed."""
    try:
        return await ask(*args, **kwargs)
    except Exception as error:
        raise explained(error, log.tp) from error


async def _at_or_after(
    log: PartitionLog, batch: RecordBatch, timestamp: int, max_inflated: int
) -> Found | None:
    read = partial(find_by_time, batch, timestamp, start_offset=log.start, max_inflated=max_inflated)
    try:
        found = await in_thread_if_large(batch, read)
    except KafkaError:
        return _unreadable(log, batch) if batch.max_timestamp >= timestamp else None
    return None if found is None else Found(*found, batch.partition_leader_epoch)


async def _around(log: PartitionLog, timestamp: int, end: int) -> list[RecordBatch]:
    """The first batch below offset ``end`` that begins at ``timestamp`` or later, and the one before it. The
    times in their headers are not trusted."""
    before = after = None
    low, high = log.start, end
    while low < high:
        middle = (low + high) // 2
        batch = await batch_at(log, middle)
        if batch is None or batch.base_offset >= end:
            high = middle
        elif max(batch.base_timestamp, batch.max_timestamp) >= timestamp:
            after, high = batch, min(middle, batch.base_offset)
        else:
            before, low = batch, batch.next_offset
    return [batch for batch in (before, after) if batch is not None and not batch.is_control]


async def offset_of_max_time(log: PartitionLog, max_inflated: int) -> Found | None:
    """The first record with the largest timestamp of the log (KIP-734); None if there is none with a time
    from 1970 on."""
    await log.open()
    start, end = log.start, log.high_watermark
    found = await _latest(log, start, end, max_inflated)
    unchecked = min(await _unchecked(log), end)
    if start < unchecked:  # the last batch there may have later records than the time in its header
        batch = await batch_at(log, unchecked - 1)
        if batch is not None and batch.base_offset < unchecked:
            found = _later(found, await _latest_in(log, batch, max_inflated))
    return found if found is not None and found.timestamp >= NO_TIMESTAMP else None


async def _latest(log: PartitionLog, start: int, end: int, max_inflated: int) -> Found | None:
    """The latest record of the batches that have offsets from ``start`` on and begin before ``end``."""
    batches: list[tuple[int, int, RecordBatch, int, int]] = []  # of each range

    async def add(start: int, end: int) -> None:
        base = None
        if start < end:
            base = await _asked(log, log.context.store.find_max_time, log.tp, start, end)
        batch = await batch_at(log, max(base, start)) if base is not None else None
        if batch is not None:
            heappush(batches, (-batch.max_timestamp, batch.base_offset, batch, start, end))

    await add(start, end)
    best: Found | None = None
    for _ in range(_TRIES):
        if not batches or (best is not None and best.timestamp >= batches[0][2].max_timestamp):
            break
        _, _, batch, start, end = heappop(batches)
        found = await _latest_in(log, batch, max_inflated)
        best = _later(best, found)
        if found is not None and batch.base_offset >= log.start:
            break
        # its latest records were trimmed, or compaction removed all of them
        await add(start, batch.base_offset)
        await add(batch.next_offset, end)
    return best


async def _latest_in(log: PartitionLog, batch: RecordBatch, max_inflated: int) -> Found | None:
    if batch.base_offset >= log.start:
        read = partial(max_time_record, batch, max_inflated=max_inflated)
    else:
        read = partial(_max_time_from, batch, log.start, max_inflated)
    try:
        found = await in_thread_if_large(batch, read)
    except KafkaError:
        return _unreadable(log, batch)
    return None if found is None else Found(*found, batch.partition_leader_epoch)


def _max_time_from(batch: RecordBatch, start: int, max_inflated: int) -> tuple[int, int] | None:
    """:func:`max_time_record` of a batch whose first records were trimmed."""
    records = iter_records(batch, max_inflated=max_inflated)
    found = ((record.offset, record.timestamp) for record in records if record.offset >= start)
    return max(found, key=lambda each: (each[1], -each[0]), default=None)


def _unreadable(log: PartitionLog, batch: RecordBatch) -> Found:
    return Found(max(batch.base_offset, log.start), batch.max_timestamp, batch.partition_leader_epoch)


def _later(one: Found | None, other: Found | None) -> Found | None:
    """The one with the later time, or the first if they are equal."""
    if one is None or (other is not None and other.timestamp > one.timestamp):
        return other
    return one
