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
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    client, topic = Confluent(gateway.bootstrap), config
    now = round(time.time() * 1000)
    client.create(topic)
    for age in (3_600_000, 120_000, 90_000, 10_000, 0):
        client.produce(topic, [Rec(b"v", timestamp=now - age)])
    assert client.bounds(topic, 0) == (0, 5)
    entry = ConfigEntry(config, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client._admin.incremental_alter_configs([resource])[resource].result(10)
    deadline = time.monotonic() + 10
    while client.bounds(topic, 0) != (start, 5):
        assert time.monotonic() < deadline, client.bounds(topic, 0)
        time.sleep(0.02)
    left = {got.offset for got in client.consume(topic, {0: start}, 5 - start)}
    assert left == set(range(start, 5))
