"""Clients that change topics: one creates and deletes them, one deletes records."""

from __future__ import annotations

import random
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.crash.clients import Worker
from tests.crash.history import Trimmed
from tests.crash.records import Wrong

SECONDS = 10.0


def made(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 100, "log_level": 0})


def result(future: Any) -> Any:
    """What came of it; None where that is an error, or nothing yet."""
    try:
        return future.result(SECONDS) or True
    except (KafkaException, TimeoutError):
        return None


class MakingTopics(Worker):
    """Creates and deletes topics. ``there`` and ``gone``: those of which it was told so; of others either."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self._admin = made(bootstrap)

    def work(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            name = f"made-{number}"
            if result(self._admin.create_topics([NewTopic(name, 2, 1)], request_timeout=3.0)[name]):
                self.there.add(name)
            if number % 3:
                old = f"made-{max(1, number - 5)}"
                self.there.discard(old)
                if result(self._admin.delete_topics([old], request_timeout=3.0)[old]):
                    self.gone.add(old)
            self._end.wait(0.03)

    def compare(self) -> None:
        """Ask which topics there are. Called while it does not work. :raises Wrong: others."""
        listed = set(self._admin.list_topics(timeout=30.0).topics)
        if self.there - listed:
            raise Wrong(f"created and not there: {sorted(self.there - listed)}")
        if self.gone & listed:
            raise Wrong(f"deleted and there: {sorted(self.gone & listed)}")


class Trimming(Worker):
    """Deletes records at the front of a topic's partitions, now and then."""

    def __init__(self, bootstrap: str, history: Trimmed, seed: int) -> None:
        super().__init__()
        self._history = history
        self._chance = random.Random(seed)
        self._admin = made(bootstrap)
        self.done = 0

    def work(self) -> None:
        while not self._end.is_set():
            self._end.wait(self._chance.uniform(0.05, 0.5))
            partition = self._chance.choice(self._history.partitions)
            offsets = sorted(self._history.known()[partition])
            if not offsets:
                continue
            before = offsets[-1 - self._chance.randrange(min(200, len(offsets)))]
            asked = TopicPartition(self._history.topic, partition, before)
            done = result(self._admin.delete_records([asked], request_timeout=3.0)[asked])
            if done is not None:
                self.done += 1
                trimmed = self._history.trimmed
                trimmed[partition] = max(trimmed[partition], done.low_watermark)
                if done.low_watermark < before:
                    self.problem = Wrong(f"{asked} was deleted, and it begins at {done.low_watermark}")
                    return
