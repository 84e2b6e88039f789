"""Clients that work while the gateway dies, each in a thread of its own. This module has producers, and what
all kinds of clients share."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import Message, Producer

from tests.crash.history import Compacted, History
from tests.crash.records import (
    Wrong,
    compacted_headers,
    compacted_key,
    headers,
    is_tombstone,
    key,
    value,
)

SIZES = (10, 100, 1_000, 10_000, 50_000, 200_000)
WEIGHTS = (40, 30, 20, 6, 3, 1)
PAUSE = 0.01
"""Seconds after eight records: the test is of many deaths, not of much data."""

CLIENT = {
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 100,
    "socket.timeout.ms": 5_000,
    "log_level": 0,
}
"""Settings of all clients."""


class Kind(NamedTuple):
    """A producer: its name, its kind of topic, and its settings."""

    name: str
    topic: str
    options: dict[str, Any]

    @property
    def idempotent(self) -> bool:
        return bool(self.options.get("enable.idempotence"))


WHOLE, TRIMMED, COMPACTED = "whole", "trimmed", "compacted"

KINDS = (
    Kind("idempotent", WHOLE, {"enable.idempotence": True, "linger.ms": 2}),
    Kind("idempotent lz4", WHOLE, {"enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20}),
    Kind("plain", WHOLE, {"max.in.flight": 1, "linger.ms": 0}),
    Kind("plain zstd", WHOLE, {"max.in.flight": 1, "compression.type": "zstd", "linger.ms": 10, "acks": 1}),
    Kind("trimmed", TRIMMED, {"enable.idempotence": True, "linger.ms": 1}),
    Kind("compacted", COMPACTED, {"enable.idempotence": True, "compression.type": "gzip", "linger.ms": 3}),
)


class Worker:
    """A thread that runs until it is told to end. ``problem``: an error that must not happen."""

    def __init__(self) -> None:
        self.problem: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_end(self) -> None:
        self._end.set()

    def end(self) -> None:
        """:raises AssertionError: it does not end; else whatever it met."""
        self._end.set()
        self._thread.join(180.0)
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
    """Sends numbered records to every partition of its topic, and notes the answers."""

    def __init__(self, number: int, bootstrap: str, history: History, seed: int) -> None:
        super().__init__()
        self.number = number
        self.history = history
        self.kind = KINDS[number]
        self.sent = dict.fromkeys(history.partitions, 0)
        self._chance = random.Random(seed)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "message.timeout.ms": 0,
                "retries": 1_000_000,
                "retry.backoff.ms": 20,
                "queue.buffering.max.kbytes": 4_096,
                "error_cb": self._failed,
                **CLIENT,
                **self.kind.options,
            }
        )

    def __repr__(self) -> str:
        return f"producer {self.kind.name}"

    def _failed(self, error: Any) -> None:
        if error.fatal() and self.problem is None:
            self.problem = Wrong(f"{self}: {error}")

    def work(self) -> None:
        while not self._end.is_set() and self.problem is None:
            partition = self._chance.choice(self.history.partitions)
            number = self.sent[partition]
            try:
                self._send(partition, number)
            except BufferError:
                self._producer.poll(0.02)
                continue
            self._producer.poll(0)
            if number % 8 == 0:
                self._end.wait(PAUSE)
        left = self._producer.flush(120.0)
        if left:
            raise Wrong(f"{self}: {left} records were neither taken nor refused")

    def _send(self, partition: int, number: int) -> None:
        """:raises BufferError: too many wait; it was not sent."""
        history = self.history
        size = self._chance.choices(SIZES, WEIGHTS)[0]
        data: bytes | None = value(self.number, partition, number, size)
        name, told = key(number), headers(self.number, number)
        if isinstance(history, Compacted):
            name, told = compacted_key(number), compacted_headers(self.number, number)
            data = None if is_tombstone(number) else data
            history.sent[partition] = number + 1
        self._producer.produce(
            history.topic,
            data,
            key=name,
            headers=told,
            partition=partition,
            on_delivery=self._noting(number),
        )
        self.sent[partition] = number + 1

    def _noting(self, number: int) -> Callable[[Any, Message], None]:
        def note(error: Any, message: Message) -> None:
            try:
                if error is not None:
                    raise Wrong(f"{self}: number {number} got {error}")
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                self.history.told(self.number, partition, number, offset)
            except Wrong as problem:
                self.problem = self.problem or problem

        return note
