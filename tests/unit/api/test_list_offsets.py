"""ListOffsets through the dispatcher."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from broker_kit import NOW, Kit, SlowStore, a_kit, batch, turns, view, waiting
from kgw_storage_memory.store import MemoryStore

from kgw_core import errors
from kgw_core.api.list_offsets import LOOKUPS
from kgw_core.records import build_batch
from kgw_core.spi.storage import TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic

pytestmark = pytest.mark.anyio

LATEST, EARLIEST, MAX_TIMESTAMP, LOCAL, TIERED, PENDING = -1, -2, -3, -4, -5, -6


def request_of(*timestamps: int, version: int, topic: str = "t", **fields: int) -> ListOffsetsRequest:
    """One timestamp for each partition from 0 on."""
    most = {"max_num_offsets": fields.pop("max_num_offsets", 10)} if version == 0 else {}
    isolation = fields.pop("isolation_level", 0)
    asked = [
        ListOffsetsPartition(index, timestamp=time, **most, **fields) for index, time in enumerate(timestamps)
    ]
    return ListOffsetsRequest(-1, isolation, [ListOffsetsTopic(topic, asked)])


async def test_a_topic_of_which_nothing_is_asked_is_left_out(kit: Kit) -> None:
    await kit.topic("t")
    assert (await kit.ask(request_of(version=4), 4)).topics == []


async def ask(kit: Kit, timestamp: int, version: int = 11, **options: Any) -> Any:
    response = await kit.ask(request_of(timestamp, version=version, **options), version)
    (topic,) = response.topics
    (answer,) = topic.partitions
    return answer


async def filled(kit: Kit, *times: list[int], **configs: str) -> None:
    await kit.topic("t", 1, **configs)
    log = await kit.log()
    for each in times:
        log.append(view(build_batch([(b"k", b"v", time) for time in each])), False)
        await turns()


async def found(kit: Kit, timestamp: int, version: int = 11, **options: Any) -> tuple[int, int]:
    answer = await ask(kit, timestamp, version, **options)
    assert answer.error_code == 0
    return answer.offset, answer.timestamp


@pytest.mark.parametrize("version", range(1, 12))
async def test_start_end_and_times_in_every_version(kit: Kit, version: int) -> None:
    await filled(kit, [10, 20], [30, 40, 50])
    await (await kit.log()).trim(1)
    assert await found(kit, EARLIEST, version) == (1, -1)
    assert await found(kit, LATEST, version) == (5, -1)
    assert await found(kit, 35, version) == (3, 40)
    assert await found(kit, 51, version) == (-1, -1)
    answer = await ask(kit, LATEST, version)
    assert answer.leader_epoch == (0 if version >= 4 else -1)


@pytest.mark.parametrize("version", range(12))
@pytest.mark.parametrize(
    ("timestamp", "since", "offset"),
    [(MAX_TIMESTAMP, 7, 2), (LOCAL, 8, 0), (TIERED, 9, -1), (PENDING, 11, -1)],
)
async def test_special_times_are_for_the_versions_that_know_them(
    kit: Kit, version: int, timestamp: int, since: int, offset: int
) -> None:
    await filled(kit, [10, 20, 90], [30])
    answer = await ask(kit, timestamp, version)
    if version < since:
        assert errors.error_name(answer.error_code) == "UNSUPPORTED_VERSION"
        if version:
            assert (answer.offset, answer.timestamp) == (-1, -1)
    else:
        assert (answer.error_code, answer.offset) == (0, offset)
        assert answer.timestamp == (90 if timestamp == MAX_TIMESTAMP else -1)


@pytest.mark.parametrize("version", [1, 11])
@pytest.mark.parametrize("timestamp", [-7, -100, -(2**63)])
async def test_times_that_nobody_knows(kit: Kit, version: int, timestamp: int) -> None:
    await kit.log()
    assert errors.error_name((await ask(kit, timestamp, version)).error_code) == "UNSUPPORTED_VERSION"


@pytest.mark.parametrize(
    ("timestamp", "most", "offsets"),
    [
        (LATEST, 10, [5, 1]),
        (LATEST, 1, [5]),
        (LATEST, 0, []),
        (EARLIEST, 10, [1]),
        (NOW - 1, 10, []),
        (NOW, 10, [3, 1]),
        (NOW + 999, 10, [3, 1]),
        (NOW + 999, 1, [3]),
        (NOW + 1000, 10, [5, 1]),
        (NOW + 1000, 0, []),
        (NOW + 10**9, 1, [5]),
    ],
)
async def test_the_oldest_version_lists_offsets_downwards(
    kit: Kit, timestamp: int, most: int, offsets: list[int]
) -> None:
    """A time asks for what was not written to after it: records' own times do not count."""
    await filled(kit, [10, 20])
    log = await kit.log()
    log.append(view(batch("large" * 1000)), False)  # what follows has a write time of its own
    await log.trim(1)
    await kit.clock.advance(1)
    log.append(view(batch("c", "d", time=-1)), False)
    answer = await ask(kit, timestamp, 0, max_num_offsets=most)
    assert (answer.error_code, answer.old_style_offsets) == (0, offsets)


async def test_an_empty_log(kit: Kit) -> None:
    await kit.log()
    assert await found(kit, EARLIEST) == await found(kit, LATEST) == (0, -1)
    assert await found(kit, MAX_TIMESTAMP) == await found(kit, 0) == (-1, -1)
    assert (await ask(kit, LATEST, 0)).old_style_offsets == [0]
    assert (await ask(kit, 5, 0)).old_style_offsets == [0]


async def test_read_committed_ends_at_the_last_stable_offset(kit: Kit) -> None:
    await filled(kit, [10, 20])
    assert await found(kit, LATEST, isolation_level=1) == (2, -1)


async def test_under_log_append_time_it_is_the_brokers_time(kit: Kit) -> None:
    await filled(kit, [10, 20], message_timestamp_type="LogAppendTime")
    assert await found(kit, 0) == (0, NOW)
    assert await found(kit, MAX_TIMESTAMP) == (0, NOW)
    assert await found(kit, NOW + 1) == (-1, -1)


async def test_a_log_that_is_not_open_yet_is_opened(kit: Kit) -> None:
    await kit.topic()
    assert await found(kit, LATEST) == (0, -1)


async def test_what_is_named_twice_gets_one_answer(kit: Kit) -> None:
    """A partition is refused, however it came to be there twice; a topic's partitions are put together."""
    await kit.topic(partitions=4)
    request = request_of(LATEST, LATEST, version=11)
    request.topics[0].partitions.append(ListOffsetsPartition(1, timestamp=EARLIEST))
    request.topics += request_of(LATEST, version=11, topic="no").topics
    again = [ListOffsetsPartition(index, timestamp=LATEST) for index in (2, 0, 2, 2, 3)]
    request.topics.append(ListOffsetsTopic("t", again))
    answered = [
        (topic.name, each.partition_index, errors.error_name(each.error_code))
        for topic in (await kit.ask(request, 11)).topics
        for each in topic.partitions
    ]
    assert answered == [
        ("t", 0, "INVALID_REQUEST"),
        ("t", 1, "INVALID_REQUEST"),
        ("t", 2, "INVALID_REQUEST"),
        ("t", 3, "NONE"),
        ("no", 0, "UNKNOWN_TOPIC_OR_PARTITION"),
    ]


@pytest.mark.parametrize("name", ["t", "no"])
async def test_what_is_wrong_with_an_entry_is_told_in_kafkas_order(kit: Kit, name: str) -> None:
    """Named twice; a timestamp that the version has not; a partition that is not there."""
    await kit.log()
    entries = [(7, -4), (8, -4), (8, -4), (9, LATEST)]
    asked = [ListOffsetsPartition(index, timestamp=time) for index, time in entries]
    (topic,) = (await kit.ask(ListOffsetsRequest(-1, 0, [ListOffsetsTopic(name, asked)]), 1)).topics
    assert [errors.error_name(each.error_code) for each in topic.partitions] == [
        "UNSUPPORTED_VERSION",
        "INVALID_REQUEST",
        "UNKNOWN_TOPIC_OR_PARTITION",
    ]


@pytest.mark.parametrize("version", range(12))
async def test_what_is_not_there(kit: Kit, version: int) -> None:
    await kit.log()
    assert (await ask(kit, LATEST, version, topic="no")).error_code == 3
    response = await kit.ask(request_of(LATEST, LATEST, version=version), version)
    assert [each.error_code for each in response.topics[0].partitions] == [0, 3]


@pytest.mark.parametrize("timestamp", [LATEST, EARLIEST, MAX_TIMESTAMP, 5])
@pytest.mark.parametrize(
    ("epoch", "name"), [(2, "FENCED_LEADER_EPOCH"), (3, "NONE"), (4, "UNKNOWN_LEADER_EPOCH")]
)
async def test_leader_epochs(kit: Kit, timestamp: int, epoch: int, name: str) -> None:
    await filled(kit, [10])
    (await kit.log()).leader_epoch = 3
    answer = await ask(kit, timestamp, current_leader_epoch=epoch)
    assert errors.error_name(answer.error_code) == name
    if name == "NONE":
        assert answer.leader_epoch == (3 if timestamp == LATEST else 0), "that of the batch, or of the log"


@pytest.mark.parametrize("timestamp", [LATEST, EARLIEST, LOCAL, MAX_TIMESTAMP, 15])
async def test_the_leader_epoch_of_an_answer_is_the_records(kit: Kit, timestamp: int) -> None:
    """That of the batch which holds the offset; where nothing follows the log's, and none in old versions."""
    await kit.topic()
    log = await kit.log()
    for epoch, time in ((2, 10), (3, 20), (5, 20)):
        log.leader_epoch = epoch
        log.append(view(build_batch([(b"k", b"v", time)])), False)
    log.leader_epoch = 7
    expected = {LATEST: 7, EARLIEST: 2, LOCAL: 2, MAX_TIMESTAMP: 3, 15: 3}[timestamp]
    assert (await ask(kit, timestamp)).leader_epoch == expected
    assert (await ask(kit, 15, 3)).leader_epoch == -1
    await log.trim(2)
    assert (await ask(kit, EARLIEST)).leader_epoch == 5
    await log.trim(3)
    assert (await ask(kit, EARLIEST)).leader_epoch == 7
    none = await ask(kit, 15)
    assert (none.offset, none.timestamp, none.leader_epoch) == (-1, -1, -1)


async def test_a_storage_failure_is_the_partitions_own() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    await filled(kit, [10])
    store.fail("find_time", OSError("bad sector"))
    assert (await ask(kit, 5)).error_code == errors.KafkaStorageError.code
    assert await found(kit, 5) == (0, 10)


async def test_some_look_ups_of_a_request_wait_for_the_store_together() -> None:
    class Gated(SlowStore):
        begun = 0

        async def find_max_time(
            self, tp: TopicPartition, start: int | None = None, end: int | None = None
        ) -> int | None:
            self.begun += 1
            await gate.wait()
            return await super().find_max_time(tp, start, end)

    store, gate = Gated(), anyio.Event()
    store.patient = False
    kit = await a_kit(store)
    kit.start_writers()
    await kit.topic("t", 20)
    for index in range(20):
        (await kit.log("t", index)).append(view(batch("a", time=10 + index)), False)
    await turns(100)
    asked = ListOffsetsRequest(
        topics=[ListOffsetsTopic("t", [ListOffsetsPartition(index, timestamp=-3) for index in range(20)])]
    )
    answer = waiting(kit.start(asked, 7))
    await turns(100)
    assert store.begun == LOOKUPS
    gate.set()
    response = kit.decode(await answer.wait(), asked, 7)
    assert [each.timestamp for each in response.topics[0].partitions] == [10 + index for index in range(20)]
    assert store.begun == 20
    kit.logs.writers.stop()
    await kit.close()


async def test_in_a_store_that_waits_the_end_is_what_is_acknowledged(slow: Kit, store: SlowStore) -> None:
    log = await slow.log()
    pending = waiting(log.append(view(batch("a", time=10)), False))
    held = await store.arrived()
    await store.inner.append_many(held.appends)
    assert await found(slow, LATEST) == (0, -1)
    assert await found(slow, 5) == (-1, -1)
    held.fail(OSError("lost"), landed=False)
    await turns()
    assert pending.done
    assert await found(slow, LATEST) == (1, -1)  # opened again: it had landed
    assert await found(slow, 5) == (0, 10)
