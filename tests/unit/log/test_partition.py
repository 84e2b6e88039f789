"""One log on the memory store, driven directly."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from broker_kit import (
    HEADER_FIELDS,
    NO_TIMES,
    NOW,
    Kit,
    SlowStore,
    a_kit,
    altered,
    batch,
    batches_of,
    done,
    numbered,
    records,
    turns,
    values_of,
    view,
    waiting,
)
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import (
    FencedLeaderEpoch,
    InvalidProducerEpoch,
    InvalidRecord,
    InvalidTxnState,
    KafkaStorageError,
    MessageTooLarge,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    OutOfOrderSequenceNumber,
    UnknownLeaderEpoch,
    UnknownTopicOrPartition,
)
from kgw_core.log.manager import PRODUCER_EXPIRATION_MS
from kgw_core.log.producers import Appended
from kgw_core.log.resolving import FIRST_DELAY
from kgw_core.log.validator import RefusedRecords
from kgw_core.records import Codec, build_batch
from kgw_core.spi.storage import Bounds, OffsetConflict, TopicPartition
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio


class TestAppending:
    async def test_offsets_go_on_from_batch_to_batch(self, kit: Kit) -> None:
        log = await kit.log()
        outcomes = [log.append(view(batch(*values)), False) for values in ("ab", "c", "def")]
        assert outcomes == [Appended(0), Appended(2), Appended(3)]
        assert (log.start, log.high_watermark, log.last_stable_offset) == (0, 6, 6)
        assert values_of(log.read_now(0, 1 << 20)) == [b"a", b"b", b"c", b"d", b"e", b"f"]

    async def test_offset_and_leader_epoch_are_stamped_and_all_else_is_kept(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(batch("a")), False)
        sent = batch("b", codec=Codec.GZIP)
        log.append(view(sent), False)
        (kept,) = batches_of(log.read_now(1, 1 << 20))
        assert (kept.base_offset, kept.partition_leader_epoch) == (1, log.leader_epoch)
        assert bytes(kept.data[16:]) == bytes(sent[16:])

    async def test_bytes_that_are_lost_after_the_call_are_copied(self, kit: Kit) -> None:
        log = await kit.log()
        data = view(batch("a" * 100_000))
        log.append(data, False)
        data[:] = b"\0" * len(data)
        assert values_of(log.read_now(0, 1 << 20)) == [b"a" * 100_000]

    async def test_a_refused_batch_takes_no_offset(self, kit: Kit) -> None:
        log = await kit.log()
        with pytest.raises(InvalidRecord):
            log.append(view(altered(batch("a"), base_offset=3)), False)
        assert done(log.append(view(batch("b")), False)) == Appended(0)

    async def test_transactions_are_refused(self, kit: Kit) -> None:
        log = await kit.log()
        data = batch("a", producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
        with pytest.raises(InvalidTxnState):
            log.append(view(data), False)


class TestIdempotence:
    async def test_a_duplicate_is_answered_with_its_first_offset_and_not_stored(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(batch("x")), False)
        first = log.append(view(numbered(7, 0, 3)), False)
        log.append(view(numbered(7, 3, 1)), False)
        assert log.append(view(numbered(7, 0, 3)), False) == first == Appended(1)
        assert log.high_watermark == 5

    async def test_a_gap_is_refused_and_leaves_nothing_behind(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(numbered(7, 0)), False)
        with pytest.raises(OutOfOrderSequenceNumber):
            log.append(view(numbered(7, 2)), False)
        assert done(log.append(view(numbered(7, 1)), False)) == Appended(1)

    async def test_an_older_epoch_is_fenced(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(numbered(7, 0, epoch=1)), False)
        with pytest.raises(InvalidProducerEpoch):
            log.append(view(numbered(7, 0, epoch=0)), False)

    async def test_sequences_wrap(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(numbered(7, 2**31 - 2, 4)), False)  # the last is 1
        assert done(log.append(view(numbered(7, 2)), False)) == Appended(4)
        assert log.append(view(numbered(7, 2**31 - 2, 4)), False) == Appended(0)

    async def test_a_refused_batch_does_not_count_as_sent(self, kit: Kit) -> None:
        log = await kit.log(max_message_bytes="200")
        with pytest.raises(MessageTooLarge):
            log.append(view(numbered(7, 0, value="v" * 300)), False)
        with pytest.raises(MessageTooLarge):  # not a duplicate
            log.append(view(numbered(7, 0, value="v" * 300)), False)

    async def test_producers_are_known_again_after_the_log_was_closed(self) -> None:
        store = MemoryStore()
        before = await (await a_kit(store)).log()
        for sequence in range(3):
            before.append(view(numbered(7, 2 * sequence, 2)), False)
        log = await (await a_kit(store)).log()
        assert log is not before
        assert log.append(view(numbered(7, 2, 2)), False) == Appended(2)
        with pytest.raises(OutOfOrderSequenceNumber):
            log.append(view(numbered(7, 9)), False)
        assert done(log.append(view(numbered(7, 6)), False)) == Appended(6)

    async def test_a_duplicate_keeps_its_log_append_time_when_the_log_was_closed(self) -> None:
        store = MemoryStore()
        before = await (await a_kit(store)).log(message_timestamp_type="LogAppendTime")
        first = before.append(view(numbered(7, 0)), False)
        log = await (await a_kit(store)).log()
        assert log.append(view(numbered(7, 0)), False) == first == Appended(0, NOW)

    async def test_a_silent_producer_is_forgotten_after_a_day(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(numbered(7, 0)), False)
        await kit.clock.advance(PRODUCER_EXPIRATION_MS / 1000)
        assert log.producers.expire(kit.clock.time_ms() - PRODUCER_EXPIRATION_MS) == 0
        await kit.clock.advance(1)
        assert log.producers.expire(kit.clock.time_ms() - PRODUCER_EXPIRATION_MS) == 1
        assert done(log.append(view(numbered(7, 50)), False)) == Appended(1)


class TestRewriting:
    async def test_log_append_time_is_answered_and_written_with_a_right_checksum(self, kit: Kit) -> None:
        log = await kit.log(message_timestamp_type="LogAppendTime")
        await kit.clock.advance(5)
        assert log.append(view(batch("a", "b", time=77)), False) == Appended(0, NOW + 5000)
        (kept,) = batches_of(log.read_now(0, 1 << 20))  # checks the CRC
        assert (kept.log_append_time, kept.max_timestamp) == (True, NOW + 5000)

    @pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
    async def test_compression_type_of_the_topic_repacks(self, kit: Kit, codec: str) -> None:
        log = await kit.log(compression_type=codec)
        sent = Codec.GZIP if codec == "uncompressed" else Codec.NONE
        data = build_batch(
            records(*["abc" * 50] * 3), codec=sent, producer_id=5, producer_epoch=1, base_sequence=9
        )
        log.append(view(data), False)
        (kept,) = batches_of(log.read_now(0, 1 << 20))
        assert kept.codec == (Codec.NONE if codec == "uncompressed" else Codec.of_label(codec))
        assert (kept.producer_id, kept.producer_epoch, kept.base_sequence) == (5, 1, 9)
        assert values_of(log.read_now(0, 1 << 20)) == [b"abc" * 50] * 3

    async def test_a_batch_that_has_the_codec_is_stored_as_it_came(self, kit: Kit) -> None:
        log = await kit.log(compression_type="zstd")
        data = batch("a" * 50, codec=Codec.ZSTD)
        log.append(view(data), False)
        (kept,) = batches_of(log.read_now(0, 1 << 20))
        assert bytes(kept.data[16:]) == bytes(data[16:])

    async def test_a_batch_that_repacking_makes_too_large_is_refused(self, kit: Kit) -> None:
        log = await kit.log(compression_type="uncompressed", max_message_bytes="1000")
        with pytest.raises(MessageTooLarge, match="repacked with none"):
            log.append(view(batch("a" * 5000, codec=Codec.ZSTD)), False)
        assert log.high_watermark == 0

    async def test_a_compacted_topic_names_every_record_without_a_key(self, kit: Kit) -> None:
        log = await kit.log(cleanup_policy="compact")
        data = build_batch([(b"k", b"1", NOW), (None, b"2", NOW), (b"k", b"3", NOW), (None, b"4", NOW)])
        with pytest.raises(RefusedRecords) as caught:
            log.append(view(data), False)
        assert caught.value.batch_indexes == [1, 3]
        assert log.high_watermark == 0

    async def test_a_compacted_topic_takes_records_with_keys_as_they_are(self, kit: Kit) -> None:
        log = await kit.log(cleanup_policy="compact")
        data = batch("a", key=b"")
        log.append(view(data), False)
        (kept,) = batches_of(log.read_now(0, 1 << 20))
        assert bytes(kept.data[16:]) == bytes(data[16:])


class TestReading:
    async def test_reading_starts_with_the_batch_that_holds_the_offset(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(batch("a", "b", "c")), False)
        log.append(view(batch("d")), False)
        assert values_of(log.read_now(1, 1 << 20)) == [b"a", b"b", b"c", b"d"]
        assert values_of(log.read_now(3, 1 << 20)) == [b"d"]
        assert values_of(log.read_now(2, 1)) == [b"a", b"b", b"c"]

    async def test_the_end_is_empty_and_beyond_it_is_out_of_range(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(batch("a")), False)
        assert log.read_now(1, 100) == ()
        for offset in (2, -1, 99):
            with pytest.raises(OffsetOutOfRange):
                log.read_now(offset, 100)

    async def test_a_trimmed_log_starts_where_it_was_told(self, kit: Kit) -> None:
        log = await kit.log()
        log.append(view(batch("a", "b", "c")), False)
        assert await log.trim(2) == 2
        with pytest.raises(OffsetOutOfRange):
            log.read_now(1, 100)
        assert values_of(log.read_now(2, 100)) == [b"a", b"b", b"c"]
        assert await log.trim(1) == 2
        assert await log.trim(-1) == 3
        assert done(log.append(view(batch("d")), False)) == Appended(3)
        for offset in (5, -2):
            with pytest.raises(OffsetOutOfRange):
                await log.trim(offset)

    async def test_leader_epochs_are_compared(self, kit: Kit) -> None:
        log = await kit.log()
        log.leader_epoch = 4
        log.check_epoch(-1)
        log.check_epoch(4)
        with pytest.raises(FencedLeaderEpoch):
            log.check_epoch(3)
        with pytest.raises(UnknownLeaderEpoch):
            log.check_epoch(5)


class TestOpening:
    async def test_bounds_position_and_epoch_come_from_the_store(self, monkeypatch: Any) -> None:
        store = MemoryStore()
        old = await (await a_kit(store)).log()
        old.append(view(batch("a", "b", "c")), False)
        await old.trim(2)
        inner = store.bounds

        async def bounds(tp: Any) -> Bounds:
            return (await inner(tp))._replace(epoch=6)

        monkeypatch.setattr(store, "bounds", bounds)
        log = await (await a_kit(store)).log()
        assert (log.start, log.high_watermark, log.leader_epoch) == (2, 3, 6)
        log.append(view(batch("d")), False)
        (_, kept) = batches_of(log.read_now(2, 1000))
        assert (kept.base_offset, kept.partition_leader_epoch) == (3, 6)

    @pytest.mark.parametrize("time", [*NO_TIMES, 0, NOW - 2 * PRODUCER_EXPIRATION_MS, NOW + 10**11])
    async def test_a_producer_is_as_old_as_its_last_batch_whatever_its_records_times(self, time: int) -> None:
        """Neither forgotten early, which would take its next retry for something new, nor kept for ever."""
        store = MemoryStore()
        first = await a_kit(store)
        data = batch("a", time=time, producer_id=7, producer_epoch=0, base_sequence=0)
        appended = (await first.log(message_timestamp_after_max_ms=str(2**62))).append(view(data), False)
        again = await a_kit(store)
        await again.clock.advance(PRODUCER_EXPIRATION_MS / 1000)
        log = await again.log()
        await again.logs._forget_producers()
        assert log.append(view(data), False) == appended, "it is known again"
        late = await a_kit(store)
        await late.clock.advance(PRODUCER_EXPIRATION_MS / 1000 + 1)
        log = await late.log()
        await late.logs._forget_producers()
        assert log.producers.get(7) is None

    async def test_a_producer_of_a_batch_with_a_fitting_time_is_not_older(self, kit: Kit) -> None:
        """Without a question to the store."""
        store = FaultyStore(kit.store)
        log = await kit.log()
        log.append(view(numbered(7, 0)), False)
        await kit.clock.advance(5)
        again = await a_kit(store)
        opened = await again.log()
        assert opened.producers.get(7).last_timestamp == NOW  # type: ignore[union-attr]
        assert "write_time" not in store.calls

    async def test_a_topic_that_is_gone_cannot_be_opened(self, kit: Kit) -> None:
        [log] = (await kit.topic()).partitions
        await kit.catalog.delete("t")
        with pytest.raises(UnknownTopicOrPartition):
            await log.open()
        with pytest.raises(UnknownTopicOrPartition):
            log.append(view(batch("a")), False)

    async def test_a_log_that_cannot_be_opened_says_so_and_can_be_opened_later(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        (log,) = (await kit.topic()).partitions
        store.fail("bounds", OSError("no disk"))
        pending = waiting(log.append(view(batch("a")), False))
        await turns()
        with pytest.raises(KafkaStorageError, match="no disk"):
            pending.result()
        pending = waiting(log.append(view(batch("a")), False))
        await turns()
        assert pending.result() == Appended(0)


class TestFailures:
    """An immediate store that fails: the log closes, and its next use reads everything again."""

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (OSError("disk full"), KafkaStorageError),
            (KafkaStorageError("not now"), KafkaStorageError),
            (OffsetConflict(0, 5), NotLeaderOrFollower),
        ],
    )
    async def test_the_client_gets_a_retriable_error_and_its_retry_succeeds(
        self, error: Exception, told: type[Exception]
    ) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        log = await kit.log()
        store.fail("append", error)
        with pytest.raises(told) as caught:
            outcome = log.append(view(numbered(7, 0)), False)
            await turns()
            done(outcome)
        assert caught.value.retriable  # type: ignore[attr-defined]
        assert not log.ready
        pending = waiting(log.append(view(numbered(7, 0)), False))
        await turns()
        assert pending.result() == Appended(0)
        assert values_of(log.read_now(0, 1000)) == [b"v0"]

    async def test_an_append_that_landed_all_the_same_is_acknowledged(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        log = await kit.log()
        store.fail("append", OSError("lost the answer"), late=True)
        pending = waiting(log.append(view(numbered(7, 0)), False))
        again = log.append(view(numbered(7, 0)), False)
        assert again is pending
        behind = waiting(log.append(view(numbered(7, 1)), False))
        assert values_of(log.read_now(0, 1000)) == []
        await turns()
        assert (done(pending), done(behind)) == (Appended(0), Appended(1))
        assert log.append(view(numbered(7, 2)), False) == Appended(2)  # at once, as before
        assert log.append(view(numbered(7, 0)), False) == Appended(0)
        assert values_of(log.read_now(0, 1000)) == [b"v0", b"v1", b"v2"]

    async def test_a_ledger_that_fails_after_the_store_is_an_append_of_unknown_outcome(
        self, kit: Kit, monkeypatch: Any
    ) -> None:
        log = await kit.log()

        def committed(tp: object, end: int) -> int:
            raise OSError("ledger lost")

        with monkeypatch.context() as patch:
            patch.setattr(kit.ledger, "committed", committed)
            pending = waiting(log.append(view(numbered(7, 0)), False))
            await turns()
            assert not pending.done
        await kit.clock.advance(FIRST_DELAY)
        assert done(pending) == Appended(0)
        assert values_of(log.read_now(0, 1000)) == [b"v0"]

    async def test_a_read_that_fails_is_told_as_a_storage_error(self) -> None:
        store = FaultyStore(MemoryStore())
        log = await (await a_kit(store)).log()
        log.append(view(batch("a")), False)
        store.fail("read", OSError("bad sector"), times=2)
        with pytest.raises(KafkaStorageError, match="bad sector"):
            log.read_now(0, 100)
        with pytest.raises(KafkaStorageError, match="bad sector"):
            await log.read(0, 100)
        assert log.ready


async def test_a_deleted_log_is_not_read_to_its_end_as_if_it_were_there(kit: Kit) -> None:
    log = await kit.log()
    log.append(view(batch("a")), False)
    await kit.catalog.delete("t")
    for offset in (0, 1):
        with pytest.raises(UnknownTopicOrPartition):
            log.read_now(offset, 100)
        with pytest.raises(UnknownTopicOrPartition):
            await log.read(offset, 100)


def test_the_kit_knows_the_headers_fields() -> None:
    assert len(HEADER_FIELDS) == 13
    assert SlowStore().capabilities().immediate is False


# -- opened again while the store trims


async def test_a_log_that_is_opened_while_it_is_trimmed_begins_where_the_trim_ends(
    slow: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.patient = False
    log = await slow.log()
    for number in range(5):
        log.append(view(batch(f"{number}")), True)
        await turns()
    go, read_on = anyio.Event(), anyio.Event()
    trim, bounds = store.trim, store.bounds

    async def slow_trim(tp: TopicPartition, before: int, epoch: int) -> None:
        await go.wait()
        await trim(tp, before, epoch)

    async def slow_bounds(tp: TopicPartition) -> Bounds:
        found = await bounds(tp)
        await read_on.wait()
        return found

    monkeypatch.setattr(store, "trim", slow_trim)
    monkeypatch.setattr(store, "bounds", slow_bounds)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.trim, 3)
        await turns()
        log.ready = False  # as after an append that failed
        appended = waiting(log.append(view(batch("5")), True))
        await turns()
        go.set()
        await turns()
        read_on.set()
    await turns()
    assert done(appended) == Appended(5)
    assert log.start == 3


async def test_a_store_that_trims_by_itself_while_a_log_is_opened_is_no_clients_mistake(
    slow: Kit, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.patient = False
    log = await slow.log()
    for number in range(5):
        log.append(view(batch(f"{number}")), True)
        await turns()
    bounds = store.bounds

    async def and_trims(tp: TopicPartition) -> Bounds:
        found = await bounds(tp)
        await store.trim(tp, 3)
        return found

    monkeypatch.setattr(store, "bounds", and_trims)
    log.ready = False
    failed = waiting(log.append(view(batch("5")), True))
    await turns()
    with pytest.raises(KafkaStorageError, match="changed while it was opened"):
        done(failed)
    again = waiting(log.append(view(batch("5")), True))
    await turns()
    assert done(again) == Appended(5)
    assert log.start == 3
