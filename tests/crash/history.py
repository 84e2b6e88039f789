"""Compares the answers to clients with the logs. There is one class for each kind of topic."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable

from confluent_kafka import Message

from tests.crash.records import (
    Entry,
    Wrong,
    checked,
    compacted_checked,
    compacted_key,
    is_tombstone,
)


class History(ABC):
    """Of one topic. ``idempotent``: the producers whose records have to be there once, and in order.

    ``acknowledged`` is what producers were told, by partition and offset; ``log`` what was ever read there.
    ``implied``: by partition and producer, the highest number that was acknowledged without an offset, which
    librdkafka
    does where the answer was lost and a later request of the same producer was acknowledged.
    """

    def __init__(self, topic: str, partitions: int, idempotent: Iterable[int]) -> None:
        self.topic = topic
        self.partitions = range(partitions)
        self.acknowledged: dict[int, dict[int, Entry]] = {p: {} for p in self.partitions}
        self.log: dict[int, dict[int, Entry]] = {p: {} for p in self.partitions}
        self.implied: dict[tuple[int, int], int] = {}
        self.duplicates = 0
        self._idempotent = set(idempotent)
        self._lock = threading.Lock()

    def told(self, producer: int, partition: int, number: int, offset: int | None) -> None:
        """A producer was told that its record is at ``offset``; None: that it is there."""
        entry = Entry(producer, number)
        with self._lock:
            if offset is None:
                if producer not in self._idempotent:
                    raise Wrong(f"{self.topic} partition {partition}: {entry} was acknowledged nowhere")
                self.implied[partition, producer] = number
                return
            known = self.acknowledged[partition].setdefault(offset, entry)
        if known != entry:
            raise Wrong(f"{self.place(partition, offset)} was acknowledged to {known} and to {entry}")

    def known(self) -> dict[int, dict[int, Entry]]:
        """A copy of ``acknowledged``: what has to be in a log that is read after this."""
        with self._lock:
            return {partition: entries.copy() for partition, entries in self.acknowledged.items()}

    def count(self) -> int:
        """Records that were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def begin(self, partition: int, start: int) -> int:
        """The offset to read from, in a log that begins at ``start``."""
        return start

    @abstractmethod
    def found(self, message: Message) -> None:
        """The log's next record. :raises Wrong: it must not be there."""

    @abstractmethod
    def read(self, partition: int, start: int, end: int, known: dict[int, Entry]) -> None:
        """A partition was read from ``begin()`` to ``end``; ``known`` was acknowledged before.

        :raises Wrong: something is missing.
        """

    def place(self, partition: int, offset: int) -> str:
        return f"{self.topic} partition {partition} offset {offset}"

    def _keep(self, partition: int, offset: int, entry: Entry) -> None:
        known = self.log[partition].setdefault(offset, entry)
        if known != entry:
            raise Wrong(f"{self.place(partition, offset)} has {entry}, and had {known}")


class Order:
    """That of the records in one partition. An idempotent producer's come once each, in the order in which
    it sent them; a plain one's may come again, or late, when a request is refused and sent again behind
    others. ``gaps``: some may have gone."""

    def __init__(self, place: str, idempotent: set[int], *, gaps: bool) -> None:
        self._place = place
        self._idempotent = idempotent
        self._gaps = gaps
        self._highest: dict[int, int] = {}
        self._plain: dict[int, set[int]] = defaultdict(set)
        self.duplicates = 0

    def next(self, offset: int, entry: Entry) -> None:
        """:raises Wrong: this one must not come here."""
        producer, number = entry
        if producer not in self._idempotent:
            self.duplicates += number in self._plain[producer]
            self._plain[producer].add(number)
            return
        highest = self._highest.get(producer, -1)
        if number > highest + 1 and not self._gaps:
            raise Wrong(f"{self._place}: {entry} at offset {offset} comes after number {highest}")
        if number <= highest:
            raise Wrong(f"{self._place}: {entry} at offset {offset} is there again, or late")
        self._highest[producer] = number

    def begin(self, entry: Entry) -> None:
        """What its producer sent before it has gone."""
        self._highest.setdefault(entry.producer, entry.number - 1)

    def count(self, producer: int) -> int:
        """How many different records of it there were."""
        return len(self._plain[producer]) or self._highest.get(producer, -1) + 1


class Whole(History):
    """A topic from which nothing goes; each read goes on where the last one ended."""

    def __init__(self, topic: str, partitions: int, idempotent: Iterable[int]) -> None:
        super().__init__(topic, partitions, idempotent)
        self.orders = {
            p: Order(f"{topic} partition {p}", self._idempotent, gaps=False) for p in self.partitions
        }

    def begin(self, partition: int, start: int) -> int:
        return len(self.log[partition])

    def found(self, message: Message) -> None:
        partition, offset = _at(message)
        if offset != len(self.log[partition]):
            raise Wrong(f"{self.place(partition, offset)} follows {len(self.log[partition]) - 1}")
        entry = checked(message)
        self._keep(partition, offset, entry)
        self.orders[partition].next(offset, entry)

    def read(self, partition: int, start: int, end: int, known: dict[int, Entry]) -> None:
        log = self.log[partition]
        if start or end != len(log):
            raise Wrong(f"{self.topic} partition {partition} has {start} to {end}; {len(log)} were read")
        for offset, entry in known.items():
            if offset >= end:
                raise Wrong(f"{self.place(partition, offset)} was told to {entry}, but the log ends before")
            if log[offset] != entry:
                raise Wrong(f"{self.place(partition, offset)} has {log[offset]}, not {entry}")
        self.duplicates = sum(order.duplicates for order in self.orders.values())


class Trimmed(History):
    """A topic from whose front records go, by retention and by requests. ``trimmed``: up to which offset the
    latter were acknowledged."""

    def __init__(self, topic: str, partitions: int, idempotent: Iterable[int]) -> None:
        super().__init__(topic, partitions, idempotent)
        self.trimmed = dict.fromkeys(self.partitions, 0)
        self.starts = dict.fromkeys(self.partitions, 0)
        self._orders: dict[int, Order] = {}
        self._next: dict[int, int] = {}

    def begin(self, partition: int, start: int) -> int:
        self._orders[partition] = Order(f"{self.topic} partition {partition}", self._idempotent, gaps=False)
        self._next.pop(partition, None)
        return start

    def found(self, message: Message) -> None:
        partition, offset = _at(message)
        entry = checked(message)
        if offset != self._next.get(partition, offset):
            raise Wrong(f"{self.place(partition, offset)} follows {self._next[partition] - 1}")
        self._next[partition] = offset + 1
        self._keep(partition, offset, entry)
        self._orders[partition].begin(entry)
        self._orders[partition].next(offset, entry)

    def read(self, partition: int, start: int, end: int, known: dict[int, Entry]) -> None:
        if start < self.starts[partition]:
            raise Wrong(
                f"{self.topic} partition {partition} began at {self.starts[partition]}, now at {start}"
            )
        if end < start or (end > start and self._next.get(partition) != end):
            raise Wrong(f"{self.topic} partition {partition} ends at {end}, but was read to {self._next}")
        self.starts[partition] = start
        log = self.log[partition]
        for offset, entry in known.items():
            if offset >= end:
                raise Wrong(f"{self.place(partition, offset)} was told to {entry}, but the log ends before")
            if offset >= start and log.get(offset) != entry:
                raise Wrong(f"{self.place(partition, offset)} has {log.get(offset)}, not {entry}")


class Compacted(History):
    """A topic that is compacted, with one producer: of each key the last record is there, unless it was a
    tombstone."""

    def __init__(self, topic: str, partitions: int, producer: int) -> None:
        super().__init__(topic, partitions, {producer})
        self.sent = dict.fromkeys(self.partitions, 0)
        """How many records were sent to each partition, acknowledged or not."""
        self.left = dict.fromkeys(self.partitions, 0)
        """How many were there when it was read last."""
        self._producer = producer
        self._orders: dict[int, Order] = {}
        self._now: dict[int, dict[int, Entry]] = defaultdict(dict)

    def begin(self, partition: int, start: int) -> int:
        self._orders[partition] = Order(f"{self.topic} partition {partition}", self._idempotent, gaps=True)
        self._now[partition] = {}
        return start

    def found(self, message: Message) -> None:
        partition, offset = _at(message)
        entry = compacted_checked(message)
        self._keep(partition, offset, entry)
        self._orders[partition].next(offset, entry)
        self._now[partition][offset] = entry

    def missing(self, partition: int, known: dict[int, Entry]) -> list[str]:
        """The records of ``known`` that are missing and were not replaced by a later record of their key."""
        latest = {compacted_key(entry.number): entry.number for entry in self._now[partition].values()}
        tombstones: dict[bytes, int] = {}
        for number in range(self.sent[partition]):
            if is_tombstone(number):
                tombstones[compacted_key(number)] = number
        missing = []
        for offset, entry in known.items():
            there = self.log[partition].get(offset)
            if there is not None and there != entry:
                raise Wrong(f"{self.place(partition, offset)} has {there}, not {entry}")
            name = compacted_key(entry.number)
            if latest.get(name, -1) >= entry.number:
                continue
            if name not in latest and tombstones.get(name, -1) >= entry.number:
                continue
            missing.append(
                f"{self.place(partition, offset)}: {entry} of {name!r}; the last there is {latest.get(name)}"
            )
        return missing

    def read(self, partition: int, start: int, end: int, known: dict[int, Entry]) -> None:
        self.left[partition] = len(self._now[partition])
        missing = self.missing(partition, known)
        if start or missing:
            raise Wrong(f"begins at {start}; {len(missing)} missing: {'; '.join(missing[:5])}")


def _at(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None
    return partition, offset
