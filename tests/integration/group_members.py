"""Members of groups, each client library with the same face: consumes and commits in a thread of its own.

Run as a program, it is one member whose life is its process's: it prints a line of JSON for each change of
its assignment and each record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import confluent_kafka

SECONDS = 20.0
POLL = 0.05


def wait_until(holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    """Return once ``holds()``. :raises AssertionError: it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Member:
    """``assigned``: its partitions now. ``seen``: (partition, offset) of each record, in order."""

    strategies: tuple[str, ...]
    name: str

    def __init__(
        self, bootstrap: str, group: str, topic: str, strategy: str = "range", **options: Any
    ) -> None:
        self.bootstrap, self.group, self.topic, self.strategy = bootstrap, group, topic, strategy
        self.options = options
        self.assigned: frozenset[int] = frozenset()
        self.seen: list[tuple[int, int]] = []
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have it leave the group, soon."""
        self._stop.set()

    def stop(self) -> None:
        """Leave the group."""
        self.ask_to_stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _guarded(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.run()
        except BaseException as error:
            self.failure = error

    def run(self) -> None:
        raise NotImplementedError

    def changed(self) -> None:
        """Something was assigned or seen."""


class ConfluentMember(Member):
    name = "confluent"
    strategies = ("range", "roundrobin", "cooperative-sticky")

    def run(self) -> None:
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.group,
                "partition.assignment.strategy": self.strategy,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 200,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
                **self.options,
            }
        )
        consumer.subscribe([self.topic])
        try:
            while not self._stop.is_set():
                message = consumer.poll(POLL)
                self.assigned = frozenset(tp.partition for tp in consumer.assignment())
                if message is not None and message.error() is None:
                    self.seen.append((message.partition(), message.offset()))
                    consumer.commit(message, asynchronous=True)
                self.changed()
        finally:
            with contextlib.suppress(confluent_kafka.KafkaException):
                consumer.commit(asynchronous=False)
            consumer.close()


class KafkaPythonMember(Member):
    name = "kafka-python"
    strategies = ("range", "roundrobin", "sticky", "cooperative-sticky")

    def run(self) -> None:
        import kafka
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
        from kafka.coordinator.assignors.range import RangePartitionAssignor
        from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
        from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

        assignors = {
            "range": RangePartitionAssignor,
            "roundrobin": RoundRobinPartitionAssignor,
            "sticky": StickyPartitionAssignor,
            "cooperative-sticky": CooperativeStickyAssignor,
        }
        consumer = kafka.KafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            partition_assignment_strategy=[assignors[self.strategy]],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=50,
            **self.options,
        )
        try:
            while not self._stop.is_set():
                found = consumer.poll(int(POLL * 1000))
                self.assigned = frozenset(tp.partition for tp in consumer.assignment())
                for records in found.values():
                    self.seen += [(record.partition, record.offset) for record in records]
                if found:
                    with contextlib.suppress(kafka.errors.CommitFailedError):
                        consumer.commit()
                self.changed()
        finally:
            consumer.close()


class AIOKafkaMember(Member):
    name = "aiokafka"
    strategies = ("range", "roundrobin", "sticky")

    def run(self) -> None:
        asyncio.run(self._consume())

    async def _consume(self) -> None:
        import aiokafka
        from aiokafka.coordinator.assignors.range import RangePartitionAssignor
        from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
        from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

        assignors = {
            "range": RangePartitionAssignor,
            "roundrobin": RoundRobinPartitionAssignor,
            "sticky": StickyPartitionAssignor,
        }
        consumer = aiokafka.AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            partition_assignment_strategy=[assignors[self.strategy]],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=50,
            **self.options,
        )
        await consumer.start()
        try:
            while not self._stop.is_set():
                found = await consumer.getmany(timeout_ms=int(POLL * 1000))
                self.assigned = frozenset(tp.partition for tp in consumer.assignment())
                for records in found.values():
                    self.seen += [(record.partition, record.offset) for record in records]
                if found:
                    with contextlib.suppress(aiokafka.errors.CommitFailedError):
                        await consumer.commit()
                self.changed()
        finally:
            await consumer.stop()


KINDS = (ConfluentMember, KafkaPythonMember, AIOKafkaMember)


def main() -> None:
    name, *arguments = sys.argv[1:-1]
    kind = next(kind for kind in KINDS if kind.name == name)

    class Printing(kind):  # type: ignore[valid-type, misc]
        told: tuple[Any, int] = (None, 0)

        def changed(self) -> None:
            now = (sorted(self.assigned), len(self.seen))
            if now != self.told:
                print(json.dumps({"assigned": now[0], "seen": self.seen[self.told[1] :]}), flush=True)
                self.told = now

    member = Printing(*arguments, **json.loads(sys.argv[-1]))
    sys.stdin.read()  # until the test closes it
    member.stop()


if __name__ == "__main__":
    main()
