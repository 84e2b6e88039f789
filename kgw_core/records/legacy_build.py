"""Builds message sets of formats v0 and v1, which :mod:`kgw_core.records.legacy` describes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from zlib import crc32

from kgw_core.errors import UnsupportedCompressionType
from kgw_core.records.batch import LOG_APPEND_TIME
from kgw_core.records.compression import Codec, compress
from kgw_core.records.lz4_legacy import with_wrong_checksum
from kgw_core.records.record import Record

_HEAD = struct.Struct(">qiI")
_V0 = struct.Struct(">bbi")
_V1 = struct.Struct(">bbqi")
_INT32 = struct.Struct(">i")
_NULL = _INT32.pack(-1)


def build_message_set(
    records: Sequence[Record],
    magic: int,
    *,
    codec: Codec = Codec.NONE,
    log_append_time: int | None = None,
) -> bytes:
    """A message set of records with their offsets: single messages, or one wrapper message with a codec.

    Headers are left out, and in v0 timestamps too.

    :param log_append_time: milliseconds. All records get this time, flagged as the broker's.
    :raises UnsupportedCompressionType: these formats do not have zstd (KIP-110).
    """
    if codec > Codec.LZ4:
        raise UnsupportedCompressionType(f"message format v{magic} cannot hold {codec.label}")
    attributes = LOG_APPEND_TIME if log_append_time is not None and magic else 0
    times = [record.timestamp if log_append_time is None else log_append_time for record in records]
    base = records[0].offset if codec and records and magic else 0  # offsets in a v1 wrapper are relative
    plain = b"".join(
        [
            _message(record.offset - base, magic, attributes, time, record.key, record.value)
            for record, time in zip(records, times, strict=True)
        ]
    )
    if not codec or not records:
        return plain
    value = compress(codec, plain)
    if codec == Codec.LZ4 and magic == 0:
        value = with_wrong_checksum(value)
    return _message(records[-1].offset, magic, attributes | codec, max(times), None, value)


def _message(
    offset: int, magic: int, attributes: int, timestamp: int, key: bytes | None, value: bytes | None
) -> bytes:
    key_length = -1 if key is None else len(key)
    head = _V1.pack(1, attributes, timestamp, key_length) if magic else _V0.pack(0, attributes, key_length)
    body = b"".join((head, key or b"", *((_NULL,) if value is None else (_INT32.pack(len(value)), value))))
    return _HEAD.pack(offset, len(body) + 4, crc32(body)) + body
