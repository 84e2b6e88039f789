"""Finds the partitions of a Produce that is too large while its bytes are dropped, to refuse each partition.

The answer has to name every partition. The Java client waits for a missing one until its delivery.timeout.ms,
and then fails the batch as one that may be stored.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator
from typing import Final, TypeAlias

from kgw_core.wire.failures import Bad
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kgw_core.wire.primitives import MAX_STRING

TRANSACTIONAL, FLEXIBLE, BY_ID = 3, 9, 13
MOST_PARTITIONS: Final = 1000
"""A request with more partitions is not followed to its end."""
MOST_KEPT: Final = 48 << 10
"""The most bytes of the request's topics."""
MOST_TAGS: Final = 10
"""The most tagged fields in one place; no version has any."""
_TOPIC: Final = 256
"""Bytes of a topic beside its name."""

Steps: TypeAlias = Generator[int, bytes, None]
"""Each yield requests a number of bytes; a negative number skips them."""


class Walk:
    """Reads the body of a ProduceRequest in pieces and skips the batches.

    ``acks`` is None until it is known. ``partitions`` counts those found so far; ``whole`` is set once all
    are.
    """

    __slots__ = (
        "_flexible",
        "_have",
        "_kept",
        "_left",
        "_steps",
        "_topics",
        "_version",
        "acks",
        "partitions",
        "whole",
    )

    def __init__(self, version: int) -> None:
        self.acks: int | None = None
        self.partitions = 0
        self.whole = False
        self._version = version
        self._flexible = version >= FLEXIBLE
        self._topics: list[tuple[str, bytes, array[int]]] = []
        self._kept = 0
        self._have = bytearray()
        self._steps = self._walk()
        self._left = next(self._steps)

    def feed(self, data: memoryview) -> None:
        """Take the next bytes. :raises Bad: they are no Produce, or it has too many partitions."""
        at = 0
        while at < len(data) and not self.whole:
            left = self._left
            if left < 0:
                step = min(-left, len(data) - at)
                self._left += step
            else:
                step = min(left - len(self._have), len(data) - at)
                self._have += data[at : at + step]
            at += step
            if self._left == len(self._have):
                self._go_on()

    def _go_on(self) -> None:
        have = bytes(self._have)
        self._have.clear()
        try:
            self._left = self._steps.send(have)
            while self._left == 0:
                self._left = self._steps.send(b"")
        except StopIteration:
            self.whole = True

    def request(self) -> ProduceRequest:
        """A request with all partitions found, without their batches."""
        return ProduceRequest(
            None,
            -1 if self.acks is None else self.acks,
            0,
            [
                TopicProduceData(name, topic_id, [PartitionProduceData(index) for index in indexes])
                for name, topic_id, indexes in self._topics
            ],
        )

    # -- its fields

    def _walk(self) -> Steps:
        if self._version >= TRANSACTIONAL:
            yield from self._string(nullable=True)
        self.acks = int.from_bytes((yield 2), "big", signed=True)
        yield -4  # timeout_ms
        for _ in range((yield from self._count())):
            name, topic_id = "", bytes(16)
            if self._version >= BY_ID:
                topic_id = yield 16
            else:
                name = yield from self._string()
            indexes = array("i")
            self._topics.append((name, topic_id, indexes))
            self._kept += _TOPIC + len(name)
            count = yield from self._count()
            self.partitions += count
            if self.partitions > MOST_PARTITIONS or self._kept > MOST_KEPT:
                raise Bad("it has too many partitions to name each in an answer")
            for _ in range(count):
                indexes.append(int.from_bytes((yield 4), "big", signed=True))
                records = yield from self._length(4)
                if records > 0:
                    yield -records
                yield from self._tags()
            yield from self._tags()

    def _length(self, size: int) -> Generator[int, bytes, int]:
        """The length of the next field; -1 for null."""
        if self._flexible:
            return (yield from _uvarint()) - 1
        return int.from_bytes((yield size), "big", signed=True)

    def _count(self) -> Generator[int, bytes, int]:
        count = yield from self._length(4)
        if count < 0:
            raise Bad("an array is null")
        return count

    def _string(self, *, nullable: bool = False) -> Generator[int, bytes, str]:
        length = yield from self._length(2)
        if length > MAX_STRING or (length < 0 and not nullable):
            raise Bad("a string runs over")
        return str((yield length), "utf-8") if length > 0 else ""

    def _tags(self) -> Steps:
        if self._flexible:
            count = yield from _uvarint()
            if count > MOST_TAGS:
                raise Bad("it has tagged fields that no version has")
            for _ in range(count):
                yield from _uvarint()
                yield -(yield from _uvarint())


def _uvarint() -> Generator[int, bytes, int]:
    value = 0
    for shift in range(0, 35, 7):
        (byte,) = yield 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise Bad("a number runs over")
