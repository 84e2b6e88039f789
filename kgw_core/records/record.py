"""The strict reader of a v2 batch's records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kgw_core.errors import InvalidRecord
from kgw_core.records.batch import NO_TIMESTAMP, RecordBatch
from kgw_core.records.compression import MAX_INFLATED, SMALLEST, check_count
from kgw_core.records.varint import read_raw32, read_raw64

Header = tuple[str, bytes | None]

NO_OFFSET = -1
"""The offset of a record that has none yet."""

MIN_INT64 = -0x8000_0000_0000_0000
MAX_INT64 = 0x7FFF_FFFF_FFFF_FFFF
_SAFE_BASE = 1 << 62


class Record:
    """One record: key and value (``None`` is null), timestamp in milliseconds, headers in order, offset.

    A header's value may be null, but not its key. Keys may repeat. Bytes of a key that are not UTF-8 become
    lone surrogates, of which :func:`build_batch` makes the same bytes (PEP 383).
    """

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[Header, ...]
    offset: int

    def __init__(
        self,
        key: bytes | None = None,
        value: bytes | None = None,
        timestamp: int = NO_TIMESTAMP,
        headers: Iterable[Header] = (),
        offset: int = NO_OFFSET,
    ) -> None:
        self.key = key
        self.value = value
        self.timestamp = timestamp
        self.headers = tuple(headers)
        self.offset = offset

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (
            self.offset == other.offset
            and self.timestamp == other.timestamp
            and self.key == other.key
            and self.value == other.value
            and self.headers == other.headers
        )

    __hash__ = None  # type: ignore[assignment]  # records are mutable

    def __repr__(self) -> str:
        return (
            f"Record({self.key!r}, {self.value!r}, timestamp={self.timestamp}, "
            f"headers={self.headers!r}, offset={self.offset})"
        )


_new_record = Record.__new__


def iter_records(batch: RecordBatch, *, max_inflated: int = MAX_INFLATED) -> Iterator[Record]:
    """The records of a batch with their offsets in the log, control records included. Each is checked.

    If the batch has LogAppendTime, every record gets ``max_timestamp``.

    :param max_inflated: the most bytes that the batch may inflate to.
    :raises InvalidRecord: a record is malformed, its offset is outside the batch, or the count is not the
        header's. The message has the index of the record.
    :raises CorruptMessage: the batch cannot be decompressed, or not within ``max_inflated``.
    :raises UnsupportedCompressionType: the codec is unknown.
    """
    data = batch.inflate(max_inflated)
    size = len(data)
    check_count(min(batch.record_count, size // SMALLEST), max_inflated)
    base_offset, last_delta = batch.base_offset, batch.last_offset_delta
    base_timestamp = batch.base_timestamp
    near_the_edge = not -_SAFE_BASE < base_timestamp < _SAFE_BASE
    append_time = batch.max_timestamp if batch.log_append_time else None
    if batch.record_count < 0:
        raise InvalidRecord(f"a record batch says that it has {batch.record_count} records")
    at = index = 0
    try:
        # This loop runs once for each record and reads six varints. Those of one or two bytes are read
        # inline.
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

            at += 1  # attributes: none are defined
            raw = data[at]
            at += 1
            if raw > 127:
                if (high := data[at]) < 128:
                    raw += (high << 7) - 128
                    at += 1
                else:
                    raw, at = read_raw64(data, at - 1)
            timestamp = base_timestamp + (raw >> 1 ^ -(raw & 1))
            if (near_the_edge or raw > _SAFE_BASE) and not MIN_INT64 <= timestamp <= MAX_INT64:
                raise ValueError("its timestamp does not fit 64 bits")

            raw = data[at]
            at += 1
            if raw > 127:
                if (high := data[at]) < 128:
                    raw += (high << 7) - 128
                    at += 1
                else:
                    raw, at = read_raw32(data, at - 1)
            delta = raw >> 1
            if raw & 1 or delta > last_delta:
                raise ValueError("its offset lies outside the batch")

            raw = data[at]
            at += 1
            if raw > 127:
                raw, at = read_raw32(data, at - 1)
            if not raw & 1:
                raw >>= 1
                key = data[at : at + raw]
                at += raw
            elif raw == 1:
                key = None
            else:
                raise ValueError("its key has a negative length")

            raw = data[at]
            at += 1
            if raw > 127:
                if (high := data[at]) < 128:
                    raw += (high << 7) - 128
                    at += 1
                else:
                    raw, at = read_raw32(data, at - 1)
            if not raw & 1:
                raw >>= 1
                value = data[at : at + raw]
                at += raw
            elif raw == 1:
                value = None
            else:
                raise ValueError("its value has a negative length")

            headers: tuple[Header, ...]
            if data[at]:
                headers, at = _read_headers(data, at)
            else:
                headers = ()
                at += 1
            if at != end:  # also if a field runs over: slices stop at the end of the bytes
                raise ValueError("its fields do not fill its length")

            record = _new_record(Record)
            record.offset = base_offset + delta
            record.timestamp = timestamp if append_time is None else append_time
            record.key = key
            record.value = value
            record.headers = headers
            yield record
    except IndexError:
        raise InvalidRecord(f"record {index} of {batch!r}: the batch ends before it does") from None
    except ValueError as error:
        raise InvalidRecord(f"record {index} of {batch!r}: {error}") from None
    if at != size:
        raise InvalidRecord(f"{size - at} bytes follow the {batch.record_count} records of {batch!r}")


def _read_headers(data: bytes, at: int) -> tuple[tuple[Header, ...], int]:
    count, at = read_raw32(data, at)
    if count & 1:
        raise ValueError("it has a negative number of headers")
    headers: list[Header] = []
    for _ in range(count >> 1):
        raw, at = read_raw32(data, at)
        if raw & 1:
            raise ValueError("a header's key has a negative length")
        end = at + (raw >> 1)
        key = str(data[at:end], "utf-8", "surrogateescape")
        raw, at = read_raw32(data, end)
        if raw == 1:
            headers.append((key, None))
            continue
        if raw & 1:
            raise ValueError("a header's value has a negative length")
        end = at + (raw >> 1)
        headers.append((key, data[at:end]))
        at = end
    return tuple(headers), at
