"""What `pip install kgw` gives to other people's tests: the fixture, and a gateway on the test's own loop."""

from __future__ import annotations

import aiokafka
import anyio
import confluent_kafka
import pytest

from kgw_core.gateway import running
from kgw_core.groups.service import GroupService
from kgw_core.testing.gateway import GatewayThread, free_config


def test_the_fixture_is_a_broker(kgw_gateway: GatewayThread) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": kgw_gateway.bootstrap})
    producer.produce("orders", b"1")
    assert producer.flush(10) == 0
    assert list(producer.list_topics(timeout=10).topics) == ["orders"]
    kgw_gateway.wait_for_log("topic orders created: 1 partition")


def test_the_fixture_is_a_new_broker_for_each_test(kgw_gateway: GatewayThread) -> None:
    admin = confluent_kafka.Producer({"bootstrap.servers": kgw_gateway.bootstrap})
    assert admin.list_topics(timeout=10).topics == {}


@pytest.mark.anyio
async def test_a_gateway_and_its_client_share_one_event_loop() -> None:
    async with running(free_config("orders:2")) as gateway:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=gateway.bootstrap)
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=gateway.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        async with producer, consumer:
            for number in range(10):
                await producer.send_and_wait("orders", b"%d" % number, partition=number % 2)
            consumer.assign([aiokafka.TopicPartition("orders", partition) for partition in range(2)])
            got = [await consumer.getone() for _ in range(10)]
    assert sorted(record.value for record in got) == [b"%d" % number for number in range(10)]


@pytest.mark.anyio
async def test_a_state_that_never_answers_does_not_keep_a_gateway_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing at the end is waited for longer than ``limits.drain_timeout``, or a second signal."""
    stopped = False

    async def stuck(_: GroupService) -> None:
        nonlocal stopped
        stopped = True
        await anyio.sleep_forever()

    monkeypatch.setattr(GroupService, "stop", stuck)
    with anyio.fail_after(20):
        async with running(free_config("orders:1")) as gateway:
            gateway.patience.lose()
    assert stopped
