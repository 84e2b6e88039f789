"""Record batches written byte by byte, so that any part of one can be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from crc32c import crc32c

from kgw_core.records.batch import (
    ATTRIBUTES_AT,
    CRC_AT,
    HEADER,
    HEADER_SIZE,
    LOG_OVERHEAD,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
)
from kgw_core.records.compression import Codec, compress
from kgw_core.records.varint import encode_varint

ENDLESS = b"\xff" * 11
"""A varint of which every byte says that another one follows."""

RawHeader = tuple[bytes | int, bytes | int, bytes | int, bytes]
"""Length of the key, the key, length of the value, the value."""


def varint(number: bytes | int) -> bytes:
    """A number zigzagged; bytes as they are."""
    return number if isinstance(number, bytes) else encode_varint(number)


def header(
    key: bytes = b"h", value: bytes = b"w", *, key_length: bytes | int | None = None,
    value_length: bytes | int | None = None,
) -> bytes:  # fmt: skip
    """One header of a record; a length that is left out is the right one."""
    return b"".join(
        (
            varint(len(key) if key_length is None else key_length),
            key,
            varint(len(value) if value_length is None else value_length),
            value,
        )
    )


def record(
    offset: bytes | int = 0,
    key: bytes = b"key",
    value: bytes = b"value",
    *,
    headers: Sequence[bytes] = (),
    time: bytes | int = 0,
    attributes: int = 0,
    length: bytes | int | None = None,
    key_length: bytes | int | None = None,
    value_length: bytes | int | None = None,
    header_count: bytes | int | None = None,
    longer: int = 0,
    after: bytes = b"",
) -> bytes:
    """One record; a length or count that is left out is the right one. ``time`` and ``offset`` are deltas,
    ``longer`` is added to the right length, ``after`` is inside the record, after its headers."""
    body = b"".join(
        (
            bytes((attributes,)),
            varint(time),
            varint(offset),
            varint(len(key) if key_length is None else key_length),
            key,
            varint(len(value) if value_length is None else value_length),
            value,
            varint(len(headers) if header_count is None else header_count),
            *headers,
            after,
        )
    )
    return varint(len(body) + longer if length is None else length) + body


def batch(
    payload: bytes,
    now: int,
    *,
    count: int = 1,
    last_delta: int | None = None,
    codec: int = Codec.NONE,
    attributes: int = 0,
    base_time: int | None = None,
    max_time: int | None = None,
    base_offset: int = 0,
    producer: tuple[int, int, int] = (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE),
    crc: int | None = None,
    packed: bytes | None = None,
    magic: int = 2,
    length: int | None = None,
) -> bytes:
    """One batch around ``payload``, which is compressed unless ``packed`` takes its place.

    ``now`` in ms is the base and the max timestamp unless they are given. The CRC fits unless it is given.
    """
    if packed is None:
        packed = compress(codec, payload)
    base_time = now if base_time is None else base_time
    data = bytearray(HEADER_SIZE) + packed
    HEADER.pack_into(
        data, 0, base_offset, len(data) - LOG_OVERHEAD if length is None else length, -1, magic, 0,
        attributes | codec, count - 1 if last_delta is None else last_delta,
        base_time, base_time if max_time is None else max_time, *producer, count,
    )  # fmt: skip
    found = crc32c(memoryview(data)[ATTRIBUTES_AT:]) if crc is None else crc
    data[CRC_AT:ATTRIBUTES_AT] = found.to_bytes(4, "big")
    return bytes(data)
