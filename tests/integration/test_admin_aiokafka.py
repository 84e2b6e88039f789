"""aiokafka's AIOKafkaAdminClient: its calls about topics, configs and partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiokafka.errors
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition
from python_clients import Confluent, Rec

from kgw_core.testing.gateway import GatewayProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin(dev_gateway: GatewayProcess) -> AsyncIterator[AIOKafkaAdminClient]:
    made = AIOKafkaAdminClient(bootstrap_servers=dev_gateway.bootstrap)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def topic(dev_gateway: GatewayProcess, new_name: Callable[[], str]) -> str:
    """A topic of one partition with five records."""
    name, client = new_name(), Confluent(dev_gateway.bootstrap)
    client.create(name)
    client.produce(name, [Rec(b"%d" % number) for number in range(5)])
    return name


async def told(admin: AIOKafkaAdminClient, topic: str, config: str) -> Any:
    asked = ConfigResource(ConfigResourceType.TOPIC, topic)
    (answer,) = await admin.describe_configs([asked], include_synonyms=True)
    (entries,) = [entries for code, _, _, name, entries in answer.resources if (code, name) == (0, topic)]
    return next(entry for entry in entries if entry[0] == config)


async def test_partitions_are_added(admin: AIOKafkaAdminClient, topic: str) -> None:
    await admin.create_partitions({topic: NewPartitions(3)}, validate_only=True)
    (described,) = await admin.describe_topics([topic])
    assert len(described["partitions"]) == 1
    await admin.create_partitions({topic: NewPartitions(3)})
    (described,) = await admin.describe_topics([topic])
    assert len(described["partitions"]) == 3


async def test_fewer_partitions_are_refused(admin: AIOKafkaAdminClient, topic: str) -> None:
    with pytest.raises(aiokafka.errors.InvalidPartitionsError):
        await admin.create_partitions({topic: NewPartitions(1)})


async def test_records_are_deleted(admin: AIOKafkaAdminClient, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    assert await admin.delete_records({partition: RecordsToDelete(3)}) == {partition: 3}
    assert await admin.delete_records({partition: RecordsToDelete(-1)}) == {partition: 5}
    with pytest.raises(aiokafka.errors.OffsetOutOfRangeError):
        await admin.delete_records({partition: RecordsToDelete(9)})


async def test_configs_are_replaced(admin: AIOKafkaAdminClient, topic: str) -> None:
    for configs in ({"retention.ms": "5000"}, {"max.message.bytes": "7000"}):
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
        assert answer.resources[0][0] == 0
    assert (await told(admin, topic, "max.message.bytes"))[1] == "7000"
    assert (await told(admin, topic, "retention.ms"))[1] == "604800000"


async def test_a_config_that_is_none_is_refused(admin: AIOKafkaAdminClient, topic: str) -> None:
    wrong = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "soon"})
    (answer,) = await admin.alter_configs([wrong])
    assert answer.resources[0][0] == aiokafka.errors.InvalidConfigurationError.errno


async def test_the_broker_cannot_be_changed(admin: AIOKafkaAdminClient) -> None:
    wrong = ConfigResource(ConfigResourceType.BROKER, "1", {"num.partitions": "5"})
    answers = await admin.alter_configs([wrong])
    codes = [code for answer in answers for code, *_ in answer.resources]
    assert codes == [aiokafka.errors.InvalidRequestError.errno]
