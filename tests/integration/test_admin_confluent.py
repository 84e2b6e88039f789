"""librdkafka's AdminClient: its calls about topics, configs and partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import (
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    OffsetSpec,
    ResourceType,
)
from python_clients import SECONDS, Confluent, Rec, Refused

from kgw_core.testing.gateway import GatewayProcess


@pytest.fixture(scope="module")
def admin(dev_gateway: GatewayProcess) -> Iterator[AdminClient]:
    yield AdminClient({"bootstrap.servers": dev_gateway.bootstrap, "socket.timeout.ms": 10_000})


@pytest.fixture
def topic(dev_gateway: GatewayProcess, new_name: Callable[[], str]) -> str:
    """A topic of one partition with five records."""
    name, client = new_name(), Confluent(dev_gateway.bootstrap)
    client.create(name)
    client.produce(name, [Rec(b"%d" % number) for number in range(5)])
    return name


def result(futures: dict[Any, Future[Any]]) -> Any:
    """The outcome of the only one."""
    (future,) = futures.values()
    return future.result(SECONDS)


def code(futures: dict[Any, Future[Any]]) -> int:
    with pytest.raises(KafkaException) as failure:
        result(futures)
    found: int = failure.value.args[0].code()
    return found


def configs(admin: AdminClient, name: str, kind: Any = ResourceType.TOPIC) -> dict[str, ConfigEntry]:
    found: dict[str, ConfigEntry] = result(admin.describe_configs([ConfigResource(kind, name)]))
    return found


def test_partitions_are_added(admin: AdminClient, topic: str) -> None:
    result(admin.create_partitions([NewPartitions(topic, 3)], validate_only=True))
    assert len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions) == 1
    result(admin.create_partitions([NewPartitions(topic, 3)]))
    assert len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions) == 3
    assert code(admin.create_partitions([NewPartitions(topic, 2)])) == KafkaError.INVALID_PARTITIONS
    assert (
        code(admin.create_partitions([NewPartitions(f"{topic}-not", 2)])) == KafkaError.UNKNOWN_TOPIC_OR_PART
    )


def test_records_are_deleted(admin: AdminClient, topic: str) -> None:
    deleted = result(admin.delete_records([TopicPartition(topic, 0, 3)]))
    assert deleted.low_watermark == 3
    assert code(admin.delete_records([TopicPartition(topic, 0, 9)])) == KafkaError.OFFSET_OUT_OF_RANGE
    end = confluent_kafka.OFFSET_END
    assert result(admin.delete_records([TopicPartition(topic, 0, end)])).low_watermark == 5


@pytest.mark.filterwarnings("ignore:alter_configs has been deprecated")
def test_configs_are_replaced(admin: AdminClient, topic: str) -> None:
    result(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, {"retention.ms": "5000"})]))
    result(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, {"max.message.bytes": "7000"})]))
    found = configs(admin, topic)
    assert (found["retention.ms"].value, found["retention.ms"].is_default) == ("604800000", True)
    assert found["max.message.bytes"].value == "7000"
    assert found["max.message.bytes"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    assert set(found["max.message.bytes"].synonyms) == {"max.message.bytes", "message.max.bytes"}


def test_configs_are_changed_one_by_one(admin: AdminClient, topic: str) -> None:
    def change(*changes: tuple[str, str | None, AlterConfigOpType], **options: Any) -> dict[Any, Future[Any]]:
        entries = [ConfigEntry(name, value, incremental_operation=kind) for name, value, kind in changes]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        return admin.incremental_alter_configs([resource], **options)

    append, subtract = AlterConfigOpType.APPEND, AlterConfigOpType.SUBTRACT
    result(change(("retention.ms", "5000", AlterConfigOpType.SET), ("cleanup.policy", "compact", append)))
    result(change(("retention.ms", "1", AlterConfigOpType.SET), validate_only=True))
    found = configs(admin, topic)
    assert (found["retention.ms"].value, found["cleanup.policy"].value) == ("5000", "delete,compact")
    result(change(("retention.ms", None, AlterConfigOpType.DELETE), ("cleanup.policy", "delete", subtract)))
    found = configs(admin, topic)
    assert (found["retention.ms"].value, found["cleanup.policy"].value) == ("604800000", "compact")
    assert code(change(("retention.ms", "5", append))) == KafkaError.INVALID_CONFIG
    assert code(change(("no.such", "5", AlterConfigOpType.SET))) == KafkaError.INVALID_CONFIG


def change_broker(
    admin: AdminClient, broker: str, name: str, value: str | None, **options: Any
) -> dict[Any, Future[Any]]:
    kind = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value, incremental_operation=kind)
    resource = ConfigResource(ResourceType.BROKER, broker, incremental_configs=[entry])
    return admin.incremental_alter_configs([resource], **options)


def test_what_does_not_change_at_run_time_is_told_and_refused(admin: AdminClient) -> None:
    found = configs(admin, "1", ResourceType.BROKER)
    assert found["node.id"].value == "1"
    assert found["node.id"].is_read_only
    assert found["listeners"].source == ConfigSource.STATIC_BROKER_CONFIG.value
    assert found["num.partitions"].source == ConfigSource.DEFAULT_CONFIG.value
    assert code(change_broker(admin, "1", "num.partitions", "5")) == KafkaError.INVALID_REQUEST
    assert code(change_broker(admin, "1", "log.retention.ms", "soon")) == KafkaError.INVALID_REQUEST


def test_a_brokers_config_changes_at_run_time(
    dev_gateway: GatewayProcess, admin: AdminClient, topic: str
) -> None:
    name, client = "message.max.bytes", Confluent(dev_gateway.bootstrap)
    result(change_broker(admin, "1", name, "300"))
    try:
        told = configs(admin, "1", ResourceType.BROKER)[name]
        assert (told.value, told.source) == ("300", ConfigSource.DYNAMIC_BROKER_CONFIG.value)
        assert not told.is_read_only
        assert configs(admin, topic)["max.message.bytes"].value == "300"
        result(change_broker(admin, "1", name, "200", validate_only=True))
        with pytest.raises(Refused, match="Message size too large"):
            client.produce(topic, [Rec(b"v" * 400)])
    finally:
        result(change_broker(admin, "1", name, None))
    client.produce(topic, [Rec(b"v" * 400)])
    assert configs(admin, topic)["max.message.bytes"].is_default


def test_groups_tell_their_defaults(admin: AdminClient) -> None:
    assert configs(admin, "some-group", ResourceType.GROUP)["consumer.session.timeout.ms"].value == "45000"


def test_an_election_is_not_needed(admin: AdminClient, topic: str) -> None:
    for kind in (ElectionType.PREFERRED, ElectionType.UNCLEAN):
        asked = TopicPartition(topic, 0)
        (outcome,) = admin.elect_leaders(kind, [asked]).result(SECONDS).values()
        assert outcome.code() == KafkaError.ELECTION_NOT_NEEDED
    assert admin.elect_leaders(ElectionType.PREFERRED, None).result(SECONDS) == {}


def test_topics_and_the_cluster_are_described(admin: AdminClient, topic: str) -> None:
    described = result(admin.describe_topics(TopicCollection([topic]), include_authorized_operations=True))
    (partition,) = described.partitions
    assert [node.id for node in (partition.leader, *partition.replicas, *partition.isr)] == [1, 1, 1]
    assert not described.is_internal
    cluster = admin.describe_cluster(include_authorized_operations=True).result(SECONDS)
    assert [node.id for node in cluster.nodes] == [1]


@pytest.mark.parametrize(
    ("spec", "offset"),
    [
        (OffsetSpec.earliest(), 2),
        (OffsetSpec.latest(), 5),
        (OffsetSpec.for_timestamp(0), 2),
        (OffsetSpec.for_timestamp(2**60), -1),
    ],
    ids=["earliest", "latest", "by time", "in the future"],
)
def test_offsets_are_listed(admin: AdminClient, topic: str, spec: OffsetSpec, offset: int) -> None:
    result(admin.delete_records([TopicPartition(topic, 0, 2)]))
    asked = {TopicPartition(topic, 0): spec}
    found = result(admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED))
    assert found.offset == offset
