"""Searches the records of a batch without building their keys and values.

Each search reads the first fields of a record, and skips the rest by the record's length. Only these are
checked; :func:`kgw_core.records.iter_records` is the strict reader.
"""

from __future__ import annotations

from collections.abc import Iterator

from kgw_core.errors import InvalidRecord
from kgw_core.records.batch import RecordBatch
from kgw_core.records.compression import MAX_INFLATED, SMALLEST, check_count
from kgw_core.records.record import MAX_INT64, MIN_INT64
from kgw_core.records.varint import read_raw32, read_raw64, zigzag


def find_by_time(
    batch: RecordBatch, timestamp: int, *, start_offset: int = 0, max_inflated: int = MAX_INFLATED
) -> tuple[int, int] | None:
    """``(offset, timestamp)`` of the first record of that time (milliseconds) or later; ``None`` if there is
    none.

    :param start_offset: records before it are ignored.
    :raises InvalidRecord: a record up to the one found is malformed.
    :raises CorruptMessage: the batch cannot be decompressed, or not within ``max_inflated``.
    """
    if batch.log_append_time and batch.max_timestamp < timestamp:
        return None
    for found, data, at in _walk(batch, max_inflated):
        if found >= timestamp:
            record = _found(batch, data, at, found)
            if record[0] >= start_offset:
                return record
    return None


def max_time_record(batch: RecordBatch, *, max_inflated: int = MAX_INFLATED) -> tuple[int, int] | None:
    """``(offset, timestamp)`` of the first record with the latest time; ``None`` for an empty batch.

    This compares the records' own times and does not trust the header's ``max_timestamp``. In a batch with
    LogAppendTime it is the first record.

    :raises InvalidRecord: a record is malformed.
    :raises CorruptMessage: the batch cannot be decompressed, or not within ``max_inflated``.
    """
    best: tuple[int, bytes, int] | None = None
    for step in _walk(batch, max_inflated):
        if best is None or step[0] > best[0]:
            best = step
            if batch.log_append_time:
                break
    if best is None:
        return None
    found, data, at = best
    return _found(batch, data, at, found)


def has_null_key(batch: RecordBatch, *, max_inflated: int = MAX_INFLATED) -> int | None:
    """The index of the first record without a key, which a compacted topic refuses; ``None`` if there is
    none.

    :raises InvalidRecord: a record up to the one found is malformed.
    :raises CorruptMessage: the batch cannot be decompressed, or not within ``max_inflated``.
    """
    for index, (_, data, at) in enumerate(_walk(batch, max_inflated)):
        at = at + 1 if data[at] < 128 else _raw_offset_delta(data, at)[1]
        if at < len(data) and (data[at] == 1 or (data[at] > 127 and _raw_offset_delta(data, at)[0] == 1)):
            return index
    return None


def _walk(batch: RecordBatch, limit: int) -> Iterator[tuple[int, bytes, int]]:
    """For each record: its time, the bytes of all records, and the position of its offset delta."""
    data = batch.inflate(limit)
    size = len(data)
    check_count(min(batch.record_count, size // SMALLEST), limit)
    base = batch.base_timestamp
    append_time = batch.max_timestamp if batch.log_append_time else None
    if batch.record_count < 0:
        raise InvalidRecord(f"a record batch says that it has {batch.record_count} records")
    at = index = 0
    try:
        for index in range(batch.record_count):  # noqa: B007 (the except below names it)
            raw = data[at]
            at += 1
            if raw > 127:
                if (high := data[at]) < 128:
                    raw += (high << 7) - 128
                    at += 1
                else:
                    raw, at = read_raw32(data, at - 1)
            end = at + (raw >> 1)
            if raw & 1 or end > size:
                raise ValueError("its length is negative or runs over the batch")
            at += 1  # attributes
            raw = data[at]
            at += 1
            if raw > 127:
                if (high := data[at]) < 128:
                    raw += (high << 7) - 128
                    at += 1
                else:
                    raw, at = read_raw64(data, at - 1)
            if at >= end:
                raise ValueError("its fields do not fill its length")
            yield base + (raw >> 1 ^ -(raw & 1)) if append_time is None else append_time, data, at
            at = end
    except IndexError:
        raise InvalidRecord(f"record {index} of {batch!r}: the batch ends before it does") from None
    except ValueError as error:
        raise InvalidRecord(f"record {index} of {batch!r}: {error}") from None
    if at != size:
        raise InvalidRecord(f"{size - at} bytes follow the {batch.record_count} records of {batch!r}")


def _found(batch: RecordBatch, data: bytes, at: int, timestamp: int) -> tuple[int, int]:
    delta = zigzag(_raw_offset_delta(data, at)[0])
    if not 0 <= delta <= batch.last_offset_delta:
        raise InvalidRecord(f"a record {delta} offsets into {batch!r}")
    if not MIN_INT64 <= timestamp <= MAX_INT64:
        raise InvalidRecord(
            f"the timestamp of the record at offset {batch.base_offset + delta} exceeds 64 bits"
        )
    return batch.base_offset + delta, timestamp


def _raw_offset_delta(data: bytes, at: int) -> tuple[int, int]:
    try:
        return read_raw32(data, at)
    except (IndexError, ValueError):
        raise InvalidRecord("a record's offset is not well formed") from None
