"""Groups through the admin clients of Python: told, their offsets changed, members removed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import kafka.errors
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from group_checks import make_topic, produce
from group_members import ConfluentMember, wait_until
from kafka.admin import KafkaAdminClient, MemberToRemove, OffsetSpec
from kafka.structs import OffsetAndMetadata
from kafka.structs import TopicPartition as TheirPartition
from python_clients import SECONDS

from kgw_core.testing.gateway import GatewayProcess


@pytest.fixture
def topic(dev_gateway: GatewayProcess, new_name: Callable[[], str]) -> str:
    """A topic of two partitions with five records each; the name is the group's too."""
    name = new_name()
    make_topic(dev_gateway.bootstrap, name, 2)
    produce(dev_gateway.bootstrap, name, 2)
    return name


@pytest.fixture
def member(dev_gateway: GatewayProcess, topic: str) -> Iterator[ConfluentMember]:
    """One member that has read everything; stopped, it leaves."""
    member = ConfluentMember(dev_gateway.bootstrap, topic, topic, **{"client.id": "reader"})
    wait_until(lambda: len(member.seen) == 10, "all records are seen")
    yield member
    member.stop()


def result(futures: dict[str, Future[Any]]) -> Any:
    """The outcome of the only one."""
    (future,) = futures.values()
    return future.result(SECONDS)


def code(futures: dict[str, Future[Any]]) -> int:
    with pytest.raises(KafkaException) as failure:
        result(futures)
    found: int = failure.value.args[0].code()
    return found


# -- librdkafka


@pytest.fixture(scope="module")
def confluent(dev_gateway: GatewayProcess) -> AdminClient:
    return AdminClient({"bootstrap.servers": dev_gateway.bootstrap, "socket.timeout.ms": 10_000})


def test_confluent_lists_and_describes(confluent: AdminClient, topic: str, member: ConfluentMember) -> None:
    for options, listed in (
        ({}, True),
        ({"states": {ConsumerGroupState.STABLE}}, True),
        ({"states": {ConsumerGroupState.EMPTY}}, False),
        ({"types": {ConsumerGroupType.CLASSIC}}, True),
    ):
        found = confluent.list_consumer_groups(**options).result(SECONDS)
        assert not found.errors
        (*mine,) = [one for one in found.valid if one.group_id == topic]
        assert bool(mine) == listed
        assert all(one.type == ConsumerGroupType.CLASSIC and not one.is_simple_consumer_group for one in mine)
    told = result(confluent.describe_consumer_groups([topic]))
    assert (told.state, told.partition_assignor) == (ConsumerGroupState.STABLE, "range")
    (one,) = told.members
    assert (one.client_id, one.host, one.group_instance_id) == ("reader", "/127.0.0.1", None)
    assert {(tp.topic, tp.partition) for tp in one.assignment.topic_partitions} == {(topic, 0), (topic, 1)}


def test_confluent_changes_offsets(confluent: AdminClient, topic: str, member: ConfluentMember) -> None:
    def committed() -> dict[int, int]:
        asked = ConsumerGroupTopicPartitions(topic)
        found = result(confluent.list_consumer_group_offsets([asked])).topic_partitions
        return {tp.partition: tp.offset for tp in found}

    wait_until(lambda: committed() == {0: 5, 1: 5}, "all is committed")
    wanted = ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, 1, 2)])
    refused = result(confluent.alter_consumer_group_offsets([wanted])).topic_partitions
    assert [tp.error.code() for tp in refused] == [KafkaError.UNKNOWN_MEMBER_ID]
    member.stop()
    result(confluent.alter_consumer_group_offsets([wanted]))
    assert committed() == {0: 5, 1: 2}


def test_confluent_deletes(confluent: AdminClient, topic: str, member: ConfluentMember) -> None:
    assert code(confluent.delete_consumer_groups([topic])) == KafkaError.NON_EMPTY_GROUP
    member.stop()
    assert result(confluent.delete_consumer_groups([topic])) is None
    assert code(confluent.delete_consumer_groups([topic])) == KafkaError.GROUP_ID_NOT_FOUND


# -- kafka-python


@pytest.fixture(scope="module")
def theirs(dev_gateway: GatewayProcess) -> Iterator[KafkaAdminClient]:
    made = KafkaAdminClient(bootstrap_servers=dev_gateway.bootstrap)
    yield made
    made.close()


def test_kafka_python_lists_and_describes(
    theirs: KafkaAdminClient, topic: str, member: ConfluentMember
) -> None:
    for options, listed in (
        ({}, True),
        ({"states_filter": ["Stable"]}, True),
        ({"states_filter": ["Empty"]}, False),
        ({"types_filter": ["classic"]}, True),
        ({"types_filter": ["share"]}, False),
    ):
        (*mine,) = [one for one in theirs.list_groups(**options) if one["group_id"] == topic]
        assert bool(mine) == listed
    told = theirs.describe_groups([topic])[topic]
    assert (told["group_state"], told["protocol_type"], told["protocol_data"]) == (
        "Stable",
        "consumer",
        "range",
    )
    (one,) = told["members"]
    assert (one["client_id"], one["client_host"]) == ("reader", "/127.0.0.1")
    assert one["member_assignment"]["assigned_partitions"] == [{"topic": topic, "partitions": [0, 1]}]


def test_kafka_python_changes_offsets(theirs: KafkaAdminClient, topic: str, member: ConfluentMember) -> None:
    first, second = TheirPartition(topic, 0), TheirPartition(topic, 1)

    def committed() -> dict[TheirPartition, int]:
        return {tp: one.offset for tp, one in theirs.list_group_offsets(topic)[topic].items()}

    wait_until(lambda: committed() == {first: 5, second: 5}, "all is committed")
    to = {second: OffsetAndMetadata(2, "a note", -1)}
    assert theirs.alter_group_offsets(topic, to) == {second: kafka.errors.UnknownMemberIdError}
    assert theirs.delete_group_offsets(topic, [first]) == {first: kafka.errors.GroupSubscribedToTopicError}
    member.stop()
    assert theirs.alter_group_offsets(topic, to) == {second: kafka.errors.NoError}
    assert committed() == {first: 5, second: 2}
    theirs.reset_group_offsets(topic, {second: OffsetSpec.EARLIEST})
    assert committed() == {first: 5, second: 0}
    assert theirs.delete_group_offsets(topic, [first]) == {first: kafka.errors.NoError}
    assert committed() == {second: 0}


def test_kafka_python_removes_members_and_deletes(
    theirs: KafkaAdminClient, dev_gateway: GatewayProcess, topic: str
) -> None:
    member = ConfluentMember(dev_gateway.bootstrap, topic, topic, **{"group.instance.id": "static-one"})
    wait_until(lambda: len(member.seen) == 10, "all records are seen")
    member.stop()
    assert theirs.delete_groups([topic]) == {topic: "NonEmptyGroupError"}
    removed = theirs.remove_group_members(topic, [MemberToRemove(group_instance_id="static-one")])
    assert removed == {"static-one": kafka.errors.NoError}
    assert theirs.describe_groups([topic])[topic]["members"] == []
    assert theirs.delete_groups([topic]) == {topic: "OK"}
    assert theirs.delete_groups([topic]) == {topic: "GroupIdNotFoundError"}


# -- aiokafka


@pytest.mark.anyio
async def test_aiokafka_lists_and_describes(
    dev_gateway: GatewayProcess, topic: str, member: ConfluentMember
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=dev_gateway.bootstrap)
    await admin.start()
    try:
        assert (topic, "consumer") in await admin.list_consumer_groups()
        assert await admin.find_coordinator(topic) == 1
        (answer,) = await admin.describe_consumer_groups([topic])
        ((code, group, state, kind, protocol, (described,)),) = answer.groups
        assert (code, group, state, kind, protocol) == (0, topic, "Stable", "consumer", "range")
        assert described[1:3] == ("reader", "/127.0.0.1")
        member.stop()
        committed = await admin.list_consumer_group_offsets(topic)
        assert {tp.partition: found.offset for tp, found in committed.items()} == {0: 5, 1: 5}
    finally:
        await admin.close()
