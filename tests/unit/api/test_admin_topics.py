"""CreatePartitions, DeleteRecords and DescribeTopicPartitions, as far as one Kafka cannot show it."""

from __future__ import annotations

import pytest
from broker_kit import Kit, SlowStore, a_kit, batch, turns, values_of, view

from kgw_core.errors import (
    InvalidReplicaAssignment,
    InvalidTopicException,
    KafkaStorageError,
    OffsetOutOfRange,
    PolicyViolation,
    UnknownTopicOrPartition,
)
from kgw_core.pending import Pending
from kgw_core.spi.storage import TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from kgw_core.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from kgw_core.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    TopicRequest,
)
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic

pytestmark = pytest.mark.anyio


def adding(name: str, count: int, *brokers: list[int], check: bool = False) -> CreatePartitionsRequest:
    assignments = [CreatePartitionsAssignment(each) for each in brokers] or None
    return CreatePartitionsRequest([CreatePartitionsTopic(name, count, assignments)], 1000, check)


def deleting(name: str, offset: int, partition: int = 0) -> DeleteRecordsRequest:
    return DeleteRecordsRequest([DeleteRecordsTopic(name, [DeleteRecordsPartition(partition, offset)])])


async def filled(kit: Kit, name: str = "t", batches: int = 3, **configs: str) -> None:
    """A topic with batches of two records."""
    log = await kit.log(name, **configs)
    for number in range(batches):
        log.append(view(batch(f"{number}a", f"{number}b")), True)


# -- CreatePartitions


async def test_new_partitions_can_be_written_and_read_at_once(kit: Kit) -> None:
    state = await kit.topic("t")
    answer = await kit.ask(adding("t", 3), 3)
    assert answer.results[0].error_code == 0
    log = state.partitions[2]
    await log.open()
    log.append(view(batch("v")), True)
    assert values_of(await log.read(0, 1000)) == [b"v"]


async def test_to_validate_only_adds_nothing(kit: Kit) -> None:
    state = await kit.topic("t")
    answer = await kit.ask(adding("t", 3, check=True), 3)
    assert answer.results[0].error_code == 0
    assert len(state.partitions) == 1


async def test_the_limit_of_all_partitions_holds() -> None:
    kit = await a_kit()
    kit.catalog.max_partitions = 4
    state = await kit.topic("t", 2)
    for check in (True, False):
        answer = await kit.ask(adding("t", 5, check=check), 3)
        assert answer.results[0].error_code == PolicyViolation.code
        assert "max_partitions" in answer.results[0].error_message
    assert len(state.partitions) == 2
    await kit.close()


@pytest.mark.parametrize("setting", ["strict", "accept"])
async def test_an_assignment_names_brokers_that_are_there_whatever_the_settings_say(setting: str) -> None:
    kit = await a_kit(replication_factor=setting)
    await kit.topic("t")
    answer = await kit.ask(adding("t", 3, [1], [2]), 2)
    assert answer.results[0].error_code == InvalidReplicaAssignment.code
    await kit.close()


# -- DeleteRecords


async def test_deleted_records_are_out_of_range_for_a_fetch(kit: Kit) -> None:
    await filled(kit)
    answer = await kit.ask(deleting("t", 3), 2)
    assert answer.topics[0].partitions[0].low_watermark == 3
    for offset, code in ((2, OffsetOutOfRange.code), (3, 0)):
        request = FetchRequest(topics=[FetchTopic("t", partitions=[FetchPartition(0, -1, offset)])])
        request.max_bytes = request.topics[0].partitions[0].partition_max_bytes = 1000
        assert (await kit.ask(request, 4)).responses[0].partitions[0].error_code == code


async def test_the_records_of_internal_topics_are_kept(kit: Kit) -> None:
    await filled(kit, "__consumer_offsets")
    answer = await kit.ask(deleting("__consumer_offsets", -1), 1)
    assert answer.topics[0].partitions[0].error_code == InvalidTopicException.code
    assert kit.catalog.find("__consumer_offsets").partitions[0].start == 0


async def test_a_store_that_fails_to_delete_is_told_of_and_nothing_is_gone() -> None:
    from kgw_storage_memory.store import MemoryStore

    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    await filled(kit)
    store.fail("trim", RuntimeError("disk"))
    answer = await kit.ask(deleting("t", 2), 2)
    failed = answer.topics[0].partitions[0]
    assert (failed.error_code, failed.low_watermark) == (KafkaStorageError.code, -1)
    assert kit.catalog.find("t").partitions[0].start == 0
    assert (await kit.ask(deleting("t", 2), 2)).topics[0].partitions[0].low_watermark == 2
    await kit.close()


async def test_records_are_deleted_from_a_log_that_nobody_has_opened_yet(kit: Kit) -> None:
    await filled(kit)
    again = await a_kit(kit.store)
    answer = await again.ask(deleting("t", -1), 2)
    assert answer.topics[0].partitions[0].low_watermark == 6
    await again.close()


# -- DescribeTopicPartitions


async def test_pages_follow_each_other_until_everything_was_told(kit: Kit) -> None:
    for name, count in (("b", 3), ("a", 2), ("c", 4)):
        await kit.topic(name, count)
    cursor, told, pages = None, [], 0
    while True:
        answer = await kit.ask(DescribeTopicPartitionsRequest([], 4, cursor), 0)
        told += [(topic.name, each.partition_index) for topic in answer.topics for each in topic.partitions]
        pages += 1
        if answer.next_cursor is None:
            break
        following = answer.next_cursor
        cursor = DescribeTopicPartitionsRequestCursor(following.topic_name, following.partition_index)
    assert told == [(name, index) for name, count in (("a", 2), ("b", 3), ("c", 4)) for index in range(count)]
    assert pages == 3


async def test_an_answer_has_at_most_two_thousand_partitions(kit: Kit) -> None:
    await kit.topic("t", 2001)
    answer = await kit.ask(DescribeTopicPartitionsRequest([TopicRequest("t")], 10_000), 0)
    assert len(answer.topics[0].partitions) == 2000
    assert answer.next_cursor.partition_index == 2000


async def test_records_of_many_partitions_are_deleted_beside_each_other() -> None:
    """A store that commits each trim can do those that wait together: one by one 100,000 take minutes."""

    class Trimming(SlowStore):
        under_way = most = 0

        async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await turns()
            await super().trim(tp, before, epoch)
            self.under_way -= 1

    store = Trimming()
    store.patient = False
    kit = await a_kit(store)
    kit.start_writers()
    await kit.topic("t", 300)
    for index in range(250):
        log = await kit.log("t", index)
        waiting = log.append(memoryview(batch("a")), False)
        assert isinstance(waiting, Pending)
        await waiting.wait()
    partitions = [DeleteRecordsPartition(index, -1) for index in range(301)]
    request = DeleteRecordsRequest([DeleteRecordsTopic("t", partitions)], 1000)
    (topic,) = (await kit.ask(request, 2)).topics
    results = [(each.partition_index, each.low_watermark, each.error_code) for each in topic.partitions]
    assert results == [
        *((index, 1, 0) for index in range(250)),
        *((index, 0, 0) for index in range(250, 300)),
        (300, -1, UnknownTopicOrPartition.code),
    ]
    assert 50 < store.most <= 100
    await kit.close()
