"""Builds record batches of format v2."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from crc32c import crc32c

from kgw_core.errors import InvalidTimestamp
from kgw_core.records import batch as v2
from kgw_core.records.compression import Codec, compress
from kgw_core.records.record import MAX_INT64, MIN_INT64, Header, Record
from kgw_core.records.varint import encode_varint

_CRC = struct.Struct(">I")
_NULL = encode_varint(-1)
_ZERO = encode_varint(0)


def build_batch(
    records: Iterable[Record | tuple[Any, ...]],
    *,
    base_offset: int | None = None,
    last_offset: int | None = None,
    codec: int = Codec.NONE,
    level: int | None = None,
    producer_id: int = v2.NO_PRODUCER_ID,
    producer_epoch: int = v2.NO_PRODUCER_EPOCH,
    base_sequence: int = v2.NO_SEQUENCE,
    leader_epoch: int = v2.NO_LEADER_EPOCH,
    transactional: bool = False,
    control: bool = False,
    log_append_time: int | None = None,
    delete_horizon: int | None = None,
) -> bytearray:
    """A complete v2 batch with its CRC. It is writable, so that it can be stamped.

    A record is a :class:`Record` or a tuple of its arguments: ``(key, value)``, ``(key, value, timestamp)``,
    ``(key, value, timestamp, headers)``. A record with an offset keeps it, also with gaps between offsets, as
    compaction leaves them. A record without one gets the next offset.

    :param base_offset: the batch's; by default the first record's offset, or 0. It may be lower than the
        first record's, if compaction has removed records.
    :param last_offset: the batch's; by default the last record's. A batch without records needs it.
    :param level: the codec's level; by default that of Kafka's clients.
    :param log_append_time: milliseconds, the time of all records for readers. The records keep their own
        timestamps, as with :func:`set_log_append_time`.
    :param delete_horizon: milliseconds. It becomes the base timestamp, to which the records' timestamps are
        relative (KIP-534).
    :raises ValueError: the offsets do not rise, are outside the batch or span more than 2**31; or there are
        neither records nor ``last_offset``.
    :raises InvalidTimestamp: a timestamp, or its distance from the base timestamp, does not fit 64 bits.
    :raises UnsupportedCompressionType: the codec is unknown.
    """
    items = [item if isinstance(item, Record) else Record(*item) for item in records]
    first = items[0].offset if items else -1
    base = base_offset if base_offset is not None else max(first, 0)
    base_timestamp = max_timestamp = v2.NO_TIMESTAMP
    if items:
        times = [item.timestamp for item in items]
        latest, earliest = max(times), min(times)
        max_timestamp = latest if log_append_time is None else log_append_time
        base_timestamp = times[0] if delete_horizon is None else delete_horizon
        reach = (earliest, latest, max_timestamp, earliest - base_timestamp, latest - base_timestamp)
        if not MIN_INT64 <= min(reach) <= max(reach) <= MAX_INT64:
            raise InvalidTimestamp(f"timestamps from {earliest} to {latest} do not fit 64 bits")
    elif delete_horizon is not None:
        base_timestamp = delete_horizon

    parts: list[bytes] = []
    previous = -1
    for item in items:
        delta = item.offset - base if item.offset >= 0 else previous + 1
        if delta <= previous:
            raise ValueError(
                f"record at offset {base + delta} after one at {base + previous}, base offset {base}"
            )
        previous = delta
        body = _body(item.timestamp - base_timestamp, delta, item)
        parts += encode_varint(len(body)), body
    if last_offset is not None:
        if last_offset - base < previous:
            raise ValueError(f"last offset {last_offset}, and a record at {base + previous}")
        previous = last_offset - base
    if not 0 <= previous <= 0x7FFF_FFFF:
        raise ValueError(f"a batch from offset {base} to {base + previous}")

    attributes = (
        Codec.of_number(codec)
        | (v2.LOG_APPEND_TIME if log_append_time is not None else 0)
        | (v2.TRANSACTIONAL if transactional else 0)
        | (v2.CONTROL if control else 0)
        | (v2.DELETE_HORIZON if delete_horizon is not None else 0)
    )
    if not items:
        attributes &= ~v2.CODEC_MASK  # without records there is no codec, as after Kafka's compaction
    payload = compress(attributes & v2.CODEC_MASK, b"".join(parts), level)
    out = bytearray(v2.HEADER_SIZE)
    out += payload
    v2.HEADER.pack_into(
        out,
        0,
        base,
        v2.HEADER_SIZE - v2.LOG_OVERHEAD + len(payload),
        leader_epoch,
        2,
        0,
        attributes,
        previous,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        len(items),
    )
    _CRC.pack_into(out, v2.CRC_AT, crc32c(memoryview(out)[v2.ATTRIBUTES_AT :]))
    return out


def _body(timestamp_delta: int, offset_delta: int, record: Record) -> bytes:
    """A record without its length."""
    key, value = record.key, record.value
    return b"".join(
        (
            b"\x00",
            encode_varint(timestamp_delta),
            encode_varint(offset_delta),
            *((_NULL,) if key is None else (encode_varint(len(key)), key)),
            *((_NULL,) if value is None else (encode_varint(len(value)), value)),
            _headers(record.headers) if record.headers else _ZERO,
        )
    )


def _headers(headers: tuple[Header, ...]) -> bytes:
    parts = [encode_varint(len(headers))]
    for key, value in headers:
        name = key.encode("utf-8", "surrogateescape")
        parts += encode_varint(len(name)), name
        if value is None:
            parts.append(_NULL)
        else:
            parts += encode_varint(len(value)), value
    return b"".join(parts)
