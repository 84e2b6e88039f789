"""Retention over sockets: a client sets it, and old records go without anybody asking."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
from python_clients import Confluent, Rec

from kgw_core.testing.gateway import GatewayThread, free_config, gateway_thread


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayThread]:
    config = free_config()
    topics = msgspec.structs.replace(config.topics, retention_check_interval=0.05)
    with gateway_thread(msgspec.structs.replace(config, topics=topics)) as running:
        yield running


@pytest.mark.parametrize(
    ("config", "value", "start"), [("retention.ms", "60000", 3), ("retention.bytes", "0", 5)]
)
def test_records_go_when_their_topic_is_told_to_keep_less(
    gateway: GatewayThread, config: str, value: str, start: int
) -> None:
    client, topic = Confluent(gateway.bootstrap), config
    now = round(time.time() * 1000)
    client.create(topic)
    for age in (3_600_000, 120_000, 90_000, 10_000, 0):
        client.produce(topic, [Rec(b"v", timestamp=now - age)])
    assert client.bounds(topic, 0) == (0, 5)
    _set(client, topic, config, value)
    _wait_for_bounds(client, topic, (start, 5))
    left = {got.offset for got in client.consume(topic, {0: start}, 5 - start)}
    assert left == set(range(start, 5))


@pytest.mark.parametrize("time_ms", [-62_135_596_800_000, -2])
def test_records_of_before_1970_age_from_when_they_were_written(gateway: GatewayThread, time_ms: int) -> None:
    """As a client sends them whose zero time is not Kafka's."""
    client, topic = Confluent(gateway.bootstrap), f"before{time_ms}"
    now = round(time.time() * 1000)
    client.create(topic, configs={"retention.ms": "60000"})
    for each in (now - 120_000, time_ms, now - 120_000):
        client.produce(topic, [Rec(b"v", timestamp=each)])
    _wait_for_bounds(client, topic, (1, 3))
    assert [got.offset for got in client.consume(topic, {0: 1}, 2)] == [1, 2]
    _set(client, topic, "retention.ms", "1")
    _wait_for_bounds(client, topic, (3, 3))


def _set(client: Confluent, topic: str, config: str, value: str) -> None:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    entry = ConfigEntry(config, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client._admin.incremental_alter_configs([resource])[resource].result(10)


def _wait_for_bounds(client: Confluent, topic: str, bounds: tuple[int, int]) -> None:
    deadline = time.monotonic() + 10
    while client.bounds(topic, 0) != bounds:
        assert time.monotonic() < deadline, client.bounds(topic, 0)
        time.sleep(0.02)
