"""Topics, configs and the cluster, through each client's admin side."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from python_clients import CLIENTS, Client, Rec, Refused

from kgw_core.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidTopicException,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
)
from kgw_core.testing.gateway import GatewayProcess


def test_a_topic_lives_from_create_to_delete(client: Client, name: str) -> None:
    assert name not in client.topics()
    client.create(name, 5)
    assert name in client.topics()
    assert client.partitions(name) == [0, 1, 2, 3, 4]
    client.delete(name)
    assert name not in client.topics()


def test_a_topic_that_is_created_again_is_empty(client: Client, name: str) -> None:
    client.create(name)
    client.produce(name, [Rec(b"old")])
    client.delete(name)
    client.create(name, 2)
    assert client.bounds(name, 0) == (0, 0)
    client.produce(name, [Rec(b"new")])
    assert [got.value for got in client.consume(name, {0: 0}, 1)] == [b"new"]


def test_a_topic_is_created_once_only(client: Client, name: str) -> None:
    client.create(name)
    with pytest.raises(Refused) as refused:
        client.create(name)
    assert refused.value.code == TopicAlreadyExists.code


def test_deleting_what_is_not_there_is_refused(client: Client, name: str) -> None:
    with pytest.raises(Refused) as refused:
        client.delete(name)
    assert refused.value.code == UnknownTopicOrPartition.code


@pytest.mark.parametrize("wrong", ["with space", "." * 2, "x" * 250])
def test_a_name_that_is_none_is_refused(client: Client, wrong: str) -> None:
    with pytest.raises(Refused) as refused:
        client.create(wrong)
    assert refused.value.code == InvalidTopicException.code


def test_no_partitions_are_refused(client: Client, name: str) -> None:
    with pytest.raises((Refused, ValueError)) as refused:  # librdkafka refuses it itself
        client.create(name, 0)
    assert isinstance(refused.value, ValueError) or refused.value.code == InvalidPartitions.code


@pytest.mark.parametrize("configs", [{"retention.ms": "soon"}, {"no.such.config": "1"}])
def test_configs_that_are_none_are_refused(client: Client, name: str, configs: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        client.create(name, 1, configs)
    assert refused.value.code == InvalidConfig.code
    assert name not in client.topics()


def test_a_topic_tells_its_configs(client: Client, name: str) -> None:
    client.create(name, 1, {"retention.ms": "12345", "cleanup.policy": "compact"})
    configs = client.configs(name)
    assert configs["retention.ms"] == "12345"
    assert configs["cleanup.policy"] == "compact"
    assert configs["compression.type"] == "producer"
    assert configs["max.message.bytes"] == "1048588"


def test_the_configs_of_an_unknown_topic_are_an_error(client: Client, name: str) -> None:
    if client.name == "kafka-python":  # it drops the error codes of DescribeConfigs
        assert client.configs(name) == {}
        return
    with pytest.raises(Refused) as refused:
        client.configs(name)
    assert refused.value.code == UnknownTopicOrPartition.code


def test_a_broker_tells_its_configs(client: Client) -> None:
    configs = client.broker_configs(client.cluster().controller)
    assert configs["auto.create.topics.enable"] == "true"
    assert configs["num.partitions"] == "1"


def test_the_cluster_is_one_broker_at_the_dialled_address(
    client: Client, dev_gateway: GatewayProcess
) -> None:
    cluster = client.cluster()
    assert cluster.brokers == [(cluster.controller, *dev_gateway.address)]
    assert cluster.cluster_id


def test_all_clients_see_the_same_cluster(dev_gateway: GatewayProcess) -> None:
    assert len({str(kind(dev_gateway.bootstrap).cluster()) for kind in CLIENTS}) == 1


# -- topics that nobody created


def test_dev_creates_a_topic_that_is_produced_to(client: Client, name: str) -> None:
    assert [sent.offset for sent in client.produce(name, [Rec(b"1"), Rec(b"2")])] == [0, 1]
    assert client.partitions(name) == [0]


def test_serve_creates_no_topic_that_is_produced_to(
    serve_gateway: GatewayProcess, new_name: Callable[[], str]
) -> None:
    import confluent_kafka

    name = new_name()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": serve_gateway.bootstrap, "topic.metadata.propagation.max.ms": 100}
    )
    errors = []
    producer.produce(name, b"value", partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(10) == 0
    assert errors[0].code() in (
        confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
        confluent_kafka.KafkaError._UNKNOWN_TOPIC,
    )
    assert name not in producer.list_topics(timeout=10).topics


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)
def test_serve_creates_no_topic_that_is_described(
    kind: type[Client], serve_gateway: GatewayProcess, name: str
) -> None:
    client = kind(serve_gateway.bootstrap)
    with pytest.raises(Refused) as refused:
        client.partitions(name)
    assert refused.value.code == UnknownTopicOrPartition.code
    assert name not in client.topics()


def test_serve_keeps_topics_that_are_created(serve_gateway: GatewayProcess, name: str) -> None:
    client = CLIENTS[0](serve_gateway.bootstrap)
    client.create(name)
    client.produce(name, [Rec(b"value")])
    assert [got.value for got in client.consume(name, {0: 0}, 1)] == [b"value"]


# -- transactions


def test_a_transactional_producer_is_told_quickly_that_there_are_none(client: Client, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(Exception, match=r"(?i)authoriz|transactional"):
        client.transactional(name)
    assert time.monotonic() - began < 5, "it must not retry until its time is up"
