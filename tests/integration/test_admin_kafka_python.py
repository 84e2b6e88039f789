"""kafka-python's KafkaAdminClient: its calls about topics, configs, partitions and the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import kafka
import kafka.errors
import pytest
from kafka.admin import (
    AlterConfigOp,
    ConfigFilterType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewPartitions,
    OffsetSpec,
)
from kafka.protocol.admin import ElectionType
from kafka.structs import TopicPartition
from python_clients import Confluent, Rec

from kgw_core.testing.gateway import GatewayProcess


@pytest.fixture(scope="module")
def admin(dev_gateway: GatewayProcess) -> Iterator[KafkaAdminClient]:
    made = KafkaAdminClient(bootstrap_servers=dev_gateway.bootstrap)
    yield made
    made.close()


@pytest.fixture
def topic(dev_gateway: GatewayProcess, new_name: Callable[[], str]) -> str:
    """A topic of one partition with five records of an idempotent producer."""
    name, client = new_name(), Confluent(dev_gateway.bootstrap)
    client.create(name)
    client.produce(name, [Rec(b"%d" % number) for number in range(5)], idempotent=True)
    return name


def changed(topic: str, **configs: str | None) -> ConfigResource:
    return ConfigResource(
        ConfigResourceType.TOPIC, topic, {key.replace("_", "."): value for key, value in configs.items()}
    )


def told(admin: KafkaAdminClient, topic: str, config: str) -> tuple[str, str]:
    """Value and source."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic)
    found = admin.describe_configs([asked], config_filter=ConfigFilterType.ALL)["topic"][topic][config]
    return found["value"], found["config_source"]


def test_partitions_are_added(admin: KafkaAdminClient, topic: str) -> None:
    admin.create_partitions({topic: NewPartitions(3)}, validate_only=True)
    admin.create_partitions({topic: NewPartitions(3)})
    (described,) = admin.describe_topics([topic])
    assert len(described["partitions"]) == 3
    with pytest.raises(kafka.errors.InvalidPartitionsError):
        admin.create_partitions({topic: NewPartitions(2)})


def test_records_are_deleted(admin: KafkaAdminClient, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    assert admin.delete_records({partition: 3})[partition]["low_watermark"] == 3
    assert admin.delete_records({partition: -1})[partition]["low_watermark"] == 5
    with pytest.raises(kafka.errors.OffsetOutOfRangeError):
        admin.delete_records({partition: 30})


@pytest.mark.parametrize("incremental", [True, False])
def test_configs_are_changed_and_reset(admin: KafkaAdminClient, topic: str, incremental: bool) -> None:
    change = changed(topic, retention_ms="5000")
    admin.alter_configs([change], incremental=incremental, validate_only=True)
    assert told(admin, topic, "retention.ms") == ("604800000", "DEFAULT_CONFIG")
    answer = admin.alter_configs([change], incremental=incremental)
    assert answer == {"topic": {topic: "OK"}}
    assert told(admin, topic, "retention.ms") == ("5000", "DYNAMIC_TOPIC_CONFIG")
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, topic, ["retention.ms"])])
    assert told(admin, topic, "retention.ms") == ("604800000", "DEFAULT_CONFIG")


def test_a_list_is_appended_to(admin: KafkaAdminClient, topic: str) -> None:
    configs = {"cleanup.policy": (AlterConfigOp.APPEND, "compact")}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)], incremental=True)
    assert told(admin, topic, "cleanup.policy")[0] == "delete,compact"


def test_what_has_configs_is_listed(admin: KafkaAdminClient, topic: str) -> None:
    found = admin.list_config_resources()
    assert (found["broker"], found["broker_logger"]) == (["1"], ["1"])
    assert topic in found["topic"]
    assert list(admin.list_config_resources([ConfigResourceType.BROKER])) == ["broker"]


def test_log_dirs_are_described(admin: KafkaAdminClient, topic: str) -> None:
    (broker,) = admin.describe_log_dirs({topic: [0]})
    (log_dir,) = broker["log_dirs"]
    (described,) = log_dir["topics"]
    assert (broker["broker"], described["name"]) == (1, topic)
    assert described["partitions"][0]["partition_size"] > 61


def test_producers_are_described(admin: KafkaAdminClient, topic: str) -> None:
    (state,) = admin.describe_producers([TopicPartition(topic, 0)]).values()
    (producer,) = state.active_producers
    assert (producer.producer_epoch, producer.last_sequence) == (0, 4)
    assert (producer.coordinator_epoch, producer.current_transaction_start_offset) == (-1, -1)


def test_partitions_are_described_page_by_page(admin: KafkaAdminClient, topic: str) -> None:
    admin.create_partitions({topic: NewPartitions(3)})
    page = admin.describe_topic_partitions([topic], response_partition_limit=2)
    assert [each["partition_index"] for each in page["topics"][0]["partitions"]] == [0, 1]
    cursor = page["next_cursor"]
    assert (cursor["topic_name"], cursor["partition_index"]) == (topic, 2)
    rest = admin.describe_topic_partitions([topic], response_partition_limit=2, cursor=cursor)
    assert [each["partition_index"] for each in rest["topics"][0]["partitions"]] == [2]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("kind", list(ElectionType))
def test_an_election_is_not_needed(admin: KafkaAdminClient, topic: str, kind: ElectionType) -> None:
    answer = admin.elect_leaders(kind, {topic: [0]}, raise_errors=False)
    (partition,) = answer.replica_election_results[0].partition_result
    assert partition.error_code == kafka.errors.ElectionNotNeededError.errno


def test_a_partition_stays_where_it_is(admin: KafkaAdminClient, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    assert admin.alter_partition_reassignments({partition: [1]}) == {partition: None}
    (refused,) = admin.alter_partition_reassignments({partition: [7]}).values()
    assert refused.errno == 39
    (refused,) = admin.alter_partition_reassignments({partition: None}).values()
    assert refused is kafka.errors.NoReassignmentInProgressError
    assert admin.list_partition_reassignments() == {}
    assert admin.list_partition_reassignments([partition]) == {}


def test_offsets_and_the_cluster_are_told(admin: KafkaAdminClient, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    assert admin.list_partition_offsets({partition: OffsetSpec.LATEST})[partition].offset == 5
    assert [broker["broker_id"] for broker in admin.describe_cluster()["brokers"]] == [1]


@pytest.mark.parametrize("incremental", [True, False])
def test_a_brokers_config_is_set_and_reset(admin: KafkaAdminClient, topic: str, incremental: bool) -> None:
    brokers = ConfigResource(ConfigResourceType.BROKER, "1", {"log.cleaner.delete.retention.ms": "77000"})
    assert admin.alter_configs([brokers], incremental=incremental) == {"broker": {"1": "OK"}}
    assert told(admin, topic, "delete.retention.ms") == ("77000", "DYNAMIC_BROKER_CONFIG")
    found = admin.describe_configs(
        [ConfigResource(ConfigResourceType.BROKER, "1")], config_filter=ConfigFilterType.ALL
    )
    assert found["broker"]["1"]["log.cleaner.delete.retention.ms"]["value"] == "77000"
    admin.reset_configs([ConfigResource(ConfigResourceType.BROKER, "1", ["log.cleaner.delete.retention.ms"])])
    assert told(admin, topic, "delete.retention.ms") == ("86400000", "DEFAULT_CONFIG")


def test_the_quorum_is_the_gateway(admin: KafkaAdminClient, dev_gateway: GatewayProcess) -> None:
    described = admin.describe_metadata_quorum()
    (partition,) = described["topics"][0]["partitions"]
    assert partition["leader_id"] == 1
    assert [voter["replica_id"] for voter in partition["current_voters"]] == [1]
    assert partition["current_voters"][0]["log_end_offset"] == partition["high_watermark"]
    (endpoint,) = described["nodes"][0]["listeners"]
    assert f"{endpoint['host']}:{endpoint['port']}" == dev_gateway.bootstrap


def test_no_feature_is_told_or_taken(admin: KafkaAdminClient) -> None:
    assert admin.describe_features() == {}
    with pytest.raises(kafka.errors.InvalidUpdateVersionError, match=r"feature transaction\.version"):
        admin.update_features({"transaction.version": 2}, validate_only=True)


def test_a_replica_stays_in_its_log_dir(admin: KafkaAdminClient, topic: str) -> None:
    replica = kafka.TopicPartitionReplica(topic, 0, 1)
    (broker,) = admin.describe_log_dirs({topic: [0]})
    here = broker["log_dirs"][0]["log_dir"]
    assert admin.alter_replica_log_dirs({replica: here}) == {replica: kafka.errors.NoError}
    (refused,) = admin.alter_replica_log_dirs({replica: "/elsewhere"}).values()
    assert refused is kafka.errors.LogDirNotFoundError
