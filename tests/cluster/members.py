"""Several gateways in one process over one store, with leases in a file, and real clients of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.from_thread import start_blocking_portal
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from lease_ledger import LeaseLedger
from shared_store import Shared, SharedStore

from kgw_core.config import dev
from kgw_core.gateway import Gateway, running

SECONDS = 40.0
PARTITIONS = 4
CLIENT = {"topic.metadata.refresh.fast.interval.ms": 50, "reconnect.backoff.max.ms": 200, "log_level": 0}


class Member:
    """One gateway of the cluster. ``port``: if it is not the node's own."""

    def __init__(self, cluster: Cluster, node_id: int, port: int | None = None) -> None:
        self.store = SharedStore(cluster.shared)
        self.gateway: Gateway
        self._stack = ExitStack()
        self._paused: threading.Event | None = None
        leases = LeaseLedger.Config(cluster.directory / "leases", cluster.lease, look=0.1)
        config = dev(port=cluster.port_of(node_id) if port is None else port, env={})
        config = msgspec.structs.replace(config, node_id=node_id, session_timeout=cluster.session)
        self._running = running(config, store=self.store, ledger=LeaseLedger(leases))

    def start(self) -> Member:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.gateway = self._stack.enter_context(self._portal.wrap_async_context_manager(self._running))
        return self

    def stop(self) -> None:
        if self._paused is not None:
            self.resume()
        self._stack.close()

    def pause(self, holding: bool = False) -> None:
        """Let it stand still, as a process that is stopped; ``holding``: with appends on their way."""
        if holding:
            self._portal.call(self._hold)
            until(lambda: self.store.held or not self.leads(), "nothing is appended")
        paused = self._paused = threading.Event()
        self._portal.start_task_soon(paused.wait)  # blocks its loop

    def _hold(self) -> None:
        self.store.held, self.store.gate = 0, anyio.Event()

    def resume(self) -> None:
        """Go on; what was on its way arrives now."""
        assert self._paused is not None
        self._paused.set()
        self._paused = None
        if self.store.gate is not None:
            self._portal.call(self.store.gate.set)

    def leads(self, topic: str = "t") -> set[int]:
        """The partitions that it leads as far as it knows."""
        state = self.gateway.broker.catalog.by_name.get(topic)
        return {log.tp.partition for log in state.partitions if log.ready} if state is not None else set()


class Cluster:
    def __init__(self, directory: Path, lease: float, session: float) -> None:
        self.directory = directory
        self.lease = lease
        self.session = session
        self.shared = Shared()
        self.members: list[Member] = []
        self._ports: dict[int, socket.socket] = {}

    def port_of(self, node_id: int) -> int:
        """The port of a node, which is the same after a restart. A bound socket that does not listen keeps it
        from other programs meanwhile, and the gateway can bind it."""
        held = self._ports.get(node_id)
        if held is None:
            held = self._ports[node_id] = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port

    def close(self) -> None:
        for member in self.members:
            member.stop()
        for held in self._ports.values():
            held.close()

    def add(self, node_id: int) -> Member:
        member = Member(self, node_id)
        self.members.append(member)
        return member.start()

    @property
    def bootstrap(self) -> str:
        return ",".join(member.gateway.bootstrap for member in self.members)


@contextmanager
def a_cluster(directory: Path, *, lease: float, session: float) -> Iterator[Cluster]:
    cluster = Cluster(directory, lease, session)
    try:
        yield cluster
    finally:
        cluster.close()


def until(done: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def create(cluster: Cluster, partitions: int = PARTITIONS) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **CLIENT})
    admin.create_topics([NewTopic("t", partitions, 1)])["t"].result(SECONDS)


def leaders(cluster: Cluster) -> dict[int, int]:
    """Who leads each partition, as clients are told."""
    metadata = AdminClient({"bootstrap.servers": cluster.bootstrap, **CLIENT}).list_topics("t", SECONDS)
    return {index: each.leader for index, each in metadata.topics["t"].partitions.items()}


class Writer:
    """An idempotent producer of librdkafka in a thread, until it is stopped. ``acknowledged``: values by
    partition, in order. ``more``: settings of the producer."""

    def __init__(self, bootstrap: str, more: dict[str, Any] | None = None) -> None:
        self.acknowledged: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.sent: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.failed: list[KafkaError] = []
        settings: dict[str, Any] = {"enable.idempotence": True, "linger.ms": 2, "socket.timeout.ms": 2000}
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "delivery.timeout.ms": 60_000,
                **settings,
                **CLIENT,
                **(more or {}),
            }
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopping:
            for partition in range(PARTITIONS):
                value = b"%d/%d" % (partition, number)
                self.sent[partition].append(value)
                self._producer.produce("t", value, partition=partition, on_delivery=self._told)
            number += 1
            self._producer.poll(0.01)

    def _told(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged[message.partition()].append(message.value())
        else:
            self.failed.append(error)

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    def go_on(self, records: int = 200) -> None:
        """Wait until ``records`` more are acknowledged in every partition."""
        before = {index: len(values) for index, values in self.acknowledged.items()}
        until(
            lambda: all(len(self.acknowledged[index]) >= count + records for index, count in before.items()),
            f"producing does not go on; {self.failed}",
        )

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()
        assert self._producer.flush(SECONDS) == 0
        assert self.failed == []
        assert self.acknowledged == self.sent


def consumed(bootstrap: str, wanted: dict[int, list[bytes]]) -> dict[int, list[bytes]]:
    """All that is there, by partition; waits until it is as much as is wanted, and a moment longer."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", **CLIENT})
    consumer.assign([TopicPartition("t", index, 0) for index in range(PARTITIONS)])
    found: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
    try:
        deadline = time.monotonic() + SECONDS
        missing = sum(map(len, wanted.values()))
        while missing > 0 and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                if message.error() is None:
                    found[message.partition()].append(message.value())
                    missing -= 1
        for message in consumer.consume(1000, 0.5):
            assert message.error() is None
            found[message.partition()].append(message.value())
    finally:
        consumer.close()
    return found
