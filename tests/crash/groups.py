"""Clients of groups: one that commits offsets, and members that read and commit what they have read."""

from __future__ import annotations

import threading

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tests.crash.clients import CLIENT, Worker
from tests.crash.records import Wrong


class Committing(Worker):
    """Commits rising offsets. ``least``: acknowledged or seen last; ``most``: asked last."""

    def __init__(self, bootstrap: str, topic: str, partitions: range) -> None:
        super().__init__()
        self._topic = topic
        self._partitions = partitions
        self.least = 0
        self.most = 0
        self.commits = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "committers",
                "enable.auto.commit": False,
                **CLIENT,
            }
        )

    def work(self) -> None:
        while not self._end.is_set():
            self._compare()
            self.most += 1
            try:
                done = self._consumer.commit(offsets=self._places(self.most), asynchronous=False)
            except KafkaException:
                continue
            if done and all(place.error is None for place in done):
                self.least = self.most
                self.commits += 1
            self._end.wait(0.002)
        self._compare()
        self._consumer.close()

    def _places(self, offset: int) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition in self._partitions]

    def _compare(self) -> None:
        """One commit has all partitions, so one of them stands for all."""
        least, most = self.least, self.most
        try:
            committed = self._consumer.committed(self._places(0), timeout=2.0)
        except KafkaException:
            return
        for place in committed:
            if place.error is None:
                if not least <= max(place.offset, 0) <= most:
                    raise Wrong(f"{place} is committed; {least} was acknowledged or seen, {most} asked last")
                self.least = max(self.least, place.offset)


class Places:
    """How far the members of one group have come in a topic from which nothing goes."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.commits = 0
        self.seen = 0
        self._lock = threading.Lock()
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def got(self, messages: list[Message], fresh: set[int]) -> dict[int, int]:
        """What a member got, that has just been given the partitions ``fresh``; the places after it.

        :raises Wrong: records were skipped, or what was acknowledged as committed is read again.
        """
        after: dict[int, int] = {}
        with self._lock:
            for message in messages:
                partition, offset = message.partition(), message.offset()
                assert partition is not None and offset is not None
                place = f"group: {self.topic} partition {partition} offset {offset}"
                if offset > self._next.get(partition, 0):
                    raise Wrong(f"{place}: it was read to {self._next.get(partition, 0)} only")
                if partition in fresh:
                    fresh.discard(partition)
                    if offset < self._committed.get(partition, 0):
                        raise Wrong(f"{place} again: {self._committed[partition]} was acknowledged")
                self._next[partition] = max(self._next.get(partition, 0), offset + 1)
                after[partition] = offset + 1
                self.seen += 1
        return after

    def committed(self, places: dict[int, int]) -> None:
        """This was acknowledged."""
        with self._lock:
            self.commits += 1
            for partition, offset in places.items():
                self._committed[partition] = max(self._committed.get(partition, 0), offset)


class Following(Worker):
    """A member: reads, and commits what it has read."""

    def __init__(self, bootstrap: str, places: Places) -> None:
        super().__init__()
        self._places = places
        self._fresh: set[int] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "followers",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 500,
                "fetch.wait.max.ms": 50,
                "topic.metadata.refresh.interval.ms": 1_000,
                **CLIENT,
            }
        )

    def work(self) -> None:
        self._consumer.subscribe([self._places.topic], on_assign=self._assigned)
        while not self._end.is_set():
            messages = [message for message in self._consumer.consume(200, 0.1) if not message.error()]
            if not messages:
                continue
            after = self._places.got(messages, self._fresh)
            try:
                self._consumer.commit(
                    offsets=[TopicPartition(self._places.topic, p, offset) for p, offset in after.items()],
                    asynchronous=False,
                )
            except KafkaException:
                continue  # it may have been done all the same
            self._places.committed(after)
        self._consumer.close()

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._fresh = {place.partition for place in partitions}
