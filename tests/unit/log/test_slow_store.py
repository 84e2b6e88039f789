"""Logs and writers on a store that makes everybody wait, and that fails when the test says so."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest
from broker_kit import (
    Kit,
    NumberingStore,
    SlowStore,
    a_kit,
    batch,
    batches_of,
    done,
    numbered,
    turns,
    values_of,
    view,
    waiting,
)

from kgw_core.errors import (
    InvalidRecord,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    PolicyViolation,
    UnknownTopicOrPartition,
)
from kgw_core.log import writer
from kgw_core.log.append_queue import QUEUED
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.log.resolving import FIRST_DELAY
from kgw_core.pending import Pending
from kgw_core.spi.storage import Capabilities, OffsetConflict

pytestmark = pytest.mark.anyio


def append(log: PartitionLog, *values: str) -> Pending[Appended]:
    return waiting(log.append(view(batch(*values)), False))


def failure(pending: Pending[Appended]) -> KafkaError:
    assert pending.done
    with pytest.raises(KafkaError) as caught:
        pending.result()
    return caught.value


async def stored(log: PartitionLog) -> list[bytes | None]:
    return values_of(await log.read(log.start, 1 << 20))


class TestQueue:
    async def test_an_append_is_answered_when_the_store_has_it(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        pending = append(log, "a", "b")
        held = await store.arrived()
        await turns()
        assert not pending.done
        held.release()
        await turns()
        assert done(pending) == Appended(0)
        assert log.high_watermark == 2

    async def test_what_waits_goes_into_one_next_append_in_order(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        pending = [append(log, "a")]
        held = await store.arrived()
        pending += [append(log, value) for value in "bcd"]
        held.release()
        await turns()
        held = await store.arrived()
        assert [each.base_offset for each in held.batches] == [1, 2, 3]
        held.release()
        await turns()
        assert [done(each).base_offset for each in pending] == [0, 1, 2, 3]
        assert await stored(log) == [b"a", b"b", b"c", b"d"]

    async def test_one_append_is_in_flight_for_a_partition_at_a_time(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        append(log, "a")
        await store.arrived()
        append(log, "b")
        await turns()
        assert len(store.held) == 1

    async def test_many_partitions_share_one_append(self, slow: Kit, store: SlowStore) -> None:
        await slow.topic(partitions=5)
        logs = [await slow.log(partition=index) for index in range(5)]
        pending = [append(log, f"v{index}") for index, log in enumerate(logs)]
        held = await store.arrived()
        assert sorted(each.tp.partition for each in held.appends) == [0, 1, 2, 3, 4]
        held.release()
        await turns()
        assert all(done(each) == Appended(0) for each in pending)

    async def test_while_one_writer_is_busy_another_serves_other_partitions(
        self, slow: Kit, store: SlowStore
    ) -> None:
        await slow.topic(partitions=2)
        first, second = await slow.log(), await slow.log(partition=1)
        stuck = append(first, "a")
        held = await store.arrived()
        quick = append(second, "b")
        (await store.arrived(2)).release()
        await turns()
        assert quick.done
        assert not stuck.done
        held.release()
        await turns()
        assert stuck.done

    async def test_a_writer_that_slept_wakes_for_what_comes_later(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        store.patient = False
        for number in range(5):
            pending = append(log, f"{number}")
            await turns()
            assert done(pending) == Appended(number)

    async def test_an_append_has_a_largest_size_and_at_least_one_batch(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(writer, "MAX_APPEND_BYTES", 250)
        log = await slow.log()
        append(log, "a")
        held = await store.arrived()
        pending = [append(log, "x" * size) for size in (400, 30, 30, 30)]
        sizes = []
        while not pending[-1].done:
            held.release()
            await turns()
            if store.held:
                held = store.held[0]
                sizes.append(len(held.batches))
        assert sizes == [1, 2, 1]
        assert [done(each).base_offset for each in pending] == [1, 2, 3, 4]

    async def test_all_logs_together_have_that_size_and_the_one_that_waits_longest_goes_first(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(writer, "MAX_APPEND_BYTES", 250)
        monkeypatch.setattr(writer, "LEAST", 1)
        await slow.topic(partitions=4)
        logs = [await slow.log(partition=number) for number in range(4)]
        append(logs[0], "a")
        held = await store.arrived()
        pending = [append(log, "x" * 60) for log in (logs[3], logs[1], logs[2], logs[1], logs[0])]
        order = []
        while not all(each.done for each in pending):
            held.release()
            await turns()
            if store.held:
                held = store.held[0]
                order.append([(append.tp.partition, len(append.batches)) for append in held.appends])
        assert [tp for turn in order for tp, _ in turn][:3] == [3, 2, 1], "the oldest, the newest, the rest"
        assert all(sum(count for _, count in turn) <= 2 for turn in order)

    async def test_a_single_append_does_not_stand_behind_all_logs_of_a_large_request(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        """2,000 partitions are 8 commits of SQLite; another client's append is in the next one."""
        await slow.topic(partitions=30)
        logs = [await slow.log(partition=number) for number in range(30)]
        monkeypatch.setattr(writer, "MAX_APPEND_BYTES", 400_000)
        monkeypatch.setattr(writer, "LEAST", 100_000)
        many = [append(log, "x") for log in logs[:-1]]
        held = await store.arrived()
        single = append(logs[-1], "x")
        held.release()
        await turns()
        (await store.arrived()).release()
        await turns()
        assert single.done
        turns_taken = 0
        while not all(each.done for each in many):
            (await store.arrived()).release()
            await turns()
            turns_taken += 1
        assert turns_taken == 6, "nobody waits longer than before for it"

    async def test_one_append_takes_some_logs_only_however_little_they_bring(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        """A store writes a page for each: others would wait for thousands of them."""
        monkeypatch.setattr(writer, "MAX_APPEND_BYTES", 100_000)
        monkeypatch.setattr(writer, "LEAST", 20_000)
        await slow.topic(partitions=13)
        logs = [await slow.log(partition=number) for number in range(13)]
        append(logs[0], "a")
        held = await store.arrived()
        pending = [append(log, "x") for log in logs[1:]]
        counts = []
        while not all(each.done for each in pending):
            held.release()
            await turns()
            if store.held:
                held = store.held[0]
                counts.append(len(held.appends))
        assert max(counts) == 5

    async def test_bytes_that_are_lost_after_the_call_are_copied(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        data = view(batch("precious"))
        pending = log.append(data, False)
        data[:] = b"\0" * len(data)
        (await store.arrived()).release()
        await turns()
        assert done(pending) == Appended(0)
        assert await stored(log) == [b"precious"]

    async def test_a_task_that_gives_up_waiting_does_not_cancel_the_append(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        pending = append(log, "a")
        held = await store.arrived()
        with anyio.move_on_after(0):
            await pending.wait()
        pending.abandon()
        held.release()
        await turns()
        assert done(pending) == Appended(0)

    async def test_a_listener_may_append_again_while_the_log_is_settling(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        again: list[Pending[Appended]] = []
        pending = append(log, "a")
        pending.then(lambda _: again.append(append(log, "b")))
        (await store.arrived()).release()
        await turns()
        (await store.arrived()).release()
        await turns()
        assert done(again[0]) == Appended(1)


class TestBudget:
    """The bytes that wait for the store are bounded, whether or not a client still waits."""

    async def test_what_waits_is_charged_until_the_store_has_it(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        budget = slow.logs.context.budget
        append(log, "a")
        held = await store.arrived()
        append(log, "b")
        append(log, "c" * 1000)
        sizes = [len(batch(value)) for value in ("a", "b", "c" * 1000)]
        assert budget.used == sum(sizes) + 3 * QUEUED
        held.release()
        await turns()
        (await store.arrived()).release()
        await turns()
        assert budget.used == 0

    async def test_past_it_appends_are_refused_as_ones_to_try_again_and_taken_when_there_is_room(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        slow.limit_budget(20_000)
        taken = [append(log, "x" * 2_000)]
        held = await store.arrived()
        with pytest.raises(KafkaStorageError, match=r"max_total_in_flight_bytes") as refused:
            while len(taken) < 100:
                taken += [append(log, "x" * 2_000)]
        assert refused.value.retriable
        assert 20_000 < slow.logs.context.budget.used < 30_000
        held.release()
        await turns()
        (await store.arrived()).release()
        await turns()
        assert [done(each).base_offset for each in taken] == list(range(len(taken)))
        assert slow.logs.context.budget.used == 0
        append(log, "again")

    async def test_a_refused_batch_leaves_its_producer_where_it_was(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        slow.limit_budget(1)
        log.append(view(numbered(7, 0)), False)
        held = await store.arrived()
        with pytest.raises(KafkaStorageError):
            log.append(view(numbered(7, 1)), False)
        held.release()
        await turns()
        store.patient = False
        again = waiting(log.append(view(numbered(7, 1)), False))
        await turns()
        assert done(again) == Appended(1)

    async def test_what_fails_with_the_queue_or_with_the_topic_is_given_back(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        for _ in range(2):
            append(log, "a")
            held = await store.arrived()
            append(log, "b")
            held.fail(OSError("disk full"))
            await turns()
            assert slow.logs.context.budget.used == 0
            await log.open()
        append(log, "a")
        held = await store.arrived()
        append(log, "b")
        slow.spawn(slow.catalog.delete("t"))
        await turns()
        held.release()
        await turns()
        assert slow.logs.context.budget.used == 0

    async def test_what_waits_for_the_log_to_open_counts_as_well(self, slow: Kit, store: SlowStore) -> None:
        (log,) = (await slow.topic()).partitions
        gate = store.hold("bounds")
        slow.limit_budget(1)
        append(log, "a")
        with pytest.raises(KafkaStorageError):
            log.append(view(batch("b")), False)
        store.patient = False
        gate.set()
        await turns()
        assert slow.logs.context.budget.used == 0

    async def test_a_log_that_does_not_open_gives_it_back(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        (log,) = (await slow.topic()).partitions

        async def bounds(tp: Any) -> Any:
            raise OSError("gone")

        monkeypatch.setattr(store, "bounds", bounds)
        failed = append(log, "a")
        await turns()
        assert isinstance(failure(failed), KafkaStorageError)
        assert slow.logs.context.budget.used == 0


class TestOpening:
    async def test_appends_that_come_while_the_log_opens_keep_their_order(
        self, slow: Kit, store: SlowStore
    ) -> None:
        (log,) = (await slow.topic()).partitions
        store.patient = False
        gate = store.hold("bounds")
        pending = [append(log, value) for value in "abc"]
        await turns()
        assert not log.ready
        pending.append(append(log, "d"))
        gate.set()
        await turns()
        assert [done(each).base_offset for each in pending] == [0, 1, 2, 3]
        assert await stored(log) == [b"a", b"b", b"c", b"d"]
        assert store.calls.count("bounds") == 1

    async def test_of_several_that_wait_for_the_log_to_open_each_gets_its_own_answer(
        self, slow: Kit, store: SlowStore
    ) -> None:
        (log,) = (await slow.topic()).partitions
        store.patient = False
        good = append(log, "a")
        bad = waiting(log.append(view(batch("b")[:-1]), False))
        last = append(log, "c")
        await turns()
        assert (done(good), done(last)) == (Appended(0), Appended(1))
        assert isinstance(failure(bad), InvalidRecord)

    async def test_an_unforeseen_fault_with_one_of_them_leaves_none_without_an_answer(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        (log,) = (await slow.topic()).partitions
        store.patient = False
        first, second = append(log, "a"), append(log, "b")
        reserve, faults = slow.ledger.reserve, [ZeroDivisionError("bug")]

        def broken(*arguments: Any) -> int:
            if faults:
                raise faults.pop()
            return reserve(*arguments)

        monkeypatch.setattr(slow.ledger, "reserve", broken)
        await turns()
        with pytest.raises(ZeroDivisionError):
            first.result()
        assert done(second) == Appended(0)

    async def test_a_fetch_and_an_append_that_open_at_the_same_time_open_once(
        self, slow: Kit, store: SlowStore
    ) -> None:
        (log,) = (await slow.topic()).partitions
        store.patient = False
        gate = store.hold("bounds")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.open)
            tasks.start_soon(log.read, 0, 100)
            pending = append(log, "a")
            await turns()
            gate.set()
        await turns()
        assert done(pending) == Appended(0)
        assert store.calls.count("bounds") == 1

    async def test_a_topic_deleted_while_its_log_opens_tells_those_who_wait(
        self, slow: Kit, store: SlowStore
    ) -> None:
        (log,) = (await slow.topic()).partitions
        gate = store.hold("bounds")
        pending = append(log, "a")
        await turns()
        await slow.catalog.delete("t")
        gate.set()
        await turns()
        assert isinstance(failure(pending), UnknownTopicOrPartition)
        assert not log.ready

    async def test_a_log_whose_store_answers_just_before_the_topic_goes_does_not_come_alive(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        topic = await slow.topic()
        (log,) = topic.partitions
        lead = slow.ledger.lead

        async def leading(tp: Any) -> Any:
            leadership = await lead(tp)
            await slow.catalog.delete("t")
            return leadership

        monkeypatch.setattr(slow.ledger, "lead", leading)
        pending = append(log, "a")
        await turns()
        assert isinstance(failure(pending), UnknownTopicOrPartition)
        assert not log.ready


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (OSError("disk full"), KafkaStorageError),
            (KafkaStorageError("not now"), KafkaStorageError),
            (OffsetConflict(0, 5), NotLeaderOrFollower),
        ],
    )
    async def test_a_failed_append_fails_the_whole_queue_and_the_retries_succeed(
        self, slow: Kit, store: SlowStore, error: Exception, told: type[KafkaError]
    ) -> None:
        log = await slow.log()
        sent = [numbered(7, sequence) for sequence in range(3)]
        pending = [waiting(log.append(view(sent[0]), False))]
        held = await store.arrived()
        pending += [waiting(log.append(view(each), False)) for each in sent[1:]]
        held.fail(error)
        await turns()
        errors = [failure(each) for each in pending]
        assert [type(each) for each in errors] == [told] * 3
        assert all(each.retriable for each in errors)
        assert not log.ready
        store.patient = False
        again = [log.append(view(each), False) for each in sent]
        await turns()
        assert [done(each) for each in again] == [Appended(0), Appended(1), Appended(2)]
        assert await stored(log) == [b"v0", b"v1", b"v2"]

    async def test_the_log_is_opened_from_bounds_and_headers_after_a_failure(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        store.patient = False
        log.append(view(numbered(7, 0)), False)
        await turns()
        store.patient = True
        pending = waiting(log.append(view(numbered(7, 1)), False))
        (await store.arrived()).fail(OSError("gone"))
        await turns()
        failure(pending)
        store.calls.clear()
        store.patient = False
        beyond = log.append(view(numbered(7, 2)), False)  # sequence 1 was never stored
        again = log.append(view(numbered(7, 1)), False)
        await turns()
        assert store.calls == ["bounds", "read"]
        assert str(failure(waiting_done(beyond))).endswith("1 was refused and has to come first")
        assert done(again) == Appended(1)

    async def test_a_duplicate_of_a_batch_under_way_is_answered_when_that_is(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        first = log.append(view(numbered(7, 0)), False)
        second = log.append(view(numbered(7, 0)), False)
        assert second is first
        (await store.arrived()).release()
        await turns()
        assert done(second) == Appended(0)
        assert log.append(view(numbered(7, 0)), False) == Appended(0)
        assert await stored(log) == [b"v0"]

    async def test_a_thousand_duplicates_of_a_batch_under_way_are_all_answered(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        answered: list[Appended] = []
        for _ in range(2000):
            waiting(log.append(view(numbered(7, 0)), False)).then(lambda p: answered.append(p.result()))
        (await store.arrived()).release()
        await turns()
        assert answered == [Appended(0)] * 2000

    async def test_one_partition_fails_and_the_others_of_the_append_do_not(
        self, slow: Kit, store: SlowStore
    ) -> None:
        await slow.topic(partitions=3)
        logs = [await slow.log(partition=index) for index in range(3)]
        await store.inner.delete_topic(slow.catalog.by_name["t"].id)  # the store has lost it
        good = await slow.log("u")
        pending = [append(log, "a") for log in (logs[0], good, logs[1])]
        (await store.arrived()).release()
        await turns()
        assert isinstance(failure(pending[0]), UnknownTopicOrPartition)
        assert done(pending[1]) == Appended(0)
        assert isinstance(failure(pending[2]), UnknownTopicOrPartition)

    async def test_a_store_that_gives_too_few_outcomes_has_failed(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        log = await slow.log()

        async def nothing(appends: Any) -> list[Sequence[int] | Exception]:
            return []

        monkeypatch.setattr(store, "append_many", nothing)
        pending = append(log, "a")
        await turns()
        assert "0 outcomes for 1 appends" in str(failure(pending))

    async def test_only_a_batch_that_was_alone_is_told_that_it_can_never_be_stored(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        alone = append(log, "a")
        held = await store.arrived()
        queued = append(log, "b")
        held.fail(PolicyViolation("no such words"))
        await turns()
        assert type(failure(alone)) is PolicyViolation
        assert type(failure(queued)) is KafkaStorageError  # b may be fine
        store.patient = False
        await log.open()
        store.patient = True
        together = [append(log, value) for value in ("c", "bad", "d")]
        (await store.arrived()).fail(PolicyViolation("no such words"))
        await turns()
        assert not any(each.done for each in together), "each is tried by itself"
        later = append(log, "e")
        (await store.arrived()).release()
        await turns()
        assert done(together[0]) == Appended(0)
        (await store.arrived()).fail(PolicyViolation("no such words"))
        await turns()
        outcomes = [type(failure(each)) for each in (*together[1:], later)]
        assert outcomes == [PolicyViolation, KafkaStorageError, KafkaStorageError]
        assert slow.logs.context.budget.used == 0
        await log.open()
        together = [append(log, "d"), append(log, "e")]
        assert len((await store.arrived()).batches) == 2, "others are together again"
        store.held[0].release()
        await turns()
        assert [done(each) for each in together] == [Appended(1), Appended(2)]

    async def test_a_ledger_that_fails_after_the_store_costs_neither_the_writer_nor_an_answer(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        await slow.topic(partitions=2)
        log, other = await slow.log(), await slow.log(partition=1)
        committed = slow.ledger.committed

        def broken(tp: Any, end: int) -> int:
            if tp == log.tp:
                raise OSError("ledger lost")
            return committed(tp, end)

        pending, neighbour = waiting(log.append(view(numbered(7, 0)), False)), append(other, "b")
        with monkeypatch.context() as patch:
            patch.setattr(slow.ledger, "committed", broken)
            (await store.arrived()).release()
            await turns()
            assert not pending.done  # it is stored: nobody may be told that it is not
        assert done(neighbour) == Appended(0)
        await slow.clock.advance(FIRST_DELAY)
        assert done(pending) == Appended(0)
        assert await stored(log) == [b"v0"]

    async def test_the_ledger_is_told_which_offsets_are_void(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        log = await slow.log()
        released: list[int] = []
        monkeypatch.setattr(slow.ledger, "released", lambda tp, base: released.append(base))
        store.patient = False
        append(log, "a", "b")
        await turns()
        store.patient = True
        append(log, "c")
        held = await store.arrived()
        append(log, "d")
        held.fail(OSError("no"))
        await turns()
        assert released == [2]

    async def test_a_storage_failure_is_logged_once_with_its_traceback(
        self, slow: Kit, store: SlowStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = await slow.log()
        append(log, "a")
        held = await store.arrived()
        append(log, "b")
        with caplog.at_level(logging.INFO):
            held.fail(OSError("disk full"))
            await turns()
        failed, found = caplog.records
        assert failed.exc_info
        assert "storage failed on t-0" in failed.getMessage()
        assert found.getMessage() == "t-0: 1 batch(es) were not stored"


def waiting_done(outcome: Any) -> Pending[Any]:
    assert isinstance(outcome, Pending)
    return outcome


class TestReading:
    async def test_nothing_beyond_the_high_watermark_is_shown(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        store.patient = False
        append(log, "a")
        await turns()
        store.patient = True
        pending = append(log, "b", "c")
        held = await store.arrived()
        await store.inner.append_many(held.appends)  # in the store, but not acknowledged
        assert await stored(log) == [b"a"]
        assert await log.read(1, 100) == ()
        held.fail(OSError("no answer"))
        await turns()
        assert done(pending) == Appended(1)  # it had landed
        assert await stored(log) == [b"a", b"b", b"c"]

    async def test_a_run_that_goes_across_the_high_watermark_is_cut_between_batches(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        store.patient = False
        for value in "ab":
            append(log, value)
        await turns()
        log.high_watermark = 1
        (run,) = await log.read(0, 1 << 20)
        assert (run.base_offset, run.next_offset) == (0, 1)
        assert [each.base_offset for each in batches_of([run])] == [0]

    async def test_trims_that_overlap_never_bring_the_start_back(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        store.patient = False
        append(log, *"abcdef")
        await turns()
        gate = store.hold("trim")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.trim, 5)
            await turns()
            tasks.start_soon(log.trim, 2)
            await turns()
            gate.set()
        assert log.start == 5


class TestDeletion:
    async def test_what_is_queued_fails_at_once_and_what_is_in_flight_when_the_store_says(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        flying = append(log, "a")
        held = await store.arrived()
        queued = append(log, "b")
        slow.spawn(slow.catalog.delete("t"))
        await turns()
        assert isinstance(failure(queued), UnknownTopicOrPartition)
        assert not flying.done
        held.release()
        await turns()
        assert isinstance(failure(flying), UnknownTopicOrPartition)

    async def test_an_append_in_flight_does_not_land_in_a_topic_of_the_same_name(
        self, slow: Kit, store: SlowStore
    ) -> None:
        old = await slow.log()
        flying = append(old, "a")
        held = await store.arrived()
        slow.spawn(slow.catalog.delete("t"))
        await turns()
        held.release()
        await turns()
        failure(flying)
        new = await slow.log()
        assert new is not old
        store.patient = False
        pending = append(new, "b")
        await turns()
        assert done(pending) == Appended(0)
        assert await stored(new) == [b"b"]

    async def test_an_append_that_landed_before_the_deletion_may_still_say_so(
        self, slow: Kit, store: SlowStore, monkeypatch: Any
    ) -> None:
        log = await slow.log()
        answer = anyio.Event()

        async def landed(appends: Any) -> list[Sequence[int] | Exception]:
            results = await store.inner.append_many(appends)
            await answer.wait()
            return results

        monkeypatch.setattr(store, "append_many", landed)
        flying = append(log, "a")
        await turns()
        slow.spawn(slow.catalog.delete("t"))
        await turns()
        answer.set()
        await turns()
        assert done(flying) == Appended(0)
        with pytest.raises(UnknownTopicOrPartition):
            await log.read(0, 100)


class TestTheEnd:
    async def test_stopping_writes_what_is_queued_and_ends_the_writers(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        first = append(log, "a")
        held = await store.arrived()
        second = append(log, "b")
        ended = anyio.Event()

        async def drain() -> None:
            await slow.logs.drained()
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            await turns()
            assert not ended.is_set()
            held.release()
            await turns()
            assert first.done
            assert not ended.is_set()
            (await store.arrived()).release()
        assert second.done
        await turns()
        assert slow.tasks == set()

    async def test_with_nothing_to_write_it_ends_at_once(self, slow: Kit) -> None:
        with anyio.fail_after(5):
            await slow.logs.drained()
        await turns()
        assert slow.tasks == set()

    async def test_an_append_that_fails_while_stopping_still_ends(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        pending = append(log, "a")
        held = await store.arrived()
        slow.logs.writers.stop()
        held.fail(OSError("no"))
        with anyio.fail_after(5):
            await slow.logs.writers.finished()
        assert pending.done


class TestStoresThatNumberRecords:
    @pytest.fixture
    async def numbering(self) -> AsyncIterator[Kit]:
        made = await a_kit(NumberingStore())
        made.start_writers()
        yield made
        await made.close()

    async def test_base_offsets_go_in_as_minus_one_and_the_result_is_the_truth(self, numbering: Kit) -> None:
        log = await numbering.log()
        pending = [append(log, "a", "b"), append(log, "c")]
        await turns()
        assert [done(each) for each in pending] == [Appended(0), Appended(2)]
        assert [each.base_offset for each in batches_of(await log.read(0, 1000))] == [0, 2]
        assert log.high_watermark == 3

    async def test_others_may_have_written_in_between(self, numbering: Kit) -> None:
        log = await numbering.log()
        append(log, "a")
        await turns()
        other = await (await a_kit(numbering.store.inner)).log()  # type: ignore[attr-defined]
        other.append(view(batch("x", "y")), False)
        pending = append(log, "b")
        await turns()
        assert done(pending) == Appended(3)
        assert await stored(log) == [b"a", b"x", b"y", b"b"]

    async def test_a_duplicate_is_known_by_the_offset_that_the_store_gave(self, numbering: Kit) -> None:
        log = await numbering.log()
        append(log, "a")
        await turns()
        log.append(view(numbered(7, 0)), False)
        await turns()
        assert log.append(view(numbered(7, 0)), False) == Appended(1)

    async def test_one_that_never_waits_still_gets_its_batches_unnumbered(self) -> None:
        class Both(NumberingStore):
            def capabilities(self, topic: Any = None) -> Capabilities:
                return Capabilities(immediate=True, numbers_records=True, commit_scope="store")

        kit = await a_kit(Both())
        kit.start_writers()
        pending = append(await kit.log(), "a")
        await turns()
        assert done(pending) == Appended(0)
        await kit.close()
