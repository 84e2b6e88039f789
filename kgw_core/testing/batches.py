"""Batches for tests: each says in its bytes which one it is, so that none can stand in for another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kgw_core.records import build_batch, iter_batches, iter_records
from kgw_core.spi.storage import Batch, Run

OVERHEAD = 90
"""About the size of a batch of one record without the record's value."""


def make_batch(
    base_offset: int,
    records: int = 1,
    *,
    size: int = 100,
    timestamp: int | None = None,
    tag: str = "",
    write_time: int = -1,
    **options: Any,
) -> Batch:
    """A whole, valid v2 batch: the same bytes for the same arguments, stamped with ``base_offset``.

    :param base_offset: -1, for a store that numbers records, leaves 0 in the bytes.
    :param size: about how many bytes the batch takes.
    :param timestamp: of all records in ms, by default ``1_000 + base_offset``; -1 for none.
    :param tag: goes into the keys, to tell batches at one offset apart.
    :param write_time: when it is written, in ms; -1: not known.
    :param options: of :func:`kgw_core.records.build_batch`.
    """
    time = 1_000 + base_offset if timestamp is None else timestamp
    key = f"{tag}/{base_offset}".encode()
    body = b"x" * max(0, (size - OVERHEAD) // records)
    data = build_batch(
        [(key, b"%d:%s" % (index, body), time) for index in range(records)],
        base_offset=max(0, base_offset),
        leader_epoch=0,
        **options,
    )
    return Batch(base_offset, records, time, bytes(data), False, write_time)


def stored_batches(runs: Iterable[Run]) -> list[tuple[int, int, bytes]]:
    """(base offset, last offset, bytes) of every batch in ``runs``; each has to be whole, its CRC right."""
    found = []
    for run in runs:
        for batch in iter_batches(run.data, allow_partial=False):
            batch.check_crc()
            found.append((batch.base_offset, batch.last_offset, bytes(batch.data)))
    return found


def stored_records(runs: Iterable[Run]) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """(offset, timestamp, key, value) of every record in ``runs``."""
    return [
        (record.offset, record.timestamp, record.key, record.value)
        for run in runs
        for batch in iter_batches(run.data, allow_partial=False)
        for record in iter_records(batch)
    ]
