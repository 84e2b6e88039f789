"""Clients that work while the gateway dies: producers, one that commits offsets, one that makes topics."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.crash.history import History, Wrong, headers, key, value

TOPIC = "crash"
SIZES = (10, 100, 1_000, 10_000, 50_000, 200_000)
WEIGHTS = (40, 30, 20, 6, 3, 1)
PAUSE = 0.01
"""Seconds after eight records: the test is of many deaths, not of much data."""


class Kind(NamedTuple):
    """A producer: what it is called and its settings."""

    name: str
    options: dict[str, Any]

    @property
    def idempotent(self) -> bool:
        return bool(self.options.get("enable.idempotence"))


KINDS = (
    Kind("idempotent", {"enable.idempotence": True, "linger.ms": 2}),
    Kind("idempotent lz4", {"enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20}),
    Kind("plain", {"max.in.flight": 1, "linger.ms": 0}),
    Kind("plain zstd", {"max.in.flight": 1, "compression.type": "zstd", "linger.ms": 10, "acks": 1}),
)


class Worker:
    """A thread that goes on until it is told to end. ``problem``: what it met that must not be."""

    def __init__(self) -> None:
        self.problem: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """:raises AssertionError: it does not end; else whatever it met."""
        self._end.set()
        self._thread.join(120.0)
        assert not self._thread.is_alive(), f"{self} does not end"
        self.check()

    def check(self) -> None:
        if self.problem is not None:
            raise self.problem

    def _guarded(self) -> None:
        try:
            self.work()
        except BaseException as problem:
            self.problem = problem

    def work(self) -> None:
        raise NotImplementedError


class Producing(Worker):
    """Sends numbered records to every partition, and notes what it is told of them."""

    def __init__(self, number: int, bootstrap: str, history: History, seed: int) -> None:
        super().__init__()
        self._number = number
        self._history = history
        self._chance = random.Random(seed)
        self.kind = KINDS[number]
        self.sent = dict.fromkeys(range(history.partitions), 0)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "message.timeout.ms": 0,
                "retries": 1_000_000,
                "retry.backoff.ms": 20,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 100,
                "socket.timeout.ms": 5_000,
                "queue.buffering.max.kbytes": 4_096,
                "log_level": 0,
                "error_cb": self._failed,
                **self.kind.options,
            }
        )

    def _failed(self, error: Any) -> None:
        if error.fatal() and self.problem is None:
            self.problem = Wrong(f"{self.kind.name}: {error}")

    def work(self) -> None:
        while not self._end.is_set() and self.problem is None:
            partition = self._chance.randrange(self._history.partitions)
            number = self.sent[partition]
            try:
                self._producer.produce(
                    TOPIC,
                    value(self._number, partition, number, self._size()),
                    key=key(number),
                    headers=headers(self._number, number),
                    partition=partition,
                    on_delivery=self._noting(number),
                )
            except BufferError:
                self._producer.poll(0.02)
                continue
            self.sent[partition] += 1
            self._producer.poll(0)
            if number % 8 == 0:
                self._end.wait(PAUSE)
        left = self._producer.flush(60.0)
        if left:
            raise Wrong(f"{self.kind.name}: {left} records were neither taken nor refused")

    def _size(self) -> int:
        return self._chance.choices(SIZES, WEIGHTS)[0]

    def _noting(self, number: int) -> Callable[[Any, Message], None]:
        def note(error: Any, message: Message) -> None:
            try:
                if error is not None:
                    raise Wrong(f"{self.kind.name}: {error}")
                self._history.told(self._number, message.partition(), number, message.offset())
            except Wrong as problem:
                self.problem = self.problem or problem

        return note


class Committing(Worker):
    """Commits rising offsets. ``least``: what was acknowledged last; ``most``: what was asked last."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions
        self.least = 0
        self.most = 0
        self.checks = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "committers",
                "enable.auto.commit": False,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
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
            self._end.wait(0.002)
        self._compare()
        self._consumer.close()

    def _places(self, offset: int) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, partition, offset) for partition in range(self._partitions)]

    def _compare(self) -> None:
        try:
            committed = self._consumer.committed(self._places(0), timeout=2.0)
        except KafkaException:
            return
        for place in committed:
            if place.error is None and not self.least <= max(place.offset, 0) <= self.most:
                raise Wrong(f"{place} is committed; {self.least} was acknowledged, {self.most} asked last")
        self.checks += 1


class MakingTopics(Worker):
    """Creates and deletes topics. ``there`` and ``gone``: those of which it was told so; of others either."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 100, "log_level": 0}
        )

    def work(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            name = f"made-{number}"
            if self._done(self._admin.create_topics([NewTopic(name, 2, 1)], request_timeout=3.0)[name]):
                self.there.add(name)
            if number % 3:
                old = f"made-{max(1, number - 5)}"
                self.there.discard(old)
                if self._done(self._admin.delete_topics([old], request_timeout=3.0)[old]):
                    self.gone.add(old)
            self._end.wait(0.03)

    @staticmethod
    def _done(future: Any) -> bool:
        try:
            future.result(10.0)
        except (KafkaException, TimeoutError):
            return False
        return True

    def compare(self) -> None:
        """Ask which topics there are. Called while it does not work. :raises Wrong: others."""
        listed = set(self._admin.list_topics(timeout=30.0).topics)
        if self.there - listed:
            raise Wrong(f"created and not there: {sorted(self.there - listed)}")
        if self.gone & listed:
            raise Wrong(f"deleted and there: {sorted(self.gone & listed)}")


class Reading:
    """Reads the log on from where it stopped."""

    def __init__(self, bootstrap: str, history: History) -> None:
        self._bootstrap = bootstrap
        self._history = history

    def read_on(self) -> int:
        """Read all that is there now; how many records came. :raises Wrong: they are not what was sent."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "checkers",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "check.crcs": True,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        count = 0
        try:
            ends = {}
            for partition in range(self._history.partitions):
                _, ends[partition] = consumer.get_watermark_offsets(
                    TopicPartition(TOPIC, partition), timeout=30
                )
            begins = {partition: len(self._history.log[partition]) for partition in ends}
            for partition, begin in begins.items():
                if ends[partition] < begin:
                    raise Wrong(f"partition {partition} ends at {ends[partition]}, and had {begin} records")
            consumer.assign([TopicPartition(TOPIC, partition, begin) for partition, begin in begins.items()])
            missing = sum(ends[partition] - begin for partition, begin in begins.items())
            deadline = time.monotonic() + 60.0
            while any(len(self._history.log[partition]) < end for partition, end in ends.items()):
                for message in consumer.consume(500, timeout=0.5):
                    if message.error():
                        raise Wrong(f"reading: {message.error()}")
                    self._history.found(message)
                    count += 1
                if time.monotonic() > deadline:
                    raise Wrong(f"{count} of {missing} records came")
        finally:
            consumer.close()
        return count
