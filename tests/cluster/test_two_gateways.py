"""Two gateways in one process over one store: who leads, who follows, and what real clients see of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kgw_storage_memory.store import MemoryStore
from lease_ledger import LeaseLedger
from shared_store import Shared, SharedStore

from kgw_core.gateway import Gateway, StartError, running
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import Capabilities, Fenced, Topic
from kgw_core.testing.gateway import free_config, gateway_thread

SECONDS = 40.0
PARTITIONS = 4
CLIENT = {"topic.metadata.refresh.fast.interval.ms": 50, "reconnect.backoff.max.ms": 200, "log_level": 0}


class Member:
    """One gateway of the cluster, and its ways to what they share."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.store = SharedStore(cluster.shared)
        self.gateway: Gateway
        self._stack = ExitStack()
        self._paused: threading.Event | None = None
        leases = LeaseLedger.Config(cluster.directory / "leases", cluster.lease, look=0.1)
        config = msgspec.structs.replace(free_config(), node_id=node_id, session_timeout=cluster.session)
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
            until(lambda: self.store.held, "nothing is appended")
        paused = self._paused = threading.Event()
        self._portal.start_task_soon(paused.wait)  # blocks its loop

    def _hold(self) -> None:
        self.store.gate = anyio.Event()

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
        for member in cluster.members:
            member.stop()


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
    """An idempotent producer in a thread, which goes on until it is stopped. ``acknowledged``: values by
    partition, in order."""

    def __init__(self, bootstrap: str) -> None:
        self.acknowledged: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.sent: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.failed: list[KafkaError] = []
        settings = {"enable.idempotence": True, "linger.ms": 2, "socket.timeout.ms": 2000}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "delivery.timeout.ms": 60_000, **settings, **CLIENT}
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


def test_partitions_are_shared_out_and_clients_are_told_where(tmp_path: Path) -> None:
    """Each broker is told with its own address, whichever is asked; topics that one makes the other knows."""
    with a_cluster(tmp_path, lease=10.0, session=2.0) as cluster:
        one, other = cluster.add(1), cluster.add(2)
        until(lambda: one.gateway.broker.placement._registrations.others, "the first does not see the second")  # type: ignore[union-attr]
        create(cluster, 12)
        until(lambda: len(one.leads() | other.leads()) == 12, "some partitions are led by nobody")
        assert one.leads().isdisjoint(other.leads())
        assert one.leads() and other.leads()
        for member in cluster.members:
            admin = AdminClient({"bootstrap.servers": member.gateway.bootstrap, **CLIENT})
            wanted = {1: one.leads(), 2: other.leads()}
            until(lambda admin=admin, wanted=wanted: by_leader(admin) == wanted, "clients are told otherwise")
            metadata = admin.list_topics("t", SECONDS)
            told = {f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()}
            assert told == {each.gateway.bootstrap for each in cluster.members}
            assert metadata.controller_id == 1


def by_leader(admin: AdminClient) -> dict[int, set[int]]:
    """The partitions of each leader, as a broker tells them."""
    partitions = admin.list_topics("t", SECONDS).topics["t"].partitions
    return {
        leader: {index for index, each in partitions.items() if each.leader == leader}
        for leader in {each.leader for each in partitions.values()}
    }


def test_two_gateways_with_one_node_id_do_not_live_side_by_side(tmp_path: Path) -> None:
    """One that was killed is followed by its next incarnation, when its session is over."""
    with a_cluster(tmp_path, lease=5.0, session=0.5) as cluster:
        one = cluster.add(1)
        with pytest.raises(ExceptionGroup) as refused:
            Member(cluster, 1).start()
        assert refused.group_contains(StartError, match="another gateway has node id 1")
        one.pause()
        again = Member(cluster, 1).start()
        again.stop()


def test_after_a_stop_the_other_takes_over_at_once(tmp_path: Path) -> None:
    """The first resigns: a lease of its own would last for minutes. Producers and consumers go on."""
    with a_cluster(tmp_path, lease=600.0, session=2.0) as cluster:
        one = cluster.add(1)
        create(cluster)
        until(lambda: one.leads() == set(range(PARTITIONS)), "the first does not lead")
        other = cluster.add(2)
        writer = Writer(cluster.bootstrap)
        writer.go_on()
        began = time.monotonic()
        one.stop()
        until(lambda: other.leads() == set(range(PARTITIONS)), "the second does not take over")
        assert time.monotonic() - began < 30
        writer.go_on()
        writer.stop()
        assert set(leaders(cluster).values()) == {2}
        assert consumed(cluster.bootstrap, writer.acknowledged) == writer.acknowledged


def test_a_paused_gateway_is_followed_and_its_late_appends_land_nowhere(tmp_path: Path) -> None:
    """Its leases run out while it does not know; then it is fenced, and what it had on its way is refused.
    The producer, which waited for it, sends that to the other: nothing is lost, nothing is there twice."""
    with a_cluster(tmp_path, lease=1.0, session=1.0) as cluster:
        one = cluster.add(1)
        create(cluster)
        until(lambda: one.leads() == set(range(PARTITIONS)), "the first does not lead")
        other = cluster.add(2)
        writer = Writer(cluster.bootstrap)
        writer.go_on()
        one.pause(holding=True)
        until(lambda: other.leads() == set(range(PARTITIONS)), "the second does not take over")
        assert one.leads() == set(range(PARTITIONS)), "the first knows already"
        writer.go_on()
        one.resume()
        until(lambda: not one.leads(), "the first does not hear that it leads no more")
        writer.go_on()
        assert one.store.late and all(isinstance(each, Fenced) for each in one.store.late)
        writer.stop()
        assert consumed(cluster.bootstrap, writer.acknowledged) == writer.acknowledged
        until(lambda: set(leaders(cluster).values()) == {2}, "the second does not keep what it leads")


def test_a_group_goes_on_with_its_offsets_at_the_next_coordinator(tmp_path: Path) -> None:
    """The broker that registered first coordinates; when it stops, the other has what was committed."""
    with a_cluster(tmp_path, lease=600.0, session=1.0) as cluster:
        one = cluster.add(1)
        create(cluster)
        other = cluster.add(2)
        writer = Writer(cluster.bootstrap)
        writer.go_on(50)
        settings = {"group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap, **settings, **CLIENT})
        consumer.subscribe(["t"])
        found: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}

        def take(count: int) -> None:
            deadline = time.monotonic() + SECONDS
            before = sum(map(len, found.values()))
            while sum(map(len, found.values())) < before + count:
                assert time.monotonic() < deadline, f"nothing more after {found}"
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    found[message.partition()].append(message.value())

        take(100)
        committed = consumer.commit(asynchronous=False)
        one.stop()
        until(lambda: other.leads() == set(range(PARTITIONS)), "the second does not take over")
        take(100)
        consumer.commit(asynchronous=False)
        for each in consumer.committed([TopicPartition("t", part.partition) for part in committed], SECONDS):
            assert max(each.offset, 0) == len(found[each.partition])
        consumer.close()
        writer.go_on(50)
        writer.stop()
        for index, values in found.items():
            assert values == writer.acknowledged[index][: len(values)]


def test_a_shared_ledger_needs_a_store_that_fences_and_a_state_that_is_shared(tmp_path: Path) -> None:
    class Unfenced(SharedStore):
        def capabilities(self, topic: Topic | None = None) -> Capabilities:
            return Capabilities(durable=True)

    for store, told in (
        (Unfenced(Shared()), "which storage shared cannot fence"),
        (MemoryStore(), "state memory is this one's alone"),
    ):
        ledger = LeaseLedger(LeaseLedger.Config(tmp_path / "leases"))
        with (
            pytest.raises(ExceptionGroup) as refused,
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(running(free_config(), store=store, ledger=ledger)),
        ):
            raise AssertionError("it has started")
        assert refused.group_contains(StartError, match=told)


def test_a_store_is_asked_what_it_can_do_when_it_is_open() -> None:
    """Its engine may have to say."""

    class Asked(MemoryStore):
        is_open = False

        async def open(self, context: StoreContext | None = None) -> None:
            self.is_open = True

        def capabilities(self, topic: Topic | None = None) -> Capabilities:
            assert self.is_open
            return super().capabilities(topic)

    with gateway_thread(free_config("t:1"), store=Asked()) as gateway:
        assert AdminClient({"bootstrap.servers": gateway.bootstrap}).list_topics("t", SECONDS).topics["t"]
