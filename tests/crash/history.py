"""What clients were told, what the log says, and whether the two agree."""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from typing import NamedTuple

from confluent_kafka import Message

_HEAD = struct.Struct(">HHII")  # producer, partition, number, crc32 of what follows


class Entry(NamedTuple):
    """A record as the log has it."""

    producer: int
    number: int


def value(producer: int, partition: int, number: int, size: int) -> bytes:
    """The value of a producer's record: it tells whose it is, and whether it is whole. At least 10 bytes."""
    body = (b"%d.%d.%d." % (producer, partition, number)) * (size // 6 + 1)
    body = body[: max(0, size - _HEAD.size)]
    return _HEAD.pack(producer, partition, number, zlib.crc32(body)) + body


class Wrong(AssertionError):
    """The log is not what was promised."""


class History:
    """Of one topic. ``idempotent``: the producers whose records have to be there once."""

    def __init__(self, partitions: int, idempotent: set[int]) -> None:
        self.partitions = partitions
        self._idempotent = idempotent
        self.acknowledged: dict[int, dict[int, Entry]] = {p: {} for p in range(partitions)}
        self.log: dict[int, list[Entry]] = {p: [] for p in range(partitions)}
        self._highest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
        self.duplicates = 0

    def told(self, producer: int, partition: int, number: int, offset: int) -> None:
        """A producer was told that its record is at ``offset``."""
        known = self.acknowledged[partition].setdefault(offset, Entry(producer, number))
        if known != (producer, number):
            raise Wrong(f"offset {offset} of {partition} acknowledged to {known} and {producer, number}")

    def found(self, message: Message) -> None:
        """The log's next record."""
        partition, offset = message.partition(), message.offset()
        entries = self.log[partition]
        if offset != len(entries):
            raise Wrong(f"partition {partition}: offset {offset} follows {len(entries) - 1}")
        entry = self._checked(message)
        entries.append(entry)
        highest = self._highest[partition, entry.producer]
        if entry.number > highest + 1:
            raise Wrong(f"partition {partition}: {entry} at {offset} comes after number {highest}")
        if entry.number <= highest:
            if entry.producer in self._idempotent:
                raise Wrong(f"partition {partition}: {entry} is at {offset} again")
            self.duplicates += 1
        self._highest[partition, entry.producer] = max(highest, entry.number)

    @staticmethod
    def _checked(message: Message) -> Entry:
        """:raises Wrong: key, value or headers are not as they were sent."""
        data = message.value()
        place = f"partition {message.partition()} offset {message.offset()}"
        producer, partition, number, crc = _HEAD.unpack_from(data)
        if partition != message.partition() or zlib.crc32(memoryview(data)[_HEAD.size :]) != crc:
            raise Wrong(f"{place}: the value is not what was sent")
        if message.key() != key(number) or message.headers() != headers(producer, number):
            raise Wrong(
                f"{place}: key {message.key()!r} or headers {message.headers()!r} are not what was sent"
            )
        return Entry(producer, number)

    def check(self, *, all_read: bool) -> None:
        """Everything that was acknowledged is where it was told to be; as far as the log was read, or all."""
        for partition, acknowledged in self.acknowledged.items():
            entries = self.log[partition]
            for offset, entry in acknowledged.copy().items():
                if offset >= len(entries) and not all_read:
                    continue
                if offset >= len(entries):
                    raise Wrong(
                        f"partition {partition}: {entry} was told offset {offset}, but the log ends before"
                    )
                if entries[offset] != entry:
                    raise Wrong(f"partition {partition}: offset {offset} has {entries[offset]}, not {entry}")

    def count(self) -> int:
        """Records that were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def lasts(self) -> dict[tuple[int, int], int]:
        """The highest number in the log, by partition and producer."""
        return dict(self._highest)


def key(number: int) -> bytes | None:
    return None if number % 5 == 0 else b"key-%d" % (number % 97)


def headers(producer: int, number: int) -> list[tuple[str, bytes | None]] | None:
    return None if number % 3 else [("producer", b"%d" % producer), ("empty", b""), ("null", None)]
