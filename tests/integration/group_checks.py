"""Checks of groups with members of any client (``group_members.Member``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

Record = tuple[int, int]
"""Partition and offset."""


class AnyMember(Protocol):
    """``assigned``: its partitions now. ``seen``: each record that it got, in order."""

    assigned: frozenset[int]
    seen: list[Record]
    failure: BaseException | None

    def ask_to_stop(self) -> None: ...

    def stop(self) -> None: ...


def make_topic(bootstrap: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)


def produce(bootstrap: str, topic: str, partitions: int, each: int = 5) -> int:
    """``each`` records into each partition; how many that is."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    for index in range(partitions * each):
        producer.produce(topic, b"%d" % index, partition=index % partitions)
    assert producer.flush(10) == 0
    return partitions * each


def settled(members: Sequence[AnyMember], partitions: int) -> Callable[[], bool]:
    """Whether every partition has one owner, and every member a part, if there are parts enough."""

    def holds() -> bool:
        for member in members:
            if member.failure is not None:
                raise member.failure
        owned = [partition for member in members for partition in member.assigned]
        having = sum(bool(member.assigned) for member in members)
        return sorted(owned) == list(range(partitions)) and having == min(len(members), partitions)

    return holds


@contextmanager
def stopping(members: Sequence[Any]) -> Iterator[None]:
    """Has all that are in ``members`` at the end leave their group."""
    try:
        yield
    finally:
        for member in members:
            member.ask_to_stop()
        for member in members:
            member.stop()


def seen(members: Sequence[AnyMember]) -> list[Record]:
    return sorted(record for member in members for record in member.seen)


def each_once(count: int, partitions: int) -> list[Record]:
    """What :func:`seen` is where each of so many records was seen once."""
    return sorted((index % partitions, index // partitions) for index in range(count))
