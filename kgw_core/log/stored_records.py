"""Reads the records of stored batches: in a thread if that takes long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from kgw_core import workers
from kgw_core.errors import KafkaError
from kgw_core.records.batch import RecordBatch
from kgw_core.records.scan import max_time_record

T = TypeVar("T")

LARGE: Final = 64 << 10
"""A batch of this many bytes, or a compressed one, is read in a thread."""


async def in_thread_if_large(batch: RecordBatch, read: Callable[[], T]) -> T:
    """The result of ``read()``, which reads the records of ``batch``. :raises Exception: from ``read``."""
    if batch.size < LARGE and not batch.attributes & 7:
        return read()
    return await workers.in_thread(read)


async def latest_time(batch: RecordBatch, max_inflated: int) -> int | None:
    """The largest time of the records (ms), regardless of the header; None if no record can be read."""
    try:
        found = await in_thread_if_large(batch, partial(max_time_record, batch, max_inflated=max_inflated))
    except KafkaError:
        return None
    return None if found is None else found[1]
