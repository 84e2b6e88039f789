"""Topics whose batches are looked into: what takes long is done in a thread, and nothing overtakes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from broker_kit import NOW, Kit, SlowStore, altered, batch, done, numbered, turns, values_of, view, waiting

from kgw_core import workers
from kgw_core.errors import CorruptMessage, InvalidRecord, UnknownTopicOrPartition
from kgw_core.log import partition
from kgw_core.log.producers import Appended
from kgw_core.log.rewrite import INLINE, RefusedRecords
from kgw_core.pending import Pending
from kgw_core.records import Codec, build_batch, compress
from kgw_core.records.batch import HEADER_SIZE, LOG_OVERHEAD
from kgw_core.records.compression import RECORD_COST

pytestmark = pytest.mark.anyio

LARGE = "x" * INLINE


async def appended(outcome: Any) -> Appended:
    assert isinstance(outcome, Pending)
    with anyio.fail_after(10):
        found: Appended = await outcome.wait()
    return found


def keyed(value: str, codec: Codec = Codec.NONE) -> memoryview:
    return view(build_batch([(b"k", value.encode(), NOW)], codec=codec))


def bomb(count: int) -> memoryview:
    """``count`` records of seven bytes, with keys, in a few hundred bytes."""
    payload = compress(Codec.ZSTD, bytes((12, 0, 0, 0, 0, 1, 0)) * count)
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


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
async def test_a_large_batch_is_looked_into_in_a_thread_and_a_small_one_at_once(
    kit: Kit, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    looked_into = partition.looked_into

    def noted(*arguments: Any) -> memoryview:
        threads.append(threading.get_ident())
        return looked_into(*arguments)

    monkeypatch.setattr(partition, "looked_into", noted)
    log = await kit.log("t", cleanup_policy="compact")
    assert log.append(keyed("small", codec), False) == Appended(0)
    assert threads == []
    data = keyed(8 * LARGE, codec)
    outcome = log.append(data, False)
    data[:] = b"\0" * len(data)
    assert await appended(outcome) == Appended(1)
    assert threads and threading.get_ident() not in threads
    assert values_of(log.read_now(0, 1 << 20) or ()) == [b"small", 8 * LARGE.encode()]
    assert kit.logs.budget.used == 0


class Gate:
    """Holds the thread until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go = threading.Event()
        looked_into: Callable[..., memoryview] = partition.looked_into

        def held(*arguments: Any) -> memoryview:
            assert self._go.wait(10)
            return looked_into(*arguments)

        monkeypatch.setattr(partition, "looked_into", held)

    def open(self) -> None:
        self._go.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def test_what_comes_meanwhile_waits_and_keeps_its_order(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", cleanup_policy="compact")
    other = await kit.log("u", cleanup_policy="compact")
    pending = [log.append(keyed(value), False) for value in ("a" + LARGE, "b", "c" + LARGE, "d")]
    assert all(isinstance(each, Pending) for each in pending)
    assert kit.logs.budget.used > 2 * len(LARGE)
    assert other.append(keyed("other"), False) == Appended(0), "another partition does not wait"
    gate.open()
    assert [await appended(each) for each in pending] == [Appended(at) for at in range(4)]
    values = values_of(log.read_now(0, 1 << 20) or ())
    assert [value[:1] for value in values if value] == [b"a", b"b", b"c", b"d"]
    assert kit.logs.budget.used == 0


async def test_an_idempotent_producer_sends_on_and_again(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", compression_type="gzip")
    large = view(build_batch([(b"k", LARGE.encode(), NOW)], producer_id=7, producer_epoch=0, base_sequence=0))
    first = log.append(large, False)
    second = log.append(view(numbered(7, 1)), False)
    again = log.append(view(numbered(7, 1)), False)
    gate.open()
    assert await appended(first) == Appended(0)
    assert await appended(second) == Appended(1)
    assert await appended(again) == Appended(1), "a duplicate"
    assert log.high_watermark == 2


async def test_one_that_is_refused_lets_the_others_through(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", cleanup_policy="compact")
    bad = log.append(view(batch(LARGE, key=None)), False)  # without a key
    good = log.append(keyed("good"), False)
    gate.open()
    with pytest.raises(RefusedRecords):
        await appended(bad)
    assert await appended(good) == Appended(0)


async def test_what_a_refusal_sets_off_does_not_overtake_what_came_before_it(kit: Kit, gate: Gate) -> None:
    """A connection that gets its answer starts at once what it has held back."""
    log = await kit.log("t", cleanup_policy="compact")
    bad = waiting(log.append(view(batch(LARGE, key=None)), False))
    second = log.append(keyed("second"), False)
    bad.then(lambda _: log.append(keyed("third"), False))
    gate.open()
    assert await appended(second) == Appended(0)
    assert values_of(log.read_now(0, 1 << 20) or ()) == [b"second", b"third"]


async def test_a_topic_that_is_deleted_meanwhile(kit: Kit, gate: Gate) -> None:
    log = await kit.log("t", cleanup_policy="compact")
    pending = [log.append(keyed(LARGE), False), log.append(keyed("b"), False)]
    await kit.catalog.delete("t")
    gate.open()
    for each in pending:
        with pytest.raises(UnknownTopicOrPartition):
            await appended(each)
    assert kit.logs.budget.used == 0


async def test_a_store_that_waits(slow: Kit, store: SlowStore, gate: Gate) -> None:
    store.patient = False
    log = await slow.log("t", compression_type="zstd")
    pending = [waiting(log.append(keyed(value), False)) for value in ("a" + LARGE, "b")]
    gate.open()
    for each in pending:
        await appended(each)
    assert [done(each) for each in pending] == [Appended(0), Appended(1)]
    await turns()
    assert slow.logs.budget.used == 0


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
    kit.logs.max_inflated = 1000 * RECORD_COST
    log = await kit.log("t", cleanup_policy="compact")
    with pytest.raises(CorruptMessage, match="a batch of 1001 records is not looked into, at most 1000 are"):
        log.append(bomb(1001), False)
    assert log.append(bomb(1000), False) == Appended(0)
    with pytest.raises(InvalidRecord):
        log.append(view(batch("no key", key=None)), False)
