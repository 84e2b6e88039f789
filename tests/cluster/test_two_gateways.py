"""Two gateways in one process over one store: who leads, who follows, and what real clients see of it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kgw_storage_memory.store import MemoryStore
from lease_ledger import LeaseLedger
from members import CLIENT, PARTITIONS, SECONDS, Member, Writer, a_cluster, consumed, create, leaders, until
from raw import RawClient
from shared_store import Shared, SharedStore

from kgw_core.errors import NotCoordinator
from kgw_core.gateway import StartError, running
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import Capabilities, Fenced, Topic
from kgw_core.testing.gateway import free_config, gateway_thread
from kgw_core.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic


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
            Member(cluster, 1, port=0).start()
        assert refused.group_contains(StartError, match="another gateway has node id 1")
        one.pause()
        again = Member(cluster, 1, port=0).start()
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


def test_a_paused_coordinator_does_not_answer_with_old_offsets(tmp_path: Path) -> None:
    """An OffsetFetch arrives while it is paused, and the other coordinates and has a new commit. The answer
    is made in the first turn after the pause, before any timer of that turn."""
    with a_cluster(tmp_path, lease=1.0, session=1.0) as cluster:
        one = cluster.add(1)
        create(cluster)
        other = cluster.add(2)
        commit(one.gateway.bootstrap, 5)
        host, port = one.gateway.bootstrap.rsplit(":", 1)
        with RawClient((host, int(port))) as client:
            request = OffsetFetchRequest("g", [OffsetFetchRequestTopic("t", [0])])
            assert client.ask(request, 7).topics[0].partitions[0].committed_offset == 5
            one.pause()
            commit(other.gateway.bootstrap, 9)
            client.send(request, 7)
            one.resume()
            _, answer = client.receive()
            assert answer.error_code == NotCoordinator.code


def commit(bootstrap: str, offset: int) -> None:
    """Commit an offset of partition 0 for group "g", as soon as a broker coordinates it."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", **CLIENT})
    consumer.assign([TopicPartition("t", 0)])
    place = [TopicPartition("t", 0, offset)]

    def committed() -> bool:
        with suppress(KafkaException):
            consumer.commit(offsets=place, asynchronous=False)
            return True
        return False

    until(committed, "nobody coordinates")
    consumer.close()


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
