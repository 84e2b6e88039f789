"""`kgw serve` on SQLite, seen by unmodified clients, across restarts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from broker import SECONDS, admin, consumer, create_topic, produce, serve, take
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from kgw_core.testing.gateway import GatewayProcess


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    """Records with keys and headers, topics with configs, committed offsets, the cluster's id."""
    values = [b"%d" % number for number in range(500)]
    with serve(tmp_path) as gateway:
        create_topic(gateway, "orders", 3, retention_ms="123456789")
        create_topic(gateway, "gone")
        assert produce(gateway, "orders", values) == list(range(500))
        with consumer(gateway, "readers") as reader:
            reader.subscribe(["orders"])
            assert [message.value() for message in take(reader, 200)] == values[:200]
            reader.commit(offsets=[TopicPartition("orders", 0, 200)], asynchronous=False)
        client = admin(gateway)
        client.delete_topics(["gone"])["gone"].result(SECONDS)
        cluster = client.list_topics(timeout=SECONDS).cluster_id
    with serve(tmp_path) as gateway:
        client = admin(gateway)
        metadata = client.list_topics(timeout=SECONDS)
        assert metadata.cluster_id == cluster
        assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == {"orders": 3}
        resource = ConfigResource(ResourceType.TOPIC, "orders")
        [described] = client.describe_configs([resource]).values()
        assert described.result(SECONDS)["retention.ms"].value == "123456789"
        with consumer(gateway, "readers") as reader:
            reader.subscribe(["orders"])
            rest = take(reader, 300)
        assert [message.value() for message in rest] == values[200:]
        assert [message.offset() for message in rest] == list(range(200, 500))
        assert (rest[0].key(), rest[0].headers()) == (b"k", [("h", b"1")])
        assert produce(gateway, "orders", [b"more"]) == [500]


def test_a_brokers_configs_are_there_after_a_restart(tmp_path: Path) -> None:
    def changed(gateway: GatewayProcess, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        client = admin(gateway)
        [outcome] = client.incremental_alter_configs([resource]).values()
        outcome.result(SECONDS)

    def told(gateway: GatewayProcess, kind: ResourceType, resource: str, name: str) -> tuple[str, int]:
        client = admin(gateway)
        [described] = client.describe_configs([ConfigResource(kind, resource)]).values()
        entry = described.result(SECONDS)[name]
        return entry.value, entry.source

    with serve(tmp_path) as gateway:
        create_topic(gateway, "orders")
        changed(gateway, "log.retention.ms", "70000")
        changed(gateway, "message.max.bytes", "5000")
    with serve(tmp_path) as gateway:
        assert told(gateway, ResourceType.TOPIC, "orders", "retention.ms") == ("70000", 2)
        assert told(gateway, ResourceType.BROKER, "1", "message.max.bytes") == ("5000", 2)
        changed(gateway, "message.max.bytes", "6000")
        assert told(gateway, ResourceType.TOPIC, "orders", "max.message.bytes") == ("6000", 2)


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_batches_of_every_size_come_back_as_they_were(tmp_path: Path, codec: str) -> None:
    values = [bytes([number % 251]) * size for number, size in enumerate((0, 10, 1_000, 60_000, 200_000) * 8)]
    with serve(tmp_path) as gateway:
        create_topic(gateway, "sizes")
        options = {"enable.idempotence": True, "compression.type": codec}
        assert produce(gateway, "sizes", values, **options) == list(range(40))
        for _ in range(2):
            with consumer(gateway, "once") as reader:
                reader.assign([TopicPartition("sizes", 0, 0)])
                assert [message.value() for message in take(reader, 40)] == values


def test_a_second_gateway_on_the_database_says_who_has_it(tmp_path: Path) -> None:
    with serve(tmp_path) as gateway:
        config = tmp_path / "kgw.toml"
        second = subprocess.run(
            [sys.executable, "-c", "from kgw_core.cli import main; main()", "serve", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={"KGW_LISTENERS__0__PORT": "0"},
        )
        assert second.returncode == 1
        assert "is in use by another gateway" in second.stderr
        assert f"process {gateway.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        create_topic(gateway, "still")
        assert produce(gateway, "still", [b"1"]) == [0]
