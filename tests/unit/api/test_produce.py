"""Produce through the dispatcher; the codes are Kafka 4's."""

from __future__ import annotations

import contextlib
import inspect
import logging
from typing import Any

import pytest
from broker_kit import (
    NOW,
    Kit,
    SlowStore,
    a_kit,
    altered,
    batch,
    numbered,
    turns,
    values_of,
    waiting,
)
from kgw_storage_memory.store import MemoryStore

from kgw_core import errors
from kgw_core.api import produce as produce_api
from kgw_core.broker import RequestContext
from kgw_core.errors import Unanswerable
from kgw_core.pending import Pending
from kgw_core.records import Codec, Record, build_batch
from kgw_core.records.legacy_build import build_message_set
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

V2 = range(3, 14)
"""The versions that take v2 batches."""


def produce(
    kit: Kit,
    version: int,
    *batches: bytes | bytearray | None,
    topic: str = "t",
    partition: int = 0,
    acks: int = -1,
    timeout_ms: int = 30_000,
) -> ProduceRequest:
    """One batch for each partition from ``partition`` on."""
    state = kit.catalog.by_name.get(topic)
    topic_id = state.id_bytes if state is not None else b"\x07" * 16
    parts = [PartitionProduceData(partition + index, data) for index, data in enumerate(batches)]
    data = TopicProduceData(topic if version < 13 else "", topic_id if version >= 13 else ZERO_UUID, parts)
    return ProduceRequest(None, acks, timeout_ms, [data])


async def answer_of(kit: Kit, data: bytes | bytearray | None, version: int = 12, **options: Any) -> Any:
    """The answer for one partition."""
    response = await kit.ask(produce(kit, version, data, **options), version)
    return response.responses[0].partition_responses[0]


class TestGood:
    @pytest.mark.parametrize("version", V2)
    async def test_a_batch_is_stored_and_its_offset_answered(self, kit: Kit, version: int) -> None:
        log = await kit.log()
        log.append(memoryview(batch("before")), False)
        response = await kit.ask(produce(kit, version, batch("a", "b")), version)
        (topic,) = response.responses
        (answer,) = topic.partition_responses
        if version < 13:
            assert topic.name == "t"
        else:
            assert topic.topic_id == kit.catalog.by_name["t"].id_bytes
        assert (answer.index, answer.error_code, answer.base_offset) == (0, 0, 1)
        assert answer.log_append_time_ms == -1
        assert answer.log_start_offset == (0 if version >= 5 else -1)
        assert answer.record_errors == []
        assert answer.error_message is None
        assert values_of(log.read_now(1, 1000)) == [b"a", b"b"]

    @pytest.mark.parametrize("acks", [1, -1])
    async def test_acks_of_one_and_all_are_the_same_here(self, kit: Kit, acks: int) -> None:
        await kit.log()
        assert (await answer_of(kit, batch("a"), acks=acks)).base_offset == 0

    async def test_partitions_succeed_and_fail_each_on_its_own(self, kit: Kit) -> None:
        await kit.topic(partitions=3)
        for partition in range(3):
            await kit.log(partition=partition)
        request = produce(kit, 12, batch("a"), altered(batch("b"), crc=1), batch("c"))
        answers = (await kit.ask(request, 12)).responses[0].partition_responses
        codes = [(answer.index, answer.error_code, answer.base_offset) for answer in answers]
        assert codes == [(0, 0, 0), (1, errors.CorruptMessage.code, -1), (2, 0, 0)]

    async def test_a_log_that_is_not_open_yet_is_opened(self, kit: Kit) -> None:
        await kit.topic()
        answer = waiting(kit.start(produce(kit, 12, batch("a")), 12))
        await turns()
        assert answer.done
        assert values_of(kit.catalog.by_name["t"].partitions[0].read_now(0, 1000)) == [b"a"]

    async def test_log_append_time_is_answered(self, kit: Kit) -> None:
        await kit.log(message_timestamp_type="LogAppendTime")
        assert (await answer_of(kit, batch("a", time=5))).log_append_time_ms == NOW

    async def test_the_log_start_offset_is_answered(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(memoryview(batch("a", "b")), False)
        await log.trim(1)
        assert (await answer_of(kit, batch("c"))).log_start_offset == 1

    async def test_nothing_asked_is_nothing_answered(self, kit: Kit) -> None:
        response = await kit.ask(ProduceRequest(None, -1, 1000, []), 12)
        assert response.responses == []


class TestRefused:
    """Each bad batch with its code, its message (v8 on) and no offset."""

    async def refused(
        self, kit: Kit, data: bytes | bytearray | None, error: Any, version: int = 12, **more: Any
    ) -> Any:
        answer = await answer_of(kit, data, version, **more)
        assert errors.error_name(answer.error_code) == error.name
        assert answer.base_offset == answer.log_append_time_ms == -1
        if version >= 8:
            assert answer.error_message
        return answer

    @pytest.mark.parametrize("version", V2)
    async def test_where_the_log_starts_is_told_beside_an_error(self, kit: Kit, version: int) -> None:
        log = await kit.log()
        log.append(memoryview(batch("a", "b")), False)
        await log.trim(1)
        answer = await self.refused(kit, batch("a", transactional=True), errors.InvalidTxnState, version)
        assert answer.log_start_offset == (1 if version >= 5 else -1)

    @pytest.mark.parametrize("version", V2)
    async def test_a_damaged_batch_in_every_version(self, kit: Kit, version: int) -> None:
        await kit.log()
        await self.refused(kit, altered(batch("a"), crc=1), errors.CorruptMessage, version)

    @pytest.mark.parametrize("name", ["nowhere", "", "..", "a b", "ü", "x" * 300])
    async def test_a_topic_that_is_not_there_whatever_its_name(self, kit: Kit, name: str) -> None:
        await self.refused(kit, batch("a"), errors.UnknownTopicOrPartition, topic=name)

    async def test_a_topic_id_that_is_not_there(self, kit: Kit) -> None:
        await self.refused(kit, batch("a"), errors.UnknownTopicId, 13, topic="nowhere")

    @pytest.mark.parametrize("version", [12, 13])
    @pytest.mark.parametrize("partition", [1, -1, 2**31 - 1])
    async def test_a_partition_that_is_not_there(self, kit: Kit, version: int, partition: int) -> None:
        await kit.log()
        await self.refused(kit, batch("a"), errors.UnknownTopicOrPartition, version, partition=partition)

    @pytest.mark.parametrize("data", [None, b""])
    async def test_no_records(self, kit: Kit, data: bytes | bytearray | None) -> None:
        await kit.log()
        await self.refused(kit, data, errors.InvalidRecord)

    @pytest.mark.parametrize("version", [3, 6])
    async def test_zstd_in_a_version_that_is_too_old_for_it(self, kit: Kit, version: int) -> None:
        await kit.log()
        zstd = batch("a" * 50, codec=Codec.ZSTD)
        await self.refused(kit, zstd, errors.UnsupportedCompressionType, version)
        assert (await answer_of(kit, zstd, 7)).error_code == 0

    async def test_one_that_is_too_large(self, kit: Kit) -> None:
        await kit.log(max_message_bytes="100")
        await self.refused(kit, batch("a" * 100), errors.MessageTooLarge)

    async def test_one_out_of_time(self, kit: Kit) -> None:
        await kit.log()
        await self.refused(kit, batch("a", time=NOW + 3_600_001), errors.InvalidTimestamp)

    async def test_one_out_of_order(self, kit: Kit) -> None:
        await kit.log()
        await answer_of(kit, numbered(7, 0))
        await self.refused(kit, numbered(7, 5), errors.OutOfOrderSequenceNumber)

    async def test_one_of_a_fenced_epoch(self, kit: Kit) -> None:
        await kit.log()
        await answer_of(kit, numbered(7, 0, epoch=2))
        await self.refused(kit, numbered(7, 0, epoch=1), errors.InvalidProducerEpoch)

    async def test_a_transactional_one(self, kit: Kit) -> None:
        await kit.log()
        data = batch("a", producer_id=3, producer_epoch=0, base_sequence=0, transactional=True)
        await self.refused(kit, data, errors.InvalidTxnState)

    async def test_records_without_a_key_on_a_compacted_topic_are_named(self, kit: Kit) -> None:
        await kit.log(cleanup_policy="compact")
        data = build_batch([(b"k", b"1", NOW), (None, b"2", NOW), (None, b"3", NOW)])
        answer = await self.refused(kit, data, errors.InvalidRecord)
        assert [each.batch_index for each in answer.record_errors] == [1, 2]
        assert all("without a key" in each.batch_index_error_message for each in answer.record_errors)

    async def test_records_whose_times_the_topic_does_not_take_are_named(self, kit: Kit) -> None:
        """The header says of none of them that it is wrong."""
        await kit.log(message_timestamp_before_max_ms="1000")
        data = build_batch([(b"k", b"1", NOW), (b"k", b"2", NOW - 1001), (b"k", b"3", NOW + 9_000_000)])
        data = altered(data, max_timestamp=NOW)
        answer = await self.refused(kit, data, errors.InvalidTimestamp)
        assert [each.batch_index for each in answer.record_errors] == [1, 2]

    async def test_the_first_record_that_is_not_well_formed_is_named(self, kit: Kit) -> None:
        await kit.log()
        data = batch("a", "b", "c")
        data[-2:] = b"xx"  # the value of the last one, and its number of headers
        answer = await self.refused(kit, altered(data), errors.InvalidRecord)
        assert [each.batch_index for each in answer.record_errors] == [2]
        assert answer.error_message.startswith("record 2: ")
        await self.refused(kit, data, errors.InvalidRecord, 7)  # has no place for them

    @pytest.mark.parametrize("version", V2)
    @pytest.mark.parametrize("acks", [2, -2, 32767])
    async def test_acks_that_nobody_knows(self, kit: Kit, version: int, acks: int) -> None:
        log = await kit.log()
        await self.refused(kit, batch("a"), errors.InvalidRequiredAcks, version, acks=acks)
        assert log.high_watermark == 0

    async def test_a_duplicate_is_no_error(self, kit: Kit) -> None:
        await kit.log()
        await answer_of(kit, batch("x"))
        first = await answer_of(kit, numbered(7, 0, 2))
        again = await answer_of(kit, numbered(7, 0, 2))
        assert (again.error_code, again.base_offset) == (0, first.base_offset) == (0, 1)

    async def test_a_storage_failure_is_retriable(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        await kit.log()
        store.fail("append", OSError("disk full"))
        await self.refused(kit, batch("a"), errors.KafkaStorageError)
        assert (await answer_of(kit, batch("a"))).base_offset == 0

    async def test_a_fault_of_the_gateway_is_an_unknown_server_error_with_one_traceback(
        self, kit: Kit, monkeypatch: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        await kit.log()

        def broken(*arguments: Any) -> int:
            raise ZeroDivisionError("bug")

        monkeypatch.setattr(kit.ledger, "reserve", broken)
        await self.refused(kit, batch("a"), errors.UnknownServerError)
        assert [bool(record.exc_info) for record in caplog.records].count(True) == 1

    async def test_each_refusal_is_reported_once(self, kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
        await kit.log()
        with caplog.at_level(logging.INFO, logger="kgw"):
            await answer_of(kit, batch("a"), acks=5)
        (record,) = caplog.records
        assert "INVALID_REQUIRED_ACKS from Produce" in record.getMessage()
        assert kit.client.unreported == 0


class TestOldVersions:
    """Message sets of formats v0 and v1; the frame is gone after the call, also where a thread converts."""

    @pytest.mark.parametrize("version", range(3))
    @pytest.mark.parametrize(
        ("codec", "count"), [(Codec.NONE, 2), (Codec.NONE, 500), (Codec.GZIP, 2), (Codec.GZIP, 500)]
    )
    async def test_a_message_set_is_stored_as_a_batch(
        self, kit: Kit, version: int, codec: Codec, count: int
    ) -> None:
        log = await kit.log()
        values = [f"value {index}".encode() for index in range(count)]
        records = [Record(b"k", value, NOW, offset=at) for at, value in enumerate(values)]
        data = build_message_set(records, min(version, 1), codec=codec)
        for number in range(2):
            answer = await answer_of(kit, data, version)
            assert (answer.error_code, answer.base_offset) == (0, number * count)
        assert values_of(log.read_now(0, 1 << 20)) == values * 2

    async def test_a_damaged_message_set_is_refused(self, kit: Kit) -> None:
        await kit.log()
        data = bytearray(build_message_set([Record(b"k", b"v", NOW, offset=0)], 1))
        data[-1] ^= 1
        answer = await answer_of(kit, data, 2)
        assert errors.error_name(answer.error_code) == "CORRUPT_MESSAGE"


class TestUnanswered:
    """acks=0."""

    async def test_success_is_not_answered(self, kit: Kit) -> None:
        log = await kit.log()
        assert kit.start(produce(kit, 12, batch("a"), acks=0), 12) is None
        assert log.high_watermark == 1

    @pytest.mark.parametrize("version", V2)
    async def test_an_error_ends_the_connection(self, kit: Kit, version: int) -> None:
        await kit.log()
        with pytest.raises(Unanswerable, match="acks=0 failed: CRC"):
            kit.start(produce(kit, version, altered(batch("a"), crc=1), acks=0), version)

    async def test_an_unknown_topic_ends_it_too(self, kit: Kit) -> None:
        with pytest.raises(Unanswerable, match="there is no topic 'nowhere'"):
            kit.start(produce(kit, 12, batch("a"), topic="nowhere", acks=0), 12)

    async def test_success_in_a_store_that_waits_is_not_answered(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        answer = waiting(slow.start(produce(slow, 12, batch("a"), acks=0), 12))
        (await store.arrived()).release()
        await turns()
        assert answer.result() is None
        assert log.high_watermark == 1

    async def test_an_error_in_a_store_that_waits_ends_the_connection_and_nothing_else(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        answer = waiting(slow.start(produce(slow, 12, batch("a"), acks=0), 12))
        other = waiting(slow.start(produce(slow, 12, batch("b"), acks=-1), 12))
        (await store.arrived()).fail(OSError("disk full"))
        await turns()
        with pytest.raises(Unanswerable, match="disk full"):
            answer.result()
        response = slow.decode(other.result(), produce(slow, 12, None), 12)
        assert response.responses[0].partition_responses[0].error_code == errors.KafkaStorageError.code
        store.patient = False
        assert (await answer_of(slow, batch("c"))).base_offset == 0  # the writers live
        assert log.high_watermark == 1

    @pytest.mark.parametrize("acks", [0, -1])
    async def test_only_a_batch_that_comes_again_has_to_come_first(self, kit: Kit, acks: int) -> None:
        """A client does not send a batch with acks=0 again. So its later batches do not wait for it."""
        log = await kit.log()
        damaged = altered(numbered(7, 0), crc=1)
        for data in (damaged, numbered(7, 1), numbered(7, 2)):
            with contextlib.suppress(Unanswerable):
                kit.start(produce(kit, 12, data, acks=acks), 12)
        assert log.high_watermark == (0 if acks else 2)

    async def test_an_unknown_topic_holds_up_no_later_batch(self, kit: Kit) -> None:
        """The topic is created after the first batch."""
        with pytest.raises(Unanswerable, match="there is no topic"):
            kit.start(produce(kit, 12, numbered(7, 0), acks=0), 12)
        log = await kit.log()
        kit.start(produce(kit, 12, numbered(7, 1), acks=0), 12)
        assert log.high_watermark == 1

    async def test_a_failed_append_ends_at_most_two_connections(self, slow: Kit, store: SlowStore) -> None:
        """The second one tells that nobody sends the first batch again."""
        log = await slow.log()
        first = waiting(slow.start(produce(slow, 12, numbered(7, 0), acks=0), 12))
        (await store.arrived()).fail(errors.KafkaStorageError("not now"))
        await turns()
        with pytest.raises(Unanswerable, match="not now"):
            first.result()
        store.patient = False
        await log.open()
        with pytest.raises(Unanswerable, match="0 was refused and has to come first"):
            slow.start(produce(slow, 12, numbered(7, 1), acks=0), 12)
        await waiting(slow.start(produce(slow, 12, numbered(7, 2), acks=0), 12)).wait()
        assert log.high_watermark == 1


class TestWaiting:
    """A store that makes everybody wait."""

    async def test_the_answer_waits_for_all_partitions(self, slow: Kit, store: SlowStore) -> None:
        await slow.topic(partitions=2)
        for partition in range(2):
            await slow.log(partition=partition)
        request = produce(slow, 12, batch("a"), batch("b"))
        answer = waiting(slow.start(request, 12))
        (await store.arrived()).release()
        await turns()
        answers = slow.decode(answer.result(), request, 12).responses[0].partition_responses
        assert [(each.error_code, each.base_offset) for each in answers] == [(0, 0), (0, 0)]
        assert slow.clock.waiting == 0

    async def test_a_duplicate_waits_for_the_batch_that_it_repeats(self, slow: Kit, store: SlowStore) -> None:
        await slow.log()
        request = produce(slow, 12, numbered(7, 0))
        first, second = slow.start(request, 12), slow.start(request, 12)
        assert waiting(first) is not waiting(second)
        (await store.arrived()).release()
        await turns()
        for each in (first, second):
            assert isinstance(each, Pending)
            (part,) = slow.decode(each.result(), request, 12).responses[0].partition_responses
            assert (part.error_code, part.base_offset) == (0, 0)

    async def test_a_stuck_store_is_told_after_the_clients_timeout_and_the_append_still_lands(
        self, slow: Kit, store: SlowStore
    ) -> None:
        await slow.topic(partitions=2)
        log, quick = await slow.log(), await slow.log(partition=1)
        stuck = waiting(log.append(memoryview(batch("before")), False))
        held = await store.arrived()
        request = produce(slow, 12, batch("a"), batch("b"), timeout_ms=1500)
        answer = waiting(slow.start(request, 12))
        (await store.arrived(2)).release()  # the second partition's
        await slow.clock.advance(1.4)
        assert not answer.done
        await slow.clock.advance(0.2)
        late, good = slow.decode(answer.result(), request, 12).responses[0].partition_responses
        assert (late.error_code, late.base_offset) == (errors.RequestTimedOut.code, -1)
        assert "1.5 s" in late.error_message
        assert (good.error_code, good.base_offset) == (0, 0)
        held.release()
        await turns()
        (await store.arrived()).release()
        await turns()
        assert stuck.done
        assert (log.high_watermark, quick.high_watermark) == (2, 1)
        assert values_of(await log.read(1, 1000)) == [b"a"]

    @pytest.mark.parametrize(
        ("acks", "timeout_ms"), [(1, 10), (0, 10), (-1, 3_600_000), (-1, 0), (-1, -1), (-1, -(2**31))]
    )
    async def test_the_brokers_own_time_holds_for_every_acks_and_the_clients_only_for_all(
        self, slow: Kit, store: SlowStore, acks: int, timeout_ms: int
    ) -> None:
        log = await slow.log()
        seconds = slow.config.limits.append_timeout
        request = produce(slow, 12, batch("a"), acks=acks, timeout_ms=timeout_ms)
        answer = waiting(slow.start(request, 12))
        await slow.clock.advance(seconds - 0.01)
        assert not answer.done
        await slow.clock.advance(0.02)
        if acks == 0:
            with pytest.raises(errors.Unanswerable, match="the storage has not said within 20 s"):
                answer.result()
        else:
            (part,) = slow.decode(answer.result(), request, 12).responses[0].partition_responses
            assert part.error_code == errors.RequestTimedOut.code
        (await store.arrived()).release()
        await turns()
        assert log.high_watermark == 1

    async def test_the_brokers_own_time_is_for_each_wave_of_a_large_request(
        self, slow: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A storage that is well takes longer for 100,000 partitions than it may for one commit."""
        answer = await self.large(slow, monkeypatch)
        for _ in range(4):
            held = await store.arrived()
            await slow.clock.advance(slow.config.limits.append_timeout - 1)
            assert not answer.done
            held.release()
            await turns(50)
        assert self.codes(answer) == [0] * 8

    async def test_after_a_wave_that_is_overdue_none_is_waited_for(
        self, slow: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = await self.large(slow, monkeypatch)
        (await store.arrived()).release()
        await turns(50)
        await slow.clock.advance(slow.config.limits.append_timeout + 0.1)
        for _ in range(2):
            await turns(50)
            await slow.clock.advance(0.01)
        await turns(50)
        assert self.codes(answer) == [0] * 2 + [errors.RequestTimedOut.code] * 6
        while store.held:
            store.held[0].release()
            await turns(50)
        assert [log.high_watermark for log in slow.catalog.by_name["t"].partitions] == [1] * 8

    async def test_the_clients_time_is_for_the_whole_of_a_large_request(
        self, slow: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = await self.large(slow, monkeypatch, acks=-1, timeout_ms=30_000)
        for _ in range(2):
            held = await store.arrived()
            await slow.clock.advance(14)
            held.release()
            await turns(50)
        await store.arrived()
        await slow.clock.advance(2.1)
        await turns(50)
        await slow.clock.advance(0.01)
        await turns(50)
        assert self.codes(answer) == [0] * 4 + [errors.RequestTimedOut.code] * 4
        while store.held:
            store.held[0].release()
            await turns(50)

    async def large(
        self, slow: Kit, monkeypatch: pytest.MonkeyPatch, acks: int = 1, timeout_ms: int = 1000
    ) -> Pending[Any]:
        """A Produce of eight partitions, two in a wave."""
        monkeypatch.setattr(produce_api, "WAVE", 2)
        await slow.topic("t", 8)
        parts = [PartitionProduceData(at, memoryview(batch("a"))) for at in range(8)]
        request = ProduceRequest(None, acks, timeout_ms, [TopicProduceData("t", partition_data=parts)])
        context = RequestContext(slow.broker, slow.client, "Produce", 12, own_bytes=1)
        context.entries = 2000
        answer: Pending[Any] = Pending()

        async def run() -> None:
            outcome = produce_api.handle(request, context)
            assert inspect.iscoroutine(outcome)
            answer.resolve(await outcome)

        slow.spawn(run())
        await turns(50)
        return answer

    @staticmethod
    def codes(answer: Pending[Any]) -> list[int]:
        return [part.error_code for part in answer.result().responses[0].partition_responses]

    async def test_a_client_that_goes_away_does_not_take_its_append_along(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        answer = waiting(slow.start(produce(slow, 12, batch("a")), 12))
        answer.abandon()
        (await store.arrived()).release()
        await turns()
        assert log.high_watermark == 1

    async def test_a_deleted_topic_is_told_at_once(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        waiting(log.append(memoryview(batch("x")), False))
        await store.arrived()
        request = produce(slow, 12, batch("a"))
        answer = waiting(slow.start(request, 12))
        slow.spawn(slow.catalog.delete("t"))
        await turns()
        (part,) = slow.decode(answer.result(), request, 12).responses[0].partition_responses
        assert part.error_code == errors.UnknownTopicOrPartition.code


async def test_a_store_that_does_not_answer_stands_in_health_until_it_does(
    slow: Kit, store: SlowStore, caplog: pytest.LogCaptureFixture
) -> None:
    await slow.log()
    request = produce(slow, 12, batch("a"))
    slow.start(request, 12)
    held = await store.arrived()
    slow.start(produce(slow, 12, batch("b"), timeout_ms=1), 12)
    health = slow.logs.background.health
    await slow.clock.advance(1)
    assert not health.failing, "the time that a client gives says nothing of the store"
    await slow.clock.advance(slow.config.limits.append_timeout)
    (failing,) = health.failing.values()
    assert (failing.work, failing.cause) == (
        "storing what is appended",
        "t-0: the storage has not said within 20 s what came of it",
    )
    held.release()
    await turns()
    assert not health.failing
    (await store.arrived()).release()
    await turns()
