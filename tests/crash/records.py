"""The records of the producers. Each has its producer and a check of its content."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from confluent_kafka import Message

_HEAD = struct.Struct(">HHII")  # producer, partition, number, crc32 of what follows
KEYS = 61
"""Different keys in a partition of the compacted topic."""

Headers = list[tuple[str, bytes | None]]


class Wrong(AssertionError):
    """The log is not what was promised."""


class Entry(NamedTuple):
    """Whose record it is. Numbers count one producer's records in one partition."""

    producer: int
    number: int


def value(producer: int, partition: int, number: int, size: int) -> bytes:
    """The value of a producer's record, at least 12 bytes."""
    body = (b"%d.%d.%d." % (producer, partition, number)) * (size // 6 + 1)
    body = body[: max(0, size - _HEAD.size)]
    return _HEAD.pack(producer, partition, number, zlib.crc32(body)) + body


def key(number: int) -> bytes | None:
    return None if number % 5 == 0 else b"key-%d" % (number % 97)


def headers(producer: int, number: int) -> Headers | None:
    return None if number % 3 else [("producer", b"%d" % producer), ("empty", b""), ("null", None)]


def checked(message: Message) -> Entry:
    """What the record is. :raises Wrong: key, value or headers are not as they were sent."""
    entry = _of(message.value(), message)
    _compare(message, key(entry.number), headers(*entry))
    return entry


# -- of the compacted topic: each has a key, some are tombstones


def compacted_key(number: int) -> bytes:
    return b"key-%d" % (number * 37 % KEYS)


def is_tombstone(number: int) -> bool:
    return number % 11 == 3


def compacted_headers(producer: int, number: int) -> Headers:
    return [("of", b"%d.%d" % (producer, number))]


def compacted_checked(message: Message) -> Entry:
    """The same for a record of the compacted topic."""
    found = message.headers() or [("", b"")]
    told = found[0][1]
    producer, number = map(int, (told if isinstance(told, bytes) else b"-1.-1").split(b"."))
    entry = Entry(producer, number)
    _compare(message, compacted_key(number), compacted_headers(*entry))
    data = message.value()
    if data is None and is_tombstone(number):
        return entry
    if _of(data, message) != entry or is_tombstone(number):
        raise Wrong(f"{_place(message)}: the value is not that of {entry}")
    return entry


def _of(data: bytes | str | None, message: Message) -> Entry:
    if not isinstance(data, bytes) or len(data) < _HEAD.size:
        raise Wrong(f"{_place(message)}: the value is not what was sent")
    producer, partition, number, crc = _HEAD.unpack_from(data)
    if partition != message.partition() or zlib.crc32(memoryview(data)[_HEAD.size :]) != crc:
        raise Wrong(f"{_place(message)}: the value is not what was sent")
    return Entry(producer, number)


def _compare(message: Message, wanted: bytes | None, sent: Headers | None) -> None:
    if message.key() != wanted or message.headers() != sent:
        raise Wrong(
            f"{_place(message)}: key {message.key()!r} or headers {message.headers()!r} are not what was sent"
        )


def _place(message: Message) -> str:
    return f"{message.topic()} partition {message.partition()} offset {message.offset()}"
