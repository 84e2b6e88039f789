"""Fetch without sessions, through the dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from broker_kit import Kit, SlowStore, a_kit, batch, turns, values_of, view, waiting
from kgw_storage_memory.store import MemoryStore

from kgw_core import errors
from kgw_core.config import Limits
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic

pytestmark = pytest.mark.anyio

MANY = 1 << 20


def fetch(
    kit: Kit,
    version: int,
    offsets: Mapping[int, int],
    *,
    topic: str = "t",
    min_bytes: int = 1,
    max_wait_ms: int = 0,
    max_bytes: int = MANY,
    partition_max_bytes: int = MANY,
    isolation_level: int = 0,
    epoch: int = -1,
) -> FetchRequest:
    """A full fetch: partitions with their offsets."""
    state = kit.catalog.by_name.get(topic)
    topic_id = state.id_bytes if state is not None else b"\x07" * 16
    parts = [
        FetchPartition(
            partition,
            fetch_offset=offset,
            partition_max_bytes=partition_max_bytes,
            current_leader_epoch=epoch,
        )
        for partition, offset in offsets.items()
    ]
    if version >= 13:
        asked = FetchTopic("", topic_id, parts)
    else:
        asked = FetchTopic(topic, ZERO_UUID, parts)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        topics=[asked],
    )


async def answers(kit: Kit, version: int, offsets: Mapping[int, int], **options: Any) -> dict[int, Any]:
    response = await kit.ask(fetch(kit, version, offsets, **options), version)
    assert response.error_code == 0
    return parts_of(response)


def parts_of(response: Any) -> dict[int, Any]:
    return {answer.partition_index: answer for topic in response.responses for answer in topic.partitions}


async def filled(kit: Kit, *partitions: list[str], name: str = "t") -> list[int]:
    """Partitions with one batch a value; return the size of a batch of each one's first value."""
    await kit.topic(name, len(partitions))
    for index, values in enumerate(partitions):
        log = await kit.log(name, index)
        for value in values:
            log.append(view(batch(value)), False)
    await turns()
    return [len(batch(values[0])) if values else 0 for values in partitions]


class TestReading:
    @pytest.mark.parametrize("version", range(4, 19))
    async def test_records_and_offsets_in_every_version(self, kit: Kit, version: int) -> None:
        await filled(kit, ["a", "b", "c"])
        log = await kit.log()
        await log.trim(1)
        response = await kit.ask(fetch(kit, version, {0: 1}), version)
        (topic,) = response.responses
        if version >= 13:
            assert topic.topic_id == kit.catalog.by_name["t"].id_bytes
        else:
            assert topic.topic == "t"
        (answer,) = topic.partitions
        assert answer.error_code == 0
        assert values_of(answer.records) == [b"b", b"c"]
        assert (answer.high_watermark, answer.last_stable_offset) == (3, 3)
        assert answer.log_start_offset == (1 if version >= 5 else -1)
        assert answer.preferred_read_replica == -1
        assert response.session_id == 0

    @pytest.mark.parametrize("version", [4, 12, 18])
    async def test_aborted_transactions_are_told_to_those_alone_that_read_committed(
        self, kit: Kit, version: int
    ) -> None:
        await filled(kit, ["a"])
        plain = (await answers(kit, version, {0: 0}))[0]
        committed = (await answers(kit, version, {0: 0}, isolation_level=1))[0]
        assert plain.aborted_transactions is None
        assert committed.aborted_transactions == []
        assert values_of(committed.records) == [b"a"]

    async def test_the_answer_keeps_the_requests_order_whoever_was_read_first(self, kit: Kit) -> None:
        await filled(kit, ["a"], ["b"], ["c"])
        for _ in range(5):
            got = await answers(kit, 12, {2: 0, 0: 0, 1: 0})
            assert [(index, values_of(each.records)) for index, each in got.items()] == [
                (2, [b"c"]),
                (0, [b"a"]),
                (1, [b"b"]),
            ]


class TestTwice:
    """A partition that is asked for twice, and a topic of which nothing is asked."""

    async def asked(self, kit: Kit, version: int, *topics: tuple[str, list[FetchPartition]]) -> Any:
        entries = [
            FetchTopic("", kit.catalog.by_name[name].id_bytes, parts)
            if version >= 13
            else FetchTopic(name, ZERO_UUID, parts)
            for name, parts in topics
        ]
        request = FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=MANY, topics=entries)
        return (await kit.ask(request, version)).responses

    def part(self, offset: int, index: int = 0) -> FetchPartition:
        return FetchPartition(index, fetch_offset=offset, partition_max_bytes=MANY)

    @pytest.mark.parametrize("version", [0, 3, 4, 7, 12, 13, 18])
    async def test_it_is_answered_once_as_it_was_asked_for_last(self, kit: Kit, version: int) -> None:
        await filled(kit, ["a", "b"], ["c"])
        (topic,) = await self.asked(kit, version, ("t", [self.part(0), self.part(0, 1), self.part(1)]))
        assert [answer.partition_index for answer in topic.partitions] == [0, 1]
        if version >= 4:
            assert [values_of(answer.records) for answer in topic.partitions] == [[b"b"], [b"c"]]

    @pytest.mark.parametrize("version", [0, 4, 12, 13])
    async def test_also_where_its_topic_is_there_twice(self, kit: Kit, version: int) -> None:
        await filled(kit, ["a"], ["b"])
        await filled(kit, ["c"], name="u")
        twice = [("t", [self.part(0)]), ("u", [self.part(0)]), ("t", [self.part(0), self.part(0, 1)])]
        topics = await self.asked(kit, version, *twice)
        assert [[answer.partition_index for answer in topic.partitions] for topic in topics] == [
            [0],
            [0],
            [1],
        ]

    @pytest.mark.parametrize("version", [0, 4, 12, 13])
    async def test_a_topic_without_partitions_is_left_out(self, kit: Kit, version: int) -> None:
        await filled(kit, ["a"])
        assert await self.asked(kit, version, ("t", [])) == []


class TestErrors:
    async def code(self, kit: Kit, version: int, offsets: dict[int, int], **options: Any) -> str:
        (answer,) = (await answers(kit, version, offsets, **options)).values()
        assert (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset) == (-1, -1, -1)
        assert not answer.records
        return errors.error_name(answer.error_code)

    @pytest.mark.parametrize("version", [5, 12])
    async def test_an_unknown_name(self, kit: Kit, version: int) -> None:
        assert await self.code(kit, version, {0: 0}, topic="no") == "UNKNOWN_TOPIC_OR_PARTITION"

    @pytest.mark.parametrize("version", [13, 18])
    async def test_an_unknown_id(self, kit: Kit, version: int) -> None:
        assert await self.code(kit, version, {0: 0}, topic="no") == "UNKNOWN_TOPIC_ID"

    @pytest.mark.parametrize("version", [12, 13])
    @pytest.mark.parametrize("partition", [1, -1])
    async def test_an_unknown_partition(self, kit: Kit, version: int, partition: int) -> None:
        await filled(kit, ["a"])
        assert await self.code(kit, version, {partition: 0}) == "UNKNOWN_TOPIC_OR_PARTITION"

    @pytest.mark.parametrize("offset", [-1, 0, 4, 99])
    async def test_an_offset_out_of_range(self, kit: Kit, offset: int) -> None:
        await filled(kit, ["a", "b", "c"])
        await (await kit.log()).trim(1)
        assert await self.code(kit, 12, {0: offset}) == "OFFSET_OUT_OF_RANGE"
        assert (await answers(kit, 12, {0: offset}))[0].aborted_transactions is None

    @pytest.mark.parametrize(
        ("epoch", "name"), [(2, "FENCED_LEADER_EPOCH"), (4, "UNKNOWN_LEADER_EPOCH"), (3, "NONE")]
    )
    async def test_leader_epochs(self, kit: Kit, epoch: int, name: str) -> None:
        await filled(kit, ["a"])
        (await kit.log()).leader_epoch = 3
        answer = (await answers(kit, 12, {0: 0}, epoch=epoch))[0]
        assert errors.error_name(answer.error_code) == name

    async def test_an_error_does_not_keep_the_others_from_being_read(self, kit: Kit) -> None:
        await filled(kit, ["a"], ["b"])
        got = await answers(kit, 12, {0: 77, 1: 0, 5: 0})
        assert [each.error_code for each in got.values()] == [1, 0, 3]
        assert values_of(got[1].records) == [b"b"]

    async def test_a_storage_failure_is_the_partitions_own(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        await filled(kit, ["a"], ["b"])
        store.fail("read", OSError("bad sector"))
        got = await answers(kit, 12, {0: 0, 1: 0})
        assert [each.error_code for each in got.values()] == [errors.KafkaStorageError.code, 0]

    @pytest.mark.parametrize("version", range(7, 19))
    async def test_a_session_that_is_not_there(self, kit: Kit, version: int) -> None:
        request = fetch(kit, version, {0: 0})
        request.session_id, request.session_epoch = 77, 5
        response = await kit.ask(request, version)
        assert errors.error_name(response.error_code) == "FETCH_SESSION_ID_NOT_FOUND"
        assert response.session_id == 0
        assert response.responses == []

    @pytest.mark.parametrize("epoch", [0, -1])
    async def test_a_full_fetch_may_name_a_session_that_is_not_there(self, kit: Kit, epoch: int) -> None:
        await filled(kit, ["a"])
        request = fetch(kit, 12, {0: 0})
        request.session_id, request.session_epoch = 77, epoch
        response = await kit.ask(request, 12)
        assert (response.error_code, values_of(parts_of(response)[0].records)) == (0, [b"a"])


class TestLimits:
    async def test_a_partition_has_its_limit(self, kit: Kit) -> None:
        (size,) = await filled(kit, ["a", "b", "c"])
        got = await answers(kit, 12, {0: 0}, partition_max_bytes=2 * size + 1)
        assert values_of(got[0].records) == [b"a", b"b"]

    async def test_the_response_has_its_limit(self, kit: Kit) -> None:
        size, _ = await filled(kit, ["a", "b"], ["c", "d"])
        got = await answers(kit, 12, {0: 0, 1: 0}, max_bytes=3 * size)
        assert sum(len(values_of(each.records)) for each in got.values()) == 3

    @pytest.mark.parametrize("limits", [{"max_bytes": 1}, {"partition_max_bytes": 1}, {"max_bytes": 0}])
    async def test_the_first_batch_comes_even_where_it_is_larger_and_no_second_one(
        self, kit: Kit, limits: dict[str, int]
    ) -> None:
        await filled(kit, [], ["x" * 500, "y"], ["z" * 500])
        got = await answers(kit, 12, {0: 0, 1: 0, 2: 0}, **limits)
        assert [values_of(got[index].records) for index in range(3)] == [[], [b"x" * 500], []]
        assert got[2].high_watermark == 1

    async def test_a_later_partition_keeps_its_own_limit_too(self, kit: Kit) -> None:
        await filled(kit, ["a"], ["b" * 500])
        got = await answers(kit, 12, {0: 0, 1: 0}, partition_max_bytes=200)
        assert [values_of(each.records) for each in got.values()] == [[b"a"], []]

    async def test_the_gateway_has_a_limit_whatever_the_client_asks(self) -> None:
        kit = await a_kit(limits=Limits(fetch_max_bytes=200))
        size, _ = await filled(kit, ["a", "b", "c", "d"], ["e"])
        got = await answers(kit, 12, {0: 0, 1: 0}, max_bytes=MANY)
        assert sum(len(values_of(each.records)) for each in got.values()) == 200 // size

    async def test_a_small_limit_starves_no_partition(self, kit: Kit) -> None:
        await filled(kit, *[[f"p{index}"] * 10 for index in range(4)])
        served = []
        for _ in range(8):
            got = await answers(kit, 12, dict.fromkeys(range(4), 0), max_bytes=1)
            served += [index for index, each in got.items() if each.records]
        assert served == [0, 1, 2, 3, 0, 1, 2, 3]

    async def test_waiting_does_not_skip_a_turn(self, kit: Kit) -> None:
        await filled(kit, [], [])
        logs = [await kit.log(partition=index) for index in range(2)]
        ends = {0: 0, 1: 0}
        served = []
        for _ in range(4):
            request = fetch(kit, 12, ends, max_bytes=1, min_bytes=1, max_wait_ms=1000)
            answer = waiting(kit.start(request, 12))
            for log in logs:
                log.append(view(batch("a")), False)
            await turns()
            got = parts_of(kit.decode(answer.result(), request, 12))
            served += [index for index, each in got.items() if each.records]
            ends = {index: log.high_watermark for index, log in enumerate(logs)}
        assert served == [0, 1, 0, 1]


@pytest.fixture(params=["immediate", "slow"])
async def any_kit(request: pytest.FixtureRequest) -> Any:
    """A broker on either kind of store; appends to the slow one pass at once."""
    store = MemoryStore() if request.param == "immediate" else SlowStore()
    made = await a_kit(store)
    if isinstance(store, SlowStore):
        store.patient = False
        made.start_writers()
    yield made
    await made.close()


class TestWaiting:
    """Both kinds of store wait alike."""

    async def test_an_append_to_any_partition_ends_the_wait(self, any_kit: Kit) -> None:
        await filled(any_kit, ["a"], ["b"])
        request = fetch(any_kit, 12, {0: 1, 1: 1}, max_wait_ms=500)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        waiting(answer)
        (await any_kit.log(partition=1)).append(view(batch("new")), False)
        await turns()
        got = parts_of(any_kit.decode(answer.result(), request, 12))
        assert [values_of(each.records) for each in got.values()] == [[], [b"new"]]
        assert got[1].high_watermark == 2
        self.nothing_is_left(any_kit)

    async def test_max_wait_ends_it_with_what_there_is(self, any_kit: Kit) -> None:
        (size,) = await filled(any_kit, ["a"])
        request = fetch(any_kit, 12, {0: 0}, min_bytes=3 * size, max_wait_ms=500)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        (await any_kit.log()).append(view(batch("b")), False)
        await turns()
        await any_kit.clock.advance(0.499)
        waiting(answer)
        await any_kit.clock.advance(0.002)
        got = parts_of(any_kit.decode(answer.result(), request, 12))
        assert values_of(got[0].records) == [b"a", b"b"]
        self.nothing_is_left(any_kit)

    async def test_min_bytes_counts_what_is_there_already(self, any_kit: Kit) -> None:
        (size,) = await filled(any_kit, ["a"])
        request = fetch(any_kit, 12, {0: 0}, min_bytes=2 * size, max_wait_ms=500)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        (await any_kit.log()).append(view(batch("b")), False)
        await turns()
        got = parts_of(any_kit.decode(answer.result(), request, 12))
        assert values_of(got[0].records) == [b"a", b"b"]

    @pytest.mark.parametrize("options", [{"min_bytes": 0}, {"max_wait_ms": 0}, {"max_wait_ms": -5}])
    async def test_who_does_not_want_to_wait_does_not(self, any_kit: Kit, options: dict[str, Any]) -> None:
        await filled(any_kit, ["a"])
        waits: dict[str, Any] = {"max_wait_ms": 9999} | options
        await any_kit.ask(fetch(any_kit, 12, {0: 1}, **waits), 12)

    async def test_who_asks_for_no_partition_has_nothing_to_wait_for(self, any_kit: Kit) -> None:
        await any_kit.ask(fetch(any_kit, 12, {}, max_wait_ms=9999), 12)

    async def test_a_full_answer_does_not_wait_for_a_min_bytes_that_it_can_never_reach(
        self, any_kit: Kit
    ) -> None:
        (size,) = await filled(any_kit, ["a"] * 9)
        got = await answers(any_kit, 12, {0: 0}, max_bytes=3 * size, min_bytes=MANY, max_wait_ms=9999)
        assert len(values_of(got[0].records)) == 3

    async def test_an_error_is_told_at_once(self, any_kit: Kit) -> None:
        await filled(any_kit, ["a"], ["b"])
        got = await answers(any_kit, 12, {0: 1, 1: 99}, max_wait_ms=9999)
        assert got[1].error_code == errors.OffsetOutOfRange.code

    async def test_a_client_that_goes_away_leaves_nothing_behind(self, any_kit: Kit) -> None:
        await filled(any_kit, ["a"])
        tasks = len(any_kit.tasks)
        answer = waiting(any_kit.start(fetch(any_kit, 12, {0: 1}, max_wait_ms=2**31 - 1), 12))
        await turns()
        assert any_kit.logs.purgatory.waiting
        answer.abandon()
        await turns()
        self.nothing_is_left(any_kit)
        assert len(any_kit.tasks) == tasks

    async def test_a_deleted_topic_is_told_at_once(self, any_kit: Kit) -> None:
        await filled(any_kit, ["a"])
        request = fetch(any_kit, 12, {0: 1}, max_wait_ms=9999)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        await any_kit.catalog.delete("t")
        await turns()
        got = parts_of(any_kit.decode(answer.result(), request, 12))
        assert errors.error_name(got[0].error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
        self.nothing_is_left(any_kit)

    async def test_what_is_trimmed_away_is_told_at_once(self, any_kit: Kit) -> None:
        (size,) = await filled(any_kit, ["a", "b"])
        request = fetch(any_kit, 12, {0: 1}, min_bytes=9 * size, max_wait_ms=9999)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        await (await any_kit.log()).trim(2)
        await turns()
        got = parts_of(any_kit.decode(answer.result(), request, 12))
        assert errors.error_name(got[0].error_code) == "OFFSET_OUT_OF_RANGE"

    async def test_draining_answers_those_who_wait_and_lets_none_begin(self, any_kit: Kit) -> None:
        await filled(any_kit, ["a"])
        request = fetch(any_kit, 12, {0: 1}, max_wait_ms=9999)
        answer = waiting(any_kit.start(request, 12))
        await turns()
        any_kit.broker.draining = True
        any_kit.logs.purgatory.finish_all()
        await turns()
        assert parts_of(any_kit.decode(answer.result(), request, 12))[0].error_code == 0
        await any_kit.ask(request, 12)

    @staticmethod
    def nothing_is_left(kit: Kit) -> None:
        assert not kit.logs.purgatory.waiting
        assert not kit.clock.waiting
        assert not any(log.waiting for state in kit.catalog.by_name.values() for log in state.partitions)


class TestSlowStores:
    async def test_an_append_to_one_partition_while_another_is_read_is_not_missed(
        self, slow: Kit, store: SlowStore
    ) -> None:
        store.patient = False
        await filled(slow, ["a"], ["b"])
        reading = store.hold("read")
        request = fetch(slow, 12, {0: 1, 1: 0}, min_bytes=120, max_wait_ms=9999)
        answer = waiting(slow.start(request, 12))
        await turns()
        (await slow.log()).append(view(batch("new")), False)  # after it was read, before the wait
        await turns()
        reading.set()
        await turns()
        got = parts_of(slow.decode(answer.result(), request, 12))
        assert [values_of(each.records) for each in got.values()] == [[b"new"], [b"b"]]

    async def test_a_client_that_goes_away_while_the_store_reads_does_not_wait_then(
        self, slow: Kit, store: SlowStore
    ) -> None:
        store.patient = False
        await filled(slow, ["a"], ["b"])
        tasks = len(slow.tasks)
        reading = store.hold("read")
        answer = waiting(slow.start(fetch(slow, 12, {0: 1, 1: 0}, min_bytes=999, max_wait_ms=9999), 12))
        await turns()
        answer.abandon()
        reading.set()
        await turns()
        TestWaiting.nothing_is_left(slow)
        assert len(slow.tasks) == tasks

    async def test_what_landed_though_its_append_failed_is_told_to_who_waits(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        request = fetch(slow, 12, {0: 0}, max_wait_ms=9999)
        answer = waiting(slow.start(request, 12))
        await turns()
        log.append(view(batch("a")), False)
        (await store.arrived()).fail(OSError("the answer was lost"), landed=True)
        await turns()
        got = parts_of(slow.decode(answer.result(), request, 12))
        assert values_of(got[0].records) == [b"a"]

    async def test_logs_that_are_not_open_yet_are_opened(self, slow: Kit, store: SlowStore) -> None:
        await slow.topic()
        got = await answers(slow, 12, {0: 0})
        assert (got[0].error_code, got[0].high_watermark) == (0, 0)

    async def test_a_log_that_cannot_be_opened_is_the_partitions_own_error(
        self, slow: Kit, store: SlowStore
    ) -> None:
        await slow.topic()
        store.fail("bounds", OSError("no disk"))
        got = await answers(slow, 12, {0: 0}, max_wait_ms=9999)
        assert got[0].error_code == errors.KafkaStorageError.code
