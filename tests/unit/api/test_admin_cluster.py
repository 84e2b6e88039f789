"""DescribeLogDirs, OffsetForLeaderEpoch, DescribeProducers, ElectLeaders: what a fresh Kafka cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from broker_kit import NOW, Kit, a_kit, batch, numbered, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import FencedLeaderEpoch, KafkaStorageError, UnknownLeaderEpoch
from kgw_core.records import build_batch
from kgw_core.spi.storage import Batch, Bounds, TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest
from kgw_core.wire.messages.describe_producers import DescribeProducersRequest, TopicRequest
from kgw_core.wire.messages.elect_leaders import ElectLeadersRequest
from kgw_core.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

pytestmark = pytest.mark.anyio


# -- DescribeLogDirs


async def test_a_partition_is_as_large_as_the_store_says(kit: Kit) -> None:
    log = await kit.log("t", 1)
    sent = batch("v" * 300)
    log.append(view(sent), True)
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest([DescribableLogDirTopic("t", [1, 0])]), 4)).results
    sizes = {each.partition_index: each.partition_size for each in log_dir.topics[0].partitions}
    assert sizes == {0: 0, 1: len(sent)}
    assert (log_dir.log_dir, log_dir.total_bytes, log_dir.usable_bytes) == ("/kgw/memory", -1, -1)


async def test_all_partitions_are_measured_a_few_at_a_time(kit: Kit) -> None:
    await kit.topic("a", 150)
    await kit.topic("b", 3)
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest(None), 1)).results
    assert [(topic.name, len(topic.partitions)) for topic in log_dir.topics] == [("a", 150), ("b", 3)]


async def test_a_store_that_fails_makes_the_log_dir_fail() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    await kit.topic("t", 3)
    store.fail("bounds", RuntimeError("disk"))
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest(None), 5)).results
    assert (log_dir.error_code, log_dir.topics) == (KafkaStorageError.code, [])
    await kit.close()


# -- OffsetForLeaderEpoch


class EpochStore(MemoryStore):
    """A memory store whose logs are led in epoch 7."""

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await super().bounds(tp))._replace(epoch=7)


async def led(spans: Sequence[tuple[int, int]]) -> Kit:
    """A kit whose topic t has a batch for each (epoch, records)."""
    kit = await a_kit(EpochStore())
    state = await kit.topic("t")
    base = 0
    for epoch, span in spans:
        data = build_batch([(b"k", b"v", NOW)] * span, base_offset=base, leader_epoch=epoch)
        await kit.store.append(state.partitions[0].tp, [Batch(base, span, NOW, bytes(data))])
        base += span
    return kit


async def ends(kit: Kit, *epochs: int, current: int = -1, version: int = 4) -> list[tuple[int, int, int]]:
    partitions = [OffsetForLeaderPartition(0, current, epoch) for epoch in epochs]
    request = OffsetForLeaderEpochRequest(-1, [OffsetForLeaderTopic("t", partitions)])
    answer: Any = await kit.ask(request, version)
    return [(each.error_code, each.leader_epoch, each.end_offset) for each in answer.topics[0].partitions]


async def test_an_older_epoch_ends_where_the_next_one_begins() -> None:
    kit = await led([(1, 2), (1, 3), (3, 1), (3, 1), (3, 4), (6, 2), (7, 5)])
    assert await ends(kit, 1, 3, 6) == [(0, 1, 5), (0, 3, 11), (0, 6, 13)]
    assert await ends(kit, 2, 5) == [(0, 1, 5), (0, 3, 11)], "of an epoch without records the one before"
    assert await ends(kit, 7, 8, -1) == [(0, 7, 18), (0, -1, -1), (0, -1, -1)]
    await kit.close()


async def test_an_epoch_older_than_all_that_is_left_ends_at_the_start() -> None:
    kit = await led([(1, 2), (3, 2), (6, 4), (6, 4)])
    log = await kit.log("t")
    await log.trim(6)
    assert await ends(kit, 1, 3) == [(0, 1, 6), (0, 3, 6)]
    assert await ends(kit, 6) == [(0, 6, 12)], "nothing was written in epoch 7 yet"
    await kit.close()


async def test_a_long_log_is_searched_not_read() -> None:
    kit = await led([(epoch // 100, 1) for epoch in range(700)])
    reads = []
    read = kit.store.read

    async def counting(tp: TopicPartition, offset: int, max_bytes: int) -> Any:
        reads.append(offset)
        return await read(tp, offset, max_bytes)

    await kit.log("t")
    kit.store.read = counting  # type: ignore[method-assign]
    assert await ends(kit, 3) == [(0, 3, 400)]
    assert len(reads) < 15
    await kit.close()


async def test_a_client_in_another_epoch_is_told_so() -> None:
    kit = await led([(7, 1)])
    assert await ends(kit, 7, current=6) == [(FencedLeaderEpoch.code, -1, -1)]
    assert await ends(kit, 7, current=8) == [(UnknownLeaderEpoch.code, -1, -1)]
    assert await ends(kit, 7, current=7) == [(0, 7, 1)]
    await kit.close()


async def test_version_0_has_the_offset_only() -> None:
    kit = await led([(1, 2), (7, 1)])
    assert await ends(kit, 1, version=0) == [(0, -1, 2)]
    assert await ends(kit, 1, version=1) == [(0, 1, 2)]
    await kit.close()


# -- DescribeProducers


async def test_producers_are_told_as_the_log_remembers_them(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(numbered(9, 0, 3)), True)
    await kit.clock.advance(5)
    log.append(view(numbered(4, 0, 2, epoch=1)), True)
    log.append(view(batch("no producer")), True)
    answer = await kit.ask(DescribeProducersRequest([TopicRequest("t", [0])]), 0)
    assert [
        (each.producer_id, each.producer_epoch, each.last_sequence, each.last_timestamp)
        for each in answer.topics[0].partitions[0].active_producers
    ] == [(4, 1, 1, NOW + 5000), (9, 0, 2, NOW)]


async def test_producers_are_known_after_a_restart(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(numbered(9, 0, 3)), True)
    again = await a_kit(kit.store)
    answer = await again.ask(DescribeProducersRequest([TopicRequest("t", [0])]), 0)
    (producer,) = answer.topics[0].partitions[0].active_producers
    assert (producer.producer_id, producer.last_sequence, producer.last_timestamp) == (9, 2, NOW)
    await again.close()


# -- ElectLeaders


async def test_an_election_of_all_touches_nothing(kit: Kit) -> None:
    await kit.topic("t", 2)
    answer = await kit.ask(ElectLeadersRequest(0, None), 2)
    assert [(each.topic, each.partition_result) for each in answer.replica_election_results] == [("t", [])]
