"""Offsets by time: the store finds the batch, this looks inside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from kgw_core import workers
from kgw_core.log.partition import PartitionLog
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.records.record import iter_records
from kgw_core.records.scan import find_by_time, max_time_record

T = TypeVar("T")

Found = tuple[int, int]
"""Offset and timestamp (ms) of a record."""

LARGE = 64 << 10
"""Looking into a batch of this many bytes, or a compressed one, leaves the event loop."""

_READ_BYTES = 1 << 20


async def offset_for_time(log: PartitionLog, timestamp: int, max_inflated: int) -> Found | None:
    """The first record at or after the log start offset whose timestamp is at least ``timestamp`` (ms)."""
    await log.open()
    offset = await log.find_time(timestamp)
    if offset is None:
        return None
    while (offset := max(offset, log.start)) < log.high_watermark:
        runs = await log.read(offset, _READ_BYTES)
        if not runs:
            return None
        for run in runs:
            for batch in iter_batches(run.data):
                if batch.is_control or batch.max_timestamp < timestamp:
                    continue
                found = await _looking(
                    batch,
                    partial(
                        find_by_time, batch, timestamp, start_offset=log.start, max_inflated=max_inflated
                    ),
                )
                if found is not None:
                    return found
        offset = runs[-1].next_offset
    return None


async def offset_of_max_time(log: PartitionLog, max_inflated: int) -> Found | None:
    """The first record that has the largest timestamp of the log (KIP-734)."""
    await log.open()
    offset = await log.find_max_time()
    if offset is None or (offset := max(offset, log.start)) >= log.high_watermark:
        return None
    for run in await log.read(offset, 1):
        for batch in iter_batches(run.data):
            if batch.base_offset >= log.start:
                return await _looking(batch, partial(max_time_record, batch, max_inflated=max_inflated))
            return await _looking(batch, partial(_max_time_from, batch, log.start, max_inflated))
    return None


def _max_time_from(batch: RecordBatch, start: int, max_inflated: int) -> Found | None:
    """:func:`max_time_record` of a batch whose first records were trimmed."""
    records = iter_records(batch, max_inflated=max_inflated)
    found = ((record.offset, record.timestamp) for record in records if record.offset >= start)
    return max(found, key=lambda each: (each[1], -each[0]), default=None)


async def _looking(batch: RecordBatch, look: Callable[[], T]) -> T:
    if batch.size < LARGE and not batch.codec:
        return look()
    return await workers.in_thread(look)
