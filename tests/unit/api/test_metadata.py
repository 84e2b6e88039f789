"""Metadata through the dispatcher."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from broker_kit import Kit, SlowStore, a_kit, turns
from kgw_storage_memory.store import MemoryStore

from kgw_core import errors
from kgw_core.api.operations import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from kgw_core.spi.storage import Bounds, TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic

pytestmark = pytest.mark.anyio

VERSIONS = range(14)


def names(*topics: str, create: bool = True, **flags: bool) -> MetadataRequest:
    asked = [MetadataRequestTopic(ZERO_UUID, topic) for topic in topics]
    return MetadataRequest(asked, create, **flags)


def ids(*topics: bytes, name: str | None = None) -> MetadataRequest:
    return MetadataRequest([MetadataRequestTopic(topic, name) for topic in topics])


def told(response: Any) -> dict[str, str]:
    """Each topic's error by its name."""
    return {topic.name: errors.error_name(topic.error_code) for topic in response.topics}


@pytest.mark.parametrize("version", VERSIONS)
async def test_brokers_and_topics_in_every_version(kit: Kit, version: int) -> None:
    state = await kit.topic("orders", 2)
    response = await kit.ask(names("orders"), version)
    (broker,) = response.brokers
    assert (broker.node_id, broker.host, broker.port, broker.rack) == (1, "gateway.test", 9092, None)
    if version >= 1:
        assert response.controller_id == 1
    if version >= 2:
        assert response.cluster_id == "the-cluster"
    assert response.error_code == 0
    (topic,) = response.topics
    assert (topic.error_code, topic.name, topic.is_internal) == (0, "orders", False)
    assert topic.topic_id == (state.id_bytes if version >= 10 else ZERO_UUID)
    assert [each.partition_index for each in topic.partitions] == [0, 1]
    for partition in topic.partitions:
        assert (partition.error_code, partition.leader_id) == (0, 1)
        assert partition.leader_epoch == (0 if version >= 7 else -1)
        assert partition.replica_nodes == partition.isr_nodes == [1]
        assert partition.offline_replicas == []


class Epochs(MemoryStore):
    """Its logs are in leader epoch 5."""

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await super().bounds(tp))._replace(epoch=5)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return 5


async def test_the_leader_epoch_is_told_of_logs_that_nobody_has_opened() -> None:
    """Clients do not take metadata of an epoch that is older than one they have seen, and some take -1 for a
    partition without a leader: so it is right from the first answer on, also of partitions that are new."""
    store = Epochs()
    await (await a_kit(store)).topic("t", 2)
    kit = await a_kit(store)
    await kit.topic("new")
    await kit.catalog.add_partitions("t", 3)

    async def epochs() -> set[int]:
        metadata = await kit.ask(names("t", "new"), 13)
        described = await kit.ask(DescribeTopicPartitionsRequest([TopicRequest("t"), TopicRequest("new")]), 0)
        topics = [*metadata.topics, *described.topics]
        assert [len(topic.partitions) for topic in topics] == [3, 1, 1, 3]
        return {partition.leader_epoch for topic in topics for partition in topic.partitions}

    assert not any(log.ready for log in kit.logs.logs)
    assert await epochs() == {5}
    for log in kit.logs.logs:
        await log.open()
    assert await epochs() == {5}


@pytest.mark.parametrize("version", VERSIONS)
async def test_all_topics(kit: Kit, version: int) -> None:
    for name in "abc":
        await kit.topic(name)
    everything = MetadataRequest([] if version == 0 else None)
    assert told(await kit.ask(everything, version)) == dict.fromkeys("abc", "NONE")


@pytest.mark.parametrize("version", VERSIONS[1:])
async def test_no_topics(kit: Kit, version: int) -> None:
    await kit.topic()
    response = await kit.ask(names(), version)
    assert response.topics == []
    assert len(response.brokers) == 1


class TestTwice:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_a_topic_that_is_named_twice_is_told_once(self, kit: Kit, version: int) -> None:
        await kit.topic("a")
        await kit.topic("b")
        response = await kit.ask(names("b", "no", "a", "b", "no", create=version < 4), version)
        assert [topic.name for topic in response.topics] == ["b", "a", "no"]

    @pytest.mark.parametrize("version", [12, 13])
    async def test_so_is_one_by_its_id_and_by_its_name(self, kit: Kit, version: int) -> None:
        state = await kit.topic("a")
        asked = [MetadataRequestTopic(state.id_bytes, None), MetadataRequestTopic(ZERO_UUID, "a")]
        asked += [MetadataRequestTopic(b"x" * 16, None)] * 2
        response = await kit.ask(MetadataRequest(asked), version)
        assert [(topic.name, topic.topic_id) for topic in response.topics] == [
            ("a", state.id_bytes),
            (None, b"x" * 16),
        ]

    async def test_one_that_is_made_on_demand_is_told_once(self) -> None:
        kit = await a_kit(auto_create=True)
        response = await kit.ask(names("a", "a b", "a", "a b"), 9)
        assert [topic.name for topic in response.topics] == ["a", "a b"]


class TestMissing:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_a_name_that_is_not_there_among_others(self, kit: Kit, version: int) -> None:
        await kit.topic("a")
        response = await kit.ask(names("a", "b"), version)
        assert told(response) == {"a": "NONE", "b": "UNKNOWN_TOPIC_OR_PARTITION"}
        assert response.topics[1].partitions == []

    @pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ü", "x" * 250])
    @pytest.mark.parametrize("auto_create", [True, False])
    async def test_a_name_that_cannot_be(self, name: str, auto_create: bool) -> None:
        kit = await a_kit(auto_create=auto_create)
        assert told(await kit.ask(names(name), 9)) == {name: "INVALID_TOPIC_EXCEPTION"}
        assert not kit.catalog.by_name

    @pytest.mark.parametrize("version", VERSIONS[12:])
    async def test_topics_by_id(self, kit: Kit, version: int) -> None:
        state = await kit.topic("a")
        response = await kit.ask(ids(state.id_bytes, b"\x09" * 16), version)
        first, second = response.topics
        assert (first.error_code, first.name, first.topic_id) == (0, "a", state.id_bytes)
        assert errors.error_name(second.error_code) == "UNKNOWN_TOPIC_ID"
        assert (second.name, second.topic_id) == (None, b"\x09" * 16)

    @pytest.mark.parametrize("version", [10, 11])
    @pytest.mark.parametrize("name", [None, "a"])
    async def test_two_versions_have_a_place_for_ids_that_is_not_to_be_used(
        self, kit: Kit, version: int, name: str | None
    ) -> None:
        state = await kit.topic("a")
        (topic,) = (await kit.ask(ids(state.id_bytes, name=name), version)).topics
        assert errors.error_name(topic.error_code) == "INVALID_REQUEST"
        assert topic.name == (name or "")
        (topic,) = (await kit.ask(names("a"), version)).topics
        assert topic.error_code == 0


class TestCreating:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_a_topic_is_made_if_broker_and_client_both_allow_it(self, version: int) -> None:
        kit = await a_kit(auto_create=True, num_partitions=3)
        request = names("new")
        (topic,) = (await kit.ask(request, version)).topics
        assert (topic.error_code, topic.name, len(topic.partitions)) == (0, "new", 3)
        assert "new" in kit.catalog.by_name

    async def test_not_if_the_client_does_not(self) -> None:
        kit = await a_kit(auto_create=True)
        assert told(await kit.ask(names("new", create=False), 9)) == {"new": "UNKNOWN_TOPIC_OR_PARTITION"}

    async def test_not_if_the_broker_does_not(self) -> None:
        kit = await a_kit(auto_create=False)
        assert told(await kit.ask(names("new"), 9)) == {"new": "UNKNOWN_TOPIC_OR_PARTITION"}
        assert not kit.catalog.by_name

    async def test_asking_for_all_makes_none(self) -> None:
        kit = await a_kit(auto_create=True)
        assert (await kit.ask(MetadataRequest(None), 9)).topics == []

    async def test_several_who_ask_at_the_same_time_get_the_same_topic(self) -> None:
        store = SlowStore()
        kit = await a_kit(store, auto_create=True)
        gate = store.hold("create_topic")
        found: list[bytes] = []

        async def ask(client: int) -> None:
            (topic,) = (await kit.ask(names("new"), 12)).topics
            found.append(topic.topic_id)

        async with anyio.create_task_group() as tasks:
            for client in range(5):
                tasks.start_soon(ask, client)
            await turns()
            gate.set()
        assert found == [kit.catalog.by_name["new"].id_bytes] * 5
        assert store.calls.count("create_topic") == 1

    async def test_a_topic_that_cannot_be_made_is_told_beside_those_that_can(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store, auto_create=True)
        await kit.topic("a.b")
        store.fail("create_topic", OSError("disk full"))
        response = await kit.ask(names("first", "second", "a_b", "a.b"), 9)
        assert told(response) == {
            "first": "KAFKA_STORAGE_ERROR",
            "second": "NONE",
            "a_b": "INVALID_TOPIC_EXCEPTION",
            "a.b": "NONE",
        }


@pytest.mark.parametrize("version", range(8, 14))
async def test_operations_are_told_to_those_who_ask(kit: Kit, version: int) -> None:
    await kit.topic("a")
    flags: dict[str, bool] = {"include_topic_authorized_operations": True}
    if version <= 10:
        flags["include_cluster_authorized_operations"] = True
    response = await kit.ask(names("a", **flags), version)
    assert response.topics[0].topic_authorized_operations == TOPIC_OPERATIONS
    if version <= 10:
        assert response.cluster_authorized_operations == CLUSTER_OPERATIONS
    silent = await kit.ask(names("a"), version)
    assert silent.topics[0].topic_authorized_operations == -(2**31)


async def test_a_deleted_topic_is_not_brought_back_by_who_still_asks_for_it() -> None:
    kit = await a_kit(auto_create=True)
    for _ in range(2):
        assert told(await kit.ask(names("a"), 12)) == {"a": "NONE"}
        await kit.catalog.delete("a")
        await kit.clock.advance(0.9)
        assert told(await kit.ask(names("a", "b"), 12)) == {"a": "UNKNOWN_TOPIC_OR_PARTITION", "b": "NONE"}
        assert "a" not in kit.catalog.by_name
        await kit.clock.advance(0.2)
    assert told(await kit.ask(names("a"), 12)) == {"a": "NONE"}


async def test_a_deleted_topic_that_was_created_again_is_there() -> None:
    kit = await a_kit(auto_create=True)
    await kit.topic("a")
    await kit.catalog.delete("a")
    await kit.topic("a", 3)
    (topic,) = (await kit.ask(names("a"), 12)).topics
    assert (topic.error_code, len(topic.partitions)) == (0, 3)


async def test_a_deleted_topic_is_gone(kit: Kit) -> None:
    await kit.topic("a")
    await kit.catalog.delete("a")
    assert told(await kit.ask(names("a"), 9)) == {"a": "UNKNOWN_TOPIC_OR_PARTITION"}
