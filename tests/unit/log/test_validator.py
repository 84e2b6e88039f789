"""The validation of batches: long work runs in a thread, and no batch overtakes it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from broker_kit import (
    NOW,
    Kit,
    SlowStore,
    altered,
    batch,
    batches_of,
    done,
    numbered,
    turns,
    values_of,
    view,
    waiting,
)

from kgw_core import workers
from kgw_core.budget import UNLIMITED
from kgw_core.errors import (
    InvalidRecord,
    KafkaStorageError,
    MessageTooLarge,
    UnknownTopicOrPartition,
)
from kgw_core.log import partition, validator
from kgw_core.log.producers import Appended
from kgw_core.log.validator import ON_LOOP_INFLATED, ON_LOOP_PACKED, RefusedRecords
from kgw_core.pending import Pending
from kgw_core.records import Codec, build_batch, compress
from kgw_core.records.batch import HEADER_SIZE, LOG_OVERHEAD
from kgw_core.records.compression import RECORD_COST
from kgw_core.records.varint import encode_varint

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("checking", ["frame", "header"])
@pytest.mark.parametrize("header", [-1, 0, NOW - 1])
async def test_a_header_that_is_behind_its_first_record_is_put_right_without_a_look(
    kit: Kit, header: int, checking: validator.CheckRecords
) -> None:
    """The header tells both times. Retention would delete fresh records for it."""
    kit.change_logs(check_records=checking)
    log = await kit.log(retention_ms="1000")
    log.append(view(altered(batch("a", "b"), max_timestamp=header)), True)
    log.append(view(altered(batch("c"), max_timestamp=NOW + 5)), True)
    assert [each.max_timestamp for each in batches_of(log.read_now(0, 1000))] == [NOW, NOW + 5]
    await kit.logs.retention.check()
    assert log.start == 0


async def appended(outcome: Any) -> Appended:
    assert isinstance(outcome, Pending)
    with anyio.fail_after(10):
        found: Appended = await outcome.wait()
    return found


def keyed(value: str, codec: Codec = Codec.NONE) -> memoryview:
    """One record: looked at on the event loop."""
    return view(build_batch([(b"k", value.encode(), NOW)], codec=codec))


def many(*values: str, key: bytes | None = b"k", **options: Any) -> memoryview:
    """More records than :class:`Gate` lets be looked at on the event loop."""
    return view(build_batch([(key, value.encode(), NOW) for value in (*values, "last")], **options))


def bomb(count: int) -> memoryview:
    """``count`` records of seven bytes, with keys, in a few hundred bytes."""
    records = bytearray()
    for offset in range(count):
        body = bytes((0, 0)) + encode_varint(offset) + bytes((0, 1, 0))
        records += encode_varint(len(body)) + body
    payload = compress(Codec.ZSTD, records)
    head = batch("v")[:HEADER_SIZE]
    size = HEADER_SIZE - LOG_OVERHEAD + len(payload)
    return view(
        altered(
            head + payload,
            batch_length=size,
            attributes=int(Codec.ZSTD),
            record_count=count,
            last_offset_delta=count - 1,
        )
    )


class Threads:
    """Which threads looked into a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[int] = []
        validated_in_thread = partition.validated_in_thread

        def noted(*arguments: Any) -> memoryview:
            self.seen.append(threading.get_ident())
            return validated_in_thread(*arguments)

        monkeypatch.setattr(partition, "validated_in_thread", noted)


async def test_what_takes_long_is_looked_into_in_a_thread_and_the_rest_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(monkeypatch)
    log = await kit.log("t")
    packing = await kit.log("u", compression_type="lz4")
    noise = random.Random(1).randbytes(ON_LOOP_INFLATED)
    zeros = bytes(ON_LOOP_INFLATED)
    for at, small in enumerate(
        (
            build_batch([(b"k", noise[:500_000], NOW)]),
            build_batch([(b"k", b"v", NOW)] * 500),
            build_batch([(b"k", zeros[:500_000], NOW)], codec=Codec.GZIP),
        )
    ):
        assert log.append(view(small), False).base_offset in (0, 1, 501), at
    assert packing.append(keyed("x" * 1000), False) == Appended(0)
    assert threads.seen == []
    monkeypatch.setattr(validator, "ON_LOOP_RECORDS", 499)
    for long in (
        build_batch([(b"k", b"v", NOW)] * 500),
        build_batch([(b"k", noise[: ON_LOOP_INFLATED // 3], NOW)], codec=Codec.ZSTD),
        build_batch([(b"k", zeros, NOW)], codec=Codec.ZSTD),
    ):
        await appended(log.append(view(long), False))
    await appended(packing.append(keyed("x" * ON_LOOP_PACKED), False))
    assert len(threads.seen) == 4
    assert threading.get_ident() not in threads.seen
    assert kit.logs.context.budget.used == 0


async def test_the_bytes_may_change_while_a_thread_looks_at_them(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gate(monkeypatch).open()
    log = await kit.log("t")
    data = many("first")
    outcome = log.append(data, False)
    data[:] = b"\0" * len(data)
    assert await appended(outcome) == Appended(0)
    assert values_of(log.read_now(0, 1 << 20) or ()) == [b"first", b"last"]


class Gate:
    """Has batches of two records or more looked into in a thread, and holds it until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(validator, "ON_LOOP_RECORDS", 1)
        self._go = threading.Event()
        validated_in_thread: Callable[..., memoryview] = partition.validated_in_thread

        def held(*arguments: Any) -> memoryview:
            assert self._go.wait(10)
            return validated_in_thread(*arguments)

        monkeypatch.setattr(partition, "validated_in_thread", held)

    def open(self) -> None:
        self._go.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def test_what_comes_meanwhile_waits_and_keeps_its_order(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t")
    other = await kit.log("u")
    pending = [log.append(data, False) for data in (many("a"), keyed("b"), many("c"), keyed("d"))]
    assert all(isinstance(each, Pending) for each in pending)
    assert kit.logs.context.budget.used > 2 * len(many("a"))
    assert other.append(keyed("other"), False) == Appended(0), "another partition does not wait"
    gate.open()
    assert [await appended(each) for each in pending] == [Appended(at) for at in (0, 2, 3, 5)]
    values = values_of(log.read_now(0, 1 << 20) or ())
    assert values == [b"a", b"last", b"b", b"c", b"last", b"d"]
    assert kit.logs.context.budget.used == 0


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("claimed", [-1, 0, NOW - 10**9, NOW + 1800_000])
async def test_a_max_timestamp_that_is_wrong_is_put_right_wherever_it_is_kept(
    kit: Kit, slow: Kit, store: SlowStore, gate: Gate, thread: bool, claimed: int
) -> None:
    """Versions of Sarama write -1, and look-ups by time found nothing; 0 had fresh records deleted."""
    gate.open()
    store.patient = False
    slow.start_writers()
    for broker in (kit, slow):
        log = await broker.log("t")
        records = [(b"k", b"v", NOW + at) for at in range(2 if thread else 1)]
        data = altered(build_batch(records), max_timestamp=claimed)
        outcome = log.append(view(data), False)
        if isinstance(outcome, Pending):
            await appended(outcome)
        (stored,) = batches_of(await log.read(0, 1 << 20))
        assert stored.max_timestamp == records[-1][2]
        latest = records[-1][2]
        assert await broker.store.find_time(log.tp, latest) == 0
        assert await broker.store.find_time(log.tp, latest + 1) is None


async def test_any_number_of_batches_that_take_long_may_wait_for_one_log(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked into in a thread, one after the other, and costs the event loop the same."""
    Gate(monkeypatch).open()
    log = await kit.log("t")
    deferred: list[object] = []
    defer = type(log)._defer
    monkeypatch.setattr(
        type(log), "_defer", lambda log, data, stable: deferred.append(data) or defer(log, data, stable)
    )
    pending = [log.append(many(str(at)), False) for at in range(1200)]
    assert [await appended(each) for each in pending] == [Appended(2 * at) for at in range(1200)]
    assert len(deferred) == 1199
    values = values_of(log.read_now(0, 1 << 20) or ())
    assert values[::2] == [b"%d" % at for at in range(1200)]
    assert kit.logs.context.budget.used == 0


async def test_an_idempotent_producer_sends_on_and_again(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", compression_type="gzip")
    first = log.append(many("a", producer_id=7, producer_epoch=0, base_sequence=0), False)
    second = log.append(view(numbered(7, 2)), False)
    again = log.append(view(numbered(7, 2)), False)
    gate.open()
    assert await appended(first) == Appended(0)
    assert await appended(second) == Appended(2)
    assert await appended(again) == Appended(2), "a duplicate"
    assert log.high_watermark == 3


async def test_one_that_is_refused_lets_the_others_through(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", cleanup_policy="compact")
    bad = log.append(many("v", key=None), False)
    good = log.append(keyed("good"), False)
    gate.open()
    with pytest.raises(RefusedRecords):
        await appended(bad)
    assert await appended(good) == Appended(0)


async def test_what_a_refusal_sets_off_does_not_overtake_what_came_before_it(kit: Kit, gate: Gate) -> None:
    """A connection that gets its answer starts at once what it has held back."""
    log = await kit.log("t", cleanup_policy="compact")
    bad = waiting(log.append(many("v", key=None), False))
    second = log.append(keyed("second"), False)
    bad.then(lambda _: log.append(keyed("third"), False))
    gate.open()
    assert await appended(second) == Appended(0)
    assert values_of(log.read_now(0, 1 << 20) or ()) == [b"second", b"third"]


async def test_a_topic_that_is_deleted_meanwhile(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t")
    pending = [log.append(many("a"), False), log.append(keyed("b"), False)]
    kit.spawn(kit.catalog.delete("t"))
    await turns()
    gate.open()
    for each in pending:
        with pytest.raises(UnknownTopicOrPartition):
            await appended(each)
    assert kit.logs.context.budget.used == 0


async def test_a_store_that_waits(slow: Kit, store: SlowStore, gate: Gate) -> None:
    store.patient = False
    log = await slow.log("t", compression_type="zstd")
    pending = [waiting(log.append(data, False)) for data in (many("a"), keyed("b"))]
    gate.open()
    for each in pending:
        await appended(each)
    assert [done(each) for each in pending] == [Appended(0), Appended(2)]
    await turns()
    assert slow.logs.context.budget.used == 0


def from_producer(sequence: int) -> memoryview:
    """Two records of an idempotent producer: looked into in a thread."""
    return many("v", producer_id=7, producer_epoch=0, base_sequence=sequence)


async def test_what_is_refused_behind_it_as_the_log_cannot_be_opened_does_not_have_to_come_first(
    slow: Kit, store: SlowStore, gate: Gate
) -> None:
    """Else the one that is looked into is out of order, over which librdkafka ends the producer."""
    log = await slow.log("t")
    log.append(keyed("before"), False)
    held = await store.arrived()
    first = log.append(from_producer(0), False)
    second = waiting(log.append(from_producer(2), False))
    held.fail(KafkaStorageError("not now"))
    store.patient = False
    await turns()
    store.fail("bounds", KafkaStorageError("not now"))
    with pytest.raises(KafkaStorageError):
        await log.open()
    with pytest.raises(KafkaStorageError):
        done(second)
    gate.open()
    assert await appended(first) == Appended(0)
    assert await appended(log.append(from_producer(2), False)) == Appended(2)


async def test_what_is_refused_while_the_log_opens_does_not_have_to_come_before_what_is_then_looked_into(
    slow: Kit, store: SlowStore, gate: Gate
) -> None:
    (log,) = (await slow.topic("t")).partitions
    store.patient = False
    opening = store.hold("bounds")
    first = log.append(from_producer(0), False)
    slow.logs.context.budget.take(2 * UNLIMITED)
    for sequence in (4, 2):
        with pytest.raises(KafkaStorageError):
            log.append(from_producer(sequence), False)
    slow.logs.context.budget.give(2 * UNLIMITED)
    opening.set()
    await turns()
    gate.open()
    assert await appended(first) == Appended(0)


async def test_where_it_is_refused_itself_what_was_refused_behind_it_comes_first(
    slow: Kit, store: SlowStore, gate: Gate
) -> None:
    log = await slow.log("t", cleanup_policy="compact")
    store.patient = False
    bad = log.append(many("v", key=None), False)
    slow.logs.context.budget.take(2 * UNLIMITED)
    for sequence in (4, 2):
        with pytest.raises(KafkaStorageError):
            log.append(from_producer(sequence), False)
    slow.logs.context.budget.give(2 * UNLIMITED)
    gate.open()
    with pytest.raises(RefusedRecords):
        await appended(bad)
    with pytest.raises(KafkaStorageError, match="2 was refused and has to come first"):
        await appended(log.append(from_producer(4), False))
    assert await appended(log.append(from_producer(2), False)) == Appended(0)


async def test_no_more_threads_than_two_at_a_time() -> None:
    running: list[int] = []
    most: list[int] = []

    def work(at: int) -> None:
        running.append(at)
        most.append(len(running))
        threading.Event().wait(0.01)
        running.remove(at)

    await asyncio.gather(*(workers.in_thread(work, at) for at in range(8)))
    assert max(most) <= workers.THREADS


async def test_a_batch_of_more_records_than_there_is_room_for_is_refused(kit: Kit) -> None:
    kit.change_logs(max_inflated=1000 * RECORD_COST)
    log = await kit.log("t", cleanup_policy="compact")
    with pytest.raises(MessageTooLarge, match="a batch of 1001 records is not looked into, at most 1000 are"):
        await appended(log.append(bomb(1001), False))  # without compiled code a thread finds it out
    assert log.append(bomb(1000), False) == Appended(0)
    with pytest.raises(InvalidRecord):
        log.append(view(batch("no key", key=None)), False)
