"""Compacts one batch: the records that stay, and the new batch (KIP-58, KIP-534). Part of Kafka's Cleaner.

- The last record of each key stays, in the part of the log that was read. Records without a key are removed.
- A tombstone (a null value) stays until its batch's *delete horizon*. The first compaction that keeps a
  tombstone sets the horizon in the batch, ``delete.retention.ms`` from then.
- Remaining records keep offset, time and headers. The batch keeps its base and last offset, its codec and its
  producer's sequence. A batch without records is removed, unless it has the last sequence of its producer:
  then its header stays.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from crc32c import crc32c

from kgw_core.log.rewrite import set_times
from kgw_core.records.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CRC_AT,
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAX_TIMESTAMP_AT,
    NO_TIMESTAMP,
    RecordBatch,
)
from kgw_core.records.builder import build_batch
from kgw_core.records.record import iter_records

MAP_BYTES = 64 << 20
"""About the memory for keys in one pass. The next pass does the rest."""

_SHORT = 24
_DIGEST = 32
_ENTRY = 150
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")


class LastOffsets:
    """Kafka's OffsetMap: the offset of each key's last record. Long keys are stored as digests. ``full``:
    there is no room for more keys."""

    def __init__(self, limit: int = MAP_BYTES) -> None:
        self._limit = limit // _ENTRY
        self._offsets: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        return len(self._offsets) >= self._limit

    def add(self, batch: RecordBatch, max_inflated: int) -> None:
        """Add the keys of a batch that is after all added ones.

        :raises KafkaError: its records cannot be read; nothing was added.
        """
        if batch.is_control:
            return
        offsets: dict[bytes, int] = {}
        for record in iter_records(batch, max_inflated=max_inflated):
            key = record.key
            if key is not None:
                offsets[key if len(key) <= _SHORT else _digest(key)] = record.offset
        self._offsets.update(offsets)

    def superseded(self, key: bytes, offset: int) -> bool:
        """Whether a later record than the one at ``offset`` has this key."""
        return self._offsets.get(key if len(key) <= _SHORT else _digest(key), -1) > offset


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=_DIGEST).digest()


def cleaned(
    batch: RecordBatch,
    latest: LastOffsets,
    *,
    now: int,
    delete_retention_ms: int,
    keep_empty: bool,
    max_inflated: int,
) -> bytes | bytearray | None:
    """The compacted ``batch``: None if it is removed, empty bytes if it is unchanged.

    :param now: ms since the epoch.
    :param keep_empty: keep the header if no record stays.
    :raises KafkaError: its records cannot be read.
    """
    if batch.is_control:
        return b""
    horizon = batch.base_timestamp if batch.has_delete_horizon else None
    overdue = horizon is not None and horizon < now
    kept = []
    tombstones = False
    for record in iter_records(batch, max_inflated=max_inflated):
        key = record.key
        if key is None or latest.superseded(key, record.offset):
            continue
        if record.value is None:
            if overdue:
                continue
            tombstones = True
        kept.append(record)
    if not kept:
        if not keep_empty:
            return None
        return emptied(batch) if batch.record_count else b""
    if tombstones and horizon is None:
        horizon = now + delete_retention_ms
    elif len(kept) == batch.record_count:
        return b""
    left = build_batch(
        kept,
        base_offset=batch.base_offset,
        last_offset=batch.last_offset,
        codec=batch.codec,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        leader_epoch=batch.partition_leader_epoch,
        transactional=batch.is_transactional,
        log_append_time=batch.max_timestamp if batch.log_append_time else None,
        delete_horizon=horizon,
    )
    header = RecordBatch(left)
    if header.max_timestamp < NO_TIMESTAMP:  # times below 0 are unknown, as in appended batches
        set_times(memoryview(left), header.attributes, NO_TIMESTAMP)
    return left


def emptied(batch: RecordBatch) -> bytearray:
    """The batch without records: its header with offsets, producer and LogAppendTime, but without a record's
    time."""
    header = bytearray(batch.data[:HEADER_SIZE])
    if not batch.log_append_time:
        _INT64.pack_into(header, MAX_TIMESTAMP_AT, NO_TIMESTAMP)
    _INT32.pack_into(header, LOG_OVERHEAD - 4, HEADER_SIZE - LOG_OVERHEAD)
    _INT32.pack_into(header, HEADER_SIZE - 4, 0)
    header[ATTRIBUTES_AT + 1] &= ~CODEC_MASK & 0xFF
    header[CRC_AT:ATTRIBUTES_AT] = crc32c(memoryview(header)[ATTRIBUTES_AT:]).to_bytes(4, "big")
    return header
